"""The publishing script alone, in a real Valkey: what it takes, what it refuses, when an epoch begins."""

from __future__ import annotations

from typing import Any

import hiredis
import pytest

from omega_ai.data_feed.broker.base import message_of
from omega_ai.data_feed.broker.redis_script import (
    CLAIM,
    FENCE,
    LEASE_KEY,
    POSITION,
    PUBLISH,
    PUBLISHERS,
    RELEASE,
    keys_of,
)
from omega_ai.tests.integration.broker.support import body
from omega_ai.tests.valkey import ValkeyProcess

KEYS = keys_of("btc_price")


class Script:
    """Runs it, with arguments of which each test names those that matter to it."""

    def __init__(self, valkey: ValkeyProcess) -> None:
        self.valkey = valkey
        self.begun = 0

    def command(self, *words: Any) -> Any:
        reader = hiredis.Reader()
        reader.feed(self.valkey.command(*words))
        return reader.gets()

    def publish(
        self,
        number: int,
        first: int | None = None,
        *,
        by: str = "A",
        known: tuple[str, int] = ("", 0),
        run: str = "run1",
        durable: int = 0,
        fresh: int = 0,
        text: bytes | None = None,
        token: int = 0,
    ) -> Any:
        self.begun += 1
        return self.command(
            *("EVAL", PUBLISH, 4, *KEYS, by, number, number if first is None else first),
            *(f"epoch{self.begun}", run, durable, *known, fresh, 1000, len(b'{"type":"btc_price"')),
            *(body(number) if text is None else text, "PUBLISH", token),
        )

    def stream(self) -> list[int]:
        return [int(entry[0].split(b"-")[0]) for entry in self.command("XRANGE", KEYS.stream, "-", "+")]


@pytest.fixture
def script(valkey: ValkeyProcess) -> Script:
    return Script(valkey)


def test_the_first_begins_and_the_next_continue(script: Script) -> None:
    """The first answers with epoch and seq, the others with seq alone."""
    assert script.publish(1) == [b"epoch1", b"1"]
    assert script.publish(2, first=1) == 2
    assert script.publish(3) == [b"epoch1", b"3"]
    assert script.stream() == [1, 2, 3]


@pytest.mark.parametrize(
    "text", [b'{"type":"btc_price"}', b'{"type":"btc_price","x":"\x00\xff,\\u0000%s"}', body(7)]
)
def test_the_message_is_spliced_as_message_of_does(script: Script, text: bytes) -> None:
    """To the byte, whatever the body holds; in the stream and as the newest."""
    script.publish(1, text=text)
    expected = message_of("btc_price", "epoch1", 1, text)
    assert script.command("GET", KEYS.latest) == expected
    assert script.command("XRANGE", KEYS.stream, "-", "+") == [[b"1-0", [b"m", expected]]]


def test_one_sent_again_is_recognised(script: Script) -> None:
    """Nothing is written; the answer says where the sequence is."""
    script.publish(1)
    script.publish(2)
    assert script.publish(1) == [b"epoch1", b"2"]
    assert script.publish(2) == [b"epoch1", b"2"]
    assert script.stream() == [1, 2]


def test_one_whose_predecessor_was_not_taken_is_refused(script: Script) -> None:
    """Otherwise the one before it, sent again, would come after it."""
    script.publish(1)
    assert script.publish(3, first=2) == 0
    assert script.publish(2, first=2) == [b"epoch1", b"2"]
    assert script.publish(3, first=2) == 3


def test_only_a_first_one_begins_or_joins_a_sequence(script: Script) -> None:
    """Any other waits until it is the first, since what came before it is uncertain."""
    assert script.publish(2, first=1) == 0
    assert script.stream() == []
    script.publish(1)
    assert script.publish(6, first=5, by="B") == 0
    assert script.publish(5, first=5, by="B") == [b"epoch2", b"2"]


def test_an_acknowledged_publication_forgotten_begins_a_new_epoch(script: Script) -> None:
    """All before a first one were taken; a Redis that does not remember them went back in time."""
    script.publish(1)
    epoch, seq = script.publish(5)
    assert (epoch, seq) == (b"epoch2", b"1")
    assert script.stream() == [1]


def test_a_later_position_known_begins_a_new_epoch(script: Script) -> None:
    """A publisher that saw seq 9 of this epoch does not let 3 be given twice."""
    script.publish(1)
    script.publish(2)
    assert script.publish(1, by="B", known=("epoch1", 9)) == [b"epoch3", b"1"]


def test_an_earlier_position_known_does_not(script: Script) -> None:
    """Others may have published since."""
    script.publish(1)
    script.publish(2)
    assert script.publish(1, by="B", known=("epoch1", 1)) == [b"epoch1", b"3"]
    assert script.publish(2, by="B", known=("epoch0", 77)) == [b"epoch1", b"4"]


def test_another_run_of_redis_is_trusted_only_on_evidence(script: Script) -> None:
    """A restart may have forgotten; durable servers, and whoever knows the newest message, vouch for it."""
    script.publish(1)
    assert script.publish(1, by="B", run="run2", durable=1) == [b"epoch1", b"2"]
    assert script.publish(2, by="B", run="run3", known=("epoch1", 2)) == [b"epoch1", b"3"]
    assert script.publish(1, by="C", run="run3") == [b"epoch1", b"4"]
    assert script.publish(1, by="D", run="run4") == [b"epoch5", b"1"]
    assert script.publish(3, by="B", run="run5", known=("epoch1", 3)) == [b"epoch6", b"1"]


