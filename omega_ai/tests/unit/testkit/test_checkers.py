"""Each checker: finds what it is for, keeps quiet about the rest, and says unknown when it is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega_ai.testkit.checkers import CHECKERS, Check
from omega_ai.testkit.history import NOT_RECOVERED, RECOVERED, Happening
from omega_ai.testkit.reading import Reading
from omega_ai.testkit.result import Severity
from omega_ai.testkit.verdict import Verdict
from omega_ai.tests.unit.testkit.story import Story

LISTENERS = ("a", "b", "c")


def check(name: str, reading: Reading) -> Check:
    return CHECKERS[name](reading)


def failures(result: Check) -> int:
    return sum(finding.count for finding in result.findings if finding.severity is Severity.FAILURE)


def broadcast(count: int = 20, **more: Any) -> Story:
    """A publisher and three listeners, every message seen by each 5 ms after it was sent."""
    story = Story(*LISTENERS)
    story.opens("publisher")
    for number in range(count):
        stamp = story.sends("publisher", 100 + 10 * number, number)
        message = story.news(stamp, time=100 + 10 * number, **more)
        for place, name in enumerate(LISTENERS):
            story.sees(name, 105 + 10 * number + place, message)
    return story


@pytest.mark.parametrize("name", [name for name in CHECKERS if name not in ("gap", "prices")])
def test_a_right_delivery_raises_no_alarm(name: str) -> None:
    """And is a pass, for something was examined."""
    result = check(name, broadcast().reading())
    assert result.findings == ()
    assert result.verdict is Verdict.PASS


@pytest.mark.parametrize("name", CHECKERS)
def test_of_nothing_nothing_is_said(name: str) -> None:
    """A run that saw no message is never a pass."""
    assert check(name, Story(*LISTENERS).reading()).verdict is Verdict.UNKNOWN


@settings(max_examples=60)
@given(st.integers(3, 40), st.data())
def test_every_fault_of_a_delivery_is_counted_exactly(count: int, data: st.DataObject) -> None:
    """Any messages lost, doubled or damaged for one listener, in any combination, and nothing else."""
    fates = data.draw(
        st.lists(st.sampled_from(["ok", "lost", "double", "flip"]), min_size=count, max_size=count)
    )
    story = Story(*LISTENERS)
    story.opens("publisher")
    for number, fate in enumerate(fates):
        stamp = story.sends("publisher", 100 + 10 * number, number)
        message = story.news(stamp)
        story.sees("a", 105 + 10 * number, message)
        story.sees("b", 106 + 10 * number, message)
        if fate != "lost":
            damaged = stamp[:-1] + ("0" if stamp[-1] != "0" else "1")
            story.sees("c", 107 + 10 * number, {**message, "stamp": damaged} if fate == "flip" else message)
        if fate == "double":
            story.sees("c", 108 + 10 * number, message)
    reading = story.reading()
    assert failures(check("lost", reading)) == fates.count("lost")
    assert failures(check("duplicated", reading)) == fates.count("double")
    assert failures(check("corrupted", reading)) == fates.count("flip")
    assert failures(check("reordered", reading)) == 0
    assert failures(check("unexpected", reading)) == 0


@settings(max_examples=60)
@given(st.permutations(range(12)))
def test_reordered_counts_what_came_after_a_later_one(order: list[int]) -> None:
    """Every message that is lower than one seen before it."""
    story = Story("a")
    story.opens("publisher")
    stamps = [story.sends("publisher", 10 * n, n) for n in range(12)]
    messages = [story.news(stamp) for stamp in stamps]
    for place, number in enumerate(order):
        story.sees("a", 500 + place, messages[number])
    wrong = sum(order[place] < max(order[:place], default=-1) for place in range(12))
    assert failures(check("reordered", story.reading())) == wrong


def test_lost_by_stamp_names_the_client_and_the_message() -> None:
    """So that it can be looked for."""
    story = Story("a", "b")
    story.opens("publisher")
    message = story.news(story.sends("publisher", 100, 0))
    story.sees("a", 105, message)
    (finding,) = check("lost", story.reading()).findings
    assert finding.clients == ("b",)
    assert "number 0 of publisher never came to b" in finding.text
    assert finding.evidence


def test_a_loss_is_by_silence_only_if_nothing_came_after_it() -> None:
    """What was overtaken cannot be on its way any more."""
    story = broadcast(3)
    messages = [story.news(story.sends("publisher", 5000 + number, number)) for number in (3, 4, 5)]
    for name, seen in (("a", (3, 4, 5)), ("b", (3, 5)), ("c", (3, 4))):
        for number in seen:
            story.sees(name, 5010 + number, messages[number - 3])
    found = check("lost", story.reading()).findings
    assert {finding.clients: finding.by_silence for finding in found} == {("b",): False, ("c",): True}


def test_a_message_in_flight_when_the_watching_ends_is_unknown() -> None:
    """It may still have come."""
    story = broadcast()
    story.sends("publisher", 5000, 99)
    result = check("lost", story.reading(end_ms=5100))
    assert result.verdict is Verdict.UNKNOWN
    assert [finding.severity for finding in result.findings] == [Severity.UNKNOWN]


def test_a_message_in_flight_when_the_server_ends_the_connection_is_unknown() -> None:
    """Lost, or only cut off: nobody can say."""
    story = broadcast()
    message = story.news(story.sends("publisher", 5000, 99))
    story.sees("a", 5005, message)
    story.sees("b", 5005, message)
    story.ends("c", 5020)
    assert check("lost", story.reading()).verdict is Verdict.UNKNOWN


def test_a_message_in_flight_when_we_end_the_connection_is_no_question() -> None:
    """We chose not to see it."""
    story = broadcast()
    message = story.news(story.sends("publisher", 5000, 99))
    story.sees("a", 5005, message)
    story.sees("b", 5005, message)
    story.event("c", 5020, Happening.CLOSE_SENT, by_us=True)
    story.ends("c", 5021)
    assert check("lost", story.reading()).verdict is Verdict.PASS


def test_a_message_that_may_not_have_reached_the_server_is_unknown() -> None:
    """Its publisher's connection ended right after, and nobody saw it."""
    story = broadcast()
    story.sends("publisher", 5000, 99)
    story.ends("publisher", 5020)
    assert check("lost", story.reading()).verdict is Verdict.UNKNOWN


