"""The suite as a list of cases."""

from __future__ import annotations

import re

from omega_ai.testkit.conformance.suite import FAMILIES, SUITE
from omega_ai.testkit.conformance.utf8 import INVALID, VALID
from omega_ai.testkit.suites import load_suite


def test_it_is_found_by_its_name() -> None:
    """``omega test --suite conformance``."""
    assert load_suite("conformance") is SUITE


def test_every_case_has_an_id_of_its_own_and_says_what_is_expected_and_where_that_is_written() -> None:
    """A finding can then be looked up."""
    ids = [case.id for case in SUITE]
    assert len(ids) == len(set(ids))
    assert len(ids) == sum(len(family.cases) for family in FAMILIES)
    for case in SUITE:
        assert re.fullmatch(r"conformance\.[\w.+-]+", case.id), case.id
        assert case.title, case.id
        assert case.expectation.endswith("."), case.id
        assert re.search(r"RFC (6455|7692|9112)", case.spec), case.id


def test_what_is_malformed_is_not_put_to_servers_of_others() -> None:
    """The runner leaves destructive cases out where the profile says read_only."""
    for case in SUITE:
        if any(
            word in case.id for word in ("utf8-invalid", ".rsv-", ".opcode-", "mask-unmasked", "open-wrong")
        ):
            assert case.destructive, case.id


def test_the_tables_of_utf8_are_right() -> None:
    """Measured by Python's own decoder."""
    for name, text in VALID:
        assert text.encode("utf-8").decode("utf-8") == text, name
    for name, data in INVALID:
        try:
            data.decode("utf-8")
        except UnicodeDecodeError:
            continue
        raise AssertionError(f"{name} is valid")
