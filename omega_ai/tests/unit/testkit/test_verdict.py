"""What may be concluded from several verdicts."""

from hypothesis import given
from hypothesis import strategies as st

from omega_ai.testkit.verdict import Verdict, combine

verdicts = st.lists(st.sampled_from(list(Verdict)))


def test_nothing_is_unknown() -> None:
    """Of nothing at all, nothing is proved."""
    assert combine([]) is Verdict.UNKNOWN


@given(verdicts)
def test_one_failure_is_a_failure(some: list[Verdict]) -> None:
    """Whatever else stays open."""
    assert combine([*some, Verdict.FAIL]) is Verdict.FAIL


@given(verdicts)
def test_a_pass_needs_every_part_to_pass(some: list[Verdict]) -> None:
    """And at least one part."""
    assert (combine(some) is Verdict.PASS) == (bool(some) and set(some) == {Verdict.PASS})


def test_exit_codes_are_those_of_the_contract() -> None:
    """0 pass, 1 fail, 2 unknown."""
    assert [v.exit_code for v in (Verdict.PASS, Verdict.FAIL, Verdict.UNKNOWN)] == [0, 1, 2]