def test_what_was_published_before_a_client_listened_is_not_its_loss() -> None:
    """Nor after it stopped."""
    story = Story("a")
    story.opens("publisher")
    early = story.news(story.sends("publisher", 100, 0))
    story.joins("b", 5000)
    late = story.news(story.sends("publisher", 9000, 1))
    for name, message in (("a", early), ("a", late), ("b", late)):
        story.sees(name, 9100, message)
    assert check("lost", story.reading()).verdict is Verdict.PASS


def test_a_hole_in_the_numbers_is_a_loss_without_any_stamp() -> None:
    """As with a public feed."""
    story = Story("a")
    for number in (1, 2, 5, 6):
        story.sees("a", 100 * number, {"type": "news", "epoch": "e1", "seq": number})
    result = check("lost", story.reading())
    assert failures(result) == 2
    assert not any(finding.by_silence for finding in result.findings)


def test_a_tail_that_another_client_saw_is_lost() -> None:
    """A hole at the end shows in no numbering of one's own."""
    story = Story("a", "b")
    for number in range(1, 6):
        message = {"type": "news", "epoch": "e1", "seq": number}
        story.sees("a", 2000 + number, message)
        if number < 4:
            story.sees("b", 2000 + number, message)
    result = check("lost", story.reading())
    assert failures(result) == 2
    assert all(finding.by_silence for finding in result.findings)


def test_a_new_epoch_is_no_hole() -> None:
    """Its numbers begin anew."""
    story = Story("a")
    for epoch, number in (("e1", 7), ("e1", 8), ("e2", 1), ("e2", 2)):
        story.sees("a", 100 * number, {"type": "news", "epoch": epoch, "seq": number})
    assert check("lost", story.reading()).verdict is Verdict.PASS


def test_one_loss_for_all_is_counted_once_for_each_client_and_not_again_by_number() -> None:
    """Stamp and number speak of the same message."""
    story = Story("a", "b")
    story.opens("publisher")
    for number in range(5):
        message = story.news(story.sends("publisher", 100 * number, number))
        if number != 2:
            story.sees("a", 100 * number + 5, message)
            story.sees("b", 100 * number + 5, message)
    assert failures(check("lost", story.reading())) == 2


def test_a_fault_window_takes_the_blame_for_what_fell_into_it() -> None:
    """What fell outside is told apart."""
    story = Story("a")
    story.fault("pause", 900, 1200)
    for number in (1, 2, 4, 6):
        story.sees(
            "a", {1: 100, 2: 200, 4: 1000, 6: 5000}[number], {"type": "news", "epoch": "e", "seq": number}
        )
    found = {finding.fault: finding.count for finding in check("lost", story.reading()).findings}
    assert found == {"pause": 1, None: 1}