def test_the_publisher_may_ask_for_a_new_epoch(script: Script) -> None:
    """After it had to drop something; asking again with the same number does not begin another."""
    script.publish(1)
    assert script.publish(2, fresh=1) == [b"epoch2", b"1"]
    assert script.publish(2, fresh=1) == [b"epoch2", b"1"]
    assert script.stream() == [1]


@pytest.mark.parametrize("part", [KEYS.meta, KEYS.stream])
def test_a_lost_key_begins_a_new_epoch(script: Script, part: bytes) -> None:
    """And the rest of the old one is removed."""
    script.publish(1)
    script.publish(2)
    script.command("DEL", part)
    assert script.publish(4, first=3) == 0
    assert script.publish(3) == [b"epoch4", b"1"]
    assert script.stream() == [1]


def test_a_stream_ahead_of_its_meta_begins_a_new_epoch(script: Script) -> None:
    """A seq that the stream already holds is not given again."""
    script.publish(1)
    script.publish(2)
    script.command("HSET", KEYS.meta, "seq", 1)
    script.command("HDEL", KEYS.meta, "p:A")
    assert script.publish(1, by="B") == [b"epoch3", b"1"]


def test_full_memory_leaves_everything_as_it_was(script: Script) -> None:
    """The first write is what fails."""
    script.publish(1)
    script.command("CONFIG", "SET", "maxmemory", 1)
    assert "OOM" in str(script.publish(2))
    script.command("CONFIG", "SET", "maxmemory", 0)
    assert script.stream() == [1]
    assert script.publish(2) == [b"epoch1", b"2"]


def test_large_numbers_are_written_out(script: Script) -> None:
    """No exponent, no rounding, up to 2**53."""
    script.publish(1)
    script.command("XADD", KEYS.stream, "9007199254740000-0", "m", "x")
    script.command("HSET", KEYS.meta, "seq", 9007199254740000)
    assert script.publish(2) == [b"epoch1", b"9007199254740001"]
    assert b'"seq":9007199254740001,' in script.command("GET", KEYS.latest)


def test_only_so_many_publishers_are_remembered(script: Script) -> None:
    """The one silent for the longest is forgotten first."""
    for n in range(PUBLISHERS):
        script.publish(1, by=f"P{n}")
    script.publish(2, by="P0")
    for n in range(5):
        script.publish(1, by=f"Q{n}")
    fields = script.command("HKEYS", KEYS.meta)
    assert sum(field.startswith(b"p:") for field in fields) == PUBLISHERS
    assert b"p:P0" in fields
    assert b"p:P1" not in fields


def test_position_makes_an_epoch_once_and_anew_when_redis_went_back(script: Script) -> None:
    """Whoever saw more than Redis still has ends the epoch; whoever saw less does not."""

    def position(candidate: str, epoch: str = "", seq: int = 0) -> Any:
        return script.command("EVAL", POSITION, 2, KEYS.meta, KEYS.stream, candidate, "run1", epoch, seq)[:3]

    assert position("e1") == [b"e1", b"0", b"run1"]
    assert position("e2") == [b"e1", b"0", b"run1"]
    assert script.publish(1) == [b"e1", b"1"]
    assert position("e3", "e1", 1) == [b"e1", b"1", b"run1"]
    assert position("e4", "other", 9) == [b"e1", b"1", b"run1"]
    assert position("e5", "e1", 2) == [b"e5", b"0", b"run1"]
    assert script.stream() == []


def test_a_stale_fencing_token_is_refused(script: Script) -> None:
    """Whoever has no token is not asked for one; a newer token fences the older, also in a new epoch."""
    assert script.publish(1, token=5) == [b"epoch1", b"1"]
    assert script.publish(1, by="B", token=7) == [b"epoch1", b"2"]
    assert str(script.publish(2, token=5)).startswith("STALE")
    assert script.publish(1, by="client") == [b"epoch1", b"3"]
    assert script.publish(2, by="client", fresh=1) == [b"epoch5", b"1"]
    assert str(script.publish(3, token=5)).startswith("STALE")
    assert script.publish(2, by="B", token=7) == [b"epoch5", b"2"]


def test_fence_answers_the_highest_token_and_outlives_a_new_epoch(script: Script) -> None:
    """A channel that nobody published on yet can be fenced; the look at its position keeps that."""

    def fence(token: int) -> int:
        return int(script.command("EVAL", FENCE, 1, KEYS.meta, token))

    assert fence(7) == 7
    assert fence(5) == 7
    script.command("EVAL", POSITION, 2, KEYS.meta, KEYS.stream, "e1", "run1", "", 0)
    assert str(script.publish(1, token=5)).startswith("STALE")
    assert fence(9) == 9


def test_the_lease_has_one_holder_and_its_tokens_grow(script: Script) -> None:
    """Renewing keeps the token; another gets it once it has run out or was given up, with a greater token."""

    def claim(holder: str, milliseconds: int, floor: int = 0) -> tuple[bool, int]:
        held, token, _ = script.command("EVAL", CLAIM, 1, LEASE_KEY, holder, milliseconds, floor)
        return bool(held), int(token)

    first = claim("a", 60_000)
    assert first[0]
    assert claim("a", 60_000) == first
    assert claim("b", 60_000) == (False, first[1])
    claim("a", 0)
    assert claim("a", 0) == first, "nobody followed: the token is still the newest"
    second = claim("b", 60_000)
    assert second[0]
    assert second[1] > first[1]
    script.command("EVAL", RELEASE, 1, LEASE_KEY, "a")
    assert not claim("a", 60_000)[0], "only the holder can give it up"
    script.command("EVAL", RELEASE, 1, LEASE_KEY, "b")
    third = claim("a", 60_000)
    assert third[0]
    assert third[1] > second[1]
    assert claim("a", 60_000, third[1] + 10**9) == (True, third[1] + 10**9)