def test_a_message_seen_again_after_a_reconnect_is_doubled() -> None:
    """Over all connections of one client."""
    story = Story("a")
    message = story.news()
    story.sees("a", 100, message)
    story.ends("a", 200)
    story.joins("a", 300, 1)
    story.sees("a", 310, message, life=1)
    result = check("duplicated", story.reading())
    assert failures(result) == 1
    assert "after a reconnect" in result.findings[0].text


def test_an_answer_to_another_client_is_unexpected() -> None:
    """Even if its content is whole."""
    story = Story()
    story.opens("a")
    story.opens("b")
    stamp = story.sends("a", 100, 0, published=False)
    story.sees("b", 105, {"type": "echo", "stamp": stamp})
    assert failures(check("unexpected", story.reading())) == 1


def test_a_stamp_that_nobody_sent_is_unexpected_and_one_of_another_run_is_nobodys_business() -> None:
    """Two tests on one channel must not accuse each other."""
    story = Story("a")
    stamp = story.sends("a", 100, 7)
    story.client("a").sent.clear()
    story.sees("a", 105, story.news(stamp))
    story.sees("a", 106, story.news("o1:otherrun:0:0:5::00000000"))
    assert failures(check("unexpected", story.reading())) == 1


def test_a_message_long_after_unsubscribing_is_unexpected() -> None:
    """Soon after, it was on its way."""
    from msgspec.structs import replace

    from omega_ai.testkit.profile import Subscribe
    from omega_ai.tests.unit.testkit.story import PROFILE

    story = Story("a", profile=replace(PROFILE, subscribe=Subscribe(send=("x",))))
    story.opens("publisher")
    story.event("a", 1000, Happening.UNSUBSCRIBED)
    story.sees("a", 1100, story.news(story.sends("publisher", 1050, 0)))
    story.sees("a", 9100, story.news(story.sends("publisher", 9000, 1)))
    assert failures(check("unexpected", story.reading())) == 1


@pytest.mark.parametrize(
    ("age_ms", "words"), [(60_000, "60.0 s old"), (-7_200_000, "time zone"), (7_200_000, "zone")]
)
def test_old_and_future_messages_are_stale(age_ms: int, words: str) -> None:
    """And a whole number of quarters of an hour is most likely a zone."""
    story = Story("a")
    story.sees("a", 5000, story.news(time=5000 - age_ms))
    result = check("stale", story.reading())
    assert failures(result) == 1
    assert words in result.findings[0].text


def test_clocks_a_little_apart_are_no_fault() -> None:
    """Two seconds, either way."""
    story = Story("a")
    story.sees("a", 5000, story.news(time=6500))
    assert check("stale", story.reading()).verdict is Verdict.PASS


def test_late_counts_from_the_intended_time() -> None:
    """A message that was sent late because the sender was held up is late all the same."""
    story = Story("a")
    story.opens("publisher")
    stamp = story.sends("publisher", 1000, 0)
    story.sees("a", 3500, story.news(stamp))
    result = check("late", story.reading())
    assert failures(result) == 1
    assert result.distribution is not None
    assert result.distribution.maximum == 2_500_000_000


@pytest.mark.parametrize(("last_ms", "verdict"), [(9500, Verdict.UNKNOWN), (5000, Verdict.FAIL)])
def test_what_is_behind_messages_that_are_still_coming_is_not_lost(last_ms: int, verdict: Verdict) -> None:
    """A server that is slow has not lost them; one from which nothing has come for a while has."""
    story = Story("a")
    story.opens("publisher")
    first, second = story.sends("publisher", 1000, 0), story.sends("publisher", 1001, 1)
    assert first != second
    story.sees("a", last_ms, story.news(first))
    assert check("lost", story.reading(end_ms=10_000)).verdict is verdict


@pytest.mark.parametrize(
    ("hold_ups", "verdict"),
    [
        ((), Verdict.FAIL),
        (((1500, 1700),), Verdict.FAIL),
        (((1500, 1800),), Verdict.UNKNOWN),
        (((1500, 1700), (2000, 2200)), Verdict.FAIL),
        (((0, 900), (3600, 9000)), Verdict.FAIL),
    ],
    ids=["none", "too short", "long enough", "none of them", "at other times"],
)
def test_late_by_no_more_than_this_machine_explains_is_unknown(
    hold_ups: tuple[tuple[int, int], ...], verdict: Verdict
) -> None:
    """Whose fault it is cannot be said, if we were held up (for half as long) while it was on its way."""
    story = Story("a", "b")
    story.opens("publisher")
    message = story.news(story.sends("publisher", 1000, 0))
    story.sees("a", 1000, message)
    story.sees("b", 3500, message)
    reading = story.reading()
    start = reading.history.start_ns
    reading.hold_ups = tuple((start + a * 10**6, start + b * 10**6) for a, b in hold_ups)
    assert check("late", reading).verdict is verdict
    assert check("skew", reading).verdict is verdict


def test_one_position_with_two_contents_is_unequal() -> None:
    """Whoever saw which."""
    story = Story("a", "b")
    story.sees("a", 100, {"type": "news", "epoch": "e", "seq": 1, "price": 1})
    story.sees("b", 100, {"type": "news", "epoch": "e", "seq": 1, "price": 2})
    assert failures(check("unequal", story.reading())) == 1


def test_two_orders_of_the_same_messages_are_unequal() -> None:
    """Where messages are numbered, all see one order."""
    story = Story("a", "b")
    story.opens("p")
    story.opens("q")
    one, two = story.news(story.sends("p", 100, 0)), story.news(story.sends("q", 101, 0))
    for name, first, second in (("a", one, two), ("b", two, one)):
        story.sees(name, 200, first)
        story.sees(name, 201, second)
    assert failures(check("unequal", story.reading())) == 1


def test_skew_is_from_the_first_client_to_the_last() -> None:
    """And names the slow one."""
    story = Story(*LISTENERS)
    message = story.news()
    for name, at in (("a", 100), ("b", 150), ("c", 4100)):
        story.sees(name, at, message)
    result = check("skew", story.reading())
    assert failures(result) == 1
    assert "c got it 4.000 s after a" in result.findings[0].text


def test_a_client_that_is_always_behind_is_found_below_the_limit() -> None:
    """By comparison with the others."""
    story = Story(*LISTENERS)
    for number in range(20):
        message = story.news()
        for name, delay in (("a", 0), ("b", 1), ("c", 120)):
            story.sees(name, 1000 + 200 * number + delay, message)
    assert "client always behind" in check("skew", story.reading()).findings[0].text


@pytest.mark.parametrize(
    ("said", "verdict"),
    [(RECOVERED, Verdict.FAIL), (NOT_RECOVERED, Verdict.PASS), ("", Verdict.UNKNOWN)],
)
def test_a_gap_after_a_reconnect_is_judged_by_what_the_server_said(said: str, verdict: Verdict) -> None:
    """Promised and not kept is a fault; told is honest; neither is unknown."""
    story = Story("a")
    story.opens("publisher")
    story.sees("a", 105, story.news(story.sends("publisher", 100, 0)))
    story.ends("a", 2000)
    story.news(story.sends("publisher", 3000, 1))
    story.joins("a", 4000, 1, text=said)
    story.sees("a", 4105, story.news(story.sends("publisher", 4100, 2)), life=1)
    assert check("gap", story.reading()).verdict is verdict


def test_everything_missed_and_delivered_after_a_reconnect_is_no_gap() -> None:
    """Once, and in order."""
    story = Story("a")
    story.opens("publisher")
    story.sees("a", 105, story.news(story.sends("publisher", 100, 0)))
    story.ends("a", 2000)
    missed = story.news(story.sends("publisher", 3000, 1))
    story.joins("a", 4000, 1, text=RECOVERED)
    story.sees("a", 4001, missed, life=1)
    result = check("gap", story.reading())
    assert result.verdict is Verdict.PASS
    assert result.examined > 0


@pytest.mark.parametrize(
    ("prices", "kind"),
    [
        ([{"bid": 101, "ask": 100}], "crossed"),
        ([{"price": 0}], "impossible"),
        ([{"price": 100}, {"price": 120}], "jump"),
        ([{"price": 100}, {"price": 100}, {"price": 100}, {"price": 100}], "frozen"),
    ],
)
def test_prices_that_cannot_be(prices: list[dict[str, Any]], kind: str) -> None:
    """Each by its own name."""
    story = Story("a")
    for number, fields in enumerate(prices):
        story.sees("a", 1000 * number, story.news(**fields))
    assert {finding.kind for finding in check("prices", story.reading()).findings} == {kind}


def test_a_bid_equal_to_the_ask_is_only_a_warning() -> None:
    """It happens for a moment in real markets."""
    story = Story("a")
    story.sees("a", 1000, story.news(bid=100, ask=100))
    result = check("prices", story.reading())
    assert result.verdict is Verdict.PASS
    assert [finding.severity for finding in result.findings] == [Severity.WARNING]


def test_a_history_that_overflowed_counts_what_it_did_not_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that nobody takes it for whole."""
    monkeypatch.setattr("omega_ai.testkit.history.RETAINED_BYTES", 100)
    story = Story("a")
    for number in range(5):
        story.sees("a", number, b"x" * 60)
    client = story.client("a")
    assert (len(client.received), client.overflowed) == (1, 4)
