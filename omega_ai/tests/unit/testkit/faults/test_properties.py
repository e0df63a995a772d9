"""What holds for every fault, whatever is sent and however it is cut."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omega_ai.core.websocket.frames import PING, PONG, TEXT, build_frame
from omega_ai.testkit.faults import FAULTS, build
from omega_ai.testkit.faults.frame import Frame, FrameFault, FrameParser
from omega_ai.testkit.faults.model import Signal, StreamFault
from omega_ai.tests.unit.testkit.faults.driving import (
    ANSWER,
    REQUEST,
    chain_of,
    cut,
    data_of,
    drive,
    frames_of,
    signals_of,
    toxic,
)

# Parameters that make each fault do something on little data.
LIVELY: dict[str, dict[str, object]] = {
    "latency": {"latency": 30, "jitter": 20},
    "bandwidth": {"rate": 1},
    "slow_close": {"delay": 500},
    "slicer": {"average_size": 7, "size_variation": 3, "delay": 900},
    "stall": {"loss": 0.4, "correlation": 0.5},
    "corrupt": {"probability": 0.05},
    "limit_data": {"bytes": 100},
    "ws_fragment": {"size": 3, "delay": 10},
    "ws_reorder": {"probability": 0.3, "distance": 2, "hold": 50},
    "ws_delay": {"probability": 0.3, "delay": 40, "jitter": 40},
    "ws_corrupt": {"probability": 0.3},
    "ws_drop": {"probability": 0.3},
    "ws_duplicate": {"probability": 0.3, "copies": 2},
    "ws_truncate": {"probability": 0.3, "bytes": 2},
    "ws_mask": {"probability": 0.3},
    "ws_close": {"skip": 2},
}
STREAM_FAULTS = sorted(kind for kind, fault in FAULTS.items() if issubclass(fault, StreamFault))
ENDING = {"timeout", "reset_peer", "limit_data", "half_open"}
FAITHFUL = [
    kind for kind in STREAM_FAULTS if not FAULTS[kind].loses and kind not in ENDING and kind != "ws_fragment"
]
FRAME_FAULTS = [kind for kind, fault in FAULTS.items() if issubclass(fault, FrameFault)]
# Wherever the pieces of a stream are cut, these do the same to the same bytes.
INDIFFERENT = [*FRAME_FAULTS, "ws_no_deflate", "corrupt", "limit_data", "noop", "slow_close", "blackhole"]

chunks = st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=8)
gaps = st.lists(st.floats(0, 0.3), min_size=8, max_size=8)
seeds = st.integers(0, 2**32)


def fault_chain(kind, seed, stream="downstream"):
    return chain_of(toxic(kind, stream, **LIVELY.get(kind, {})), seed=seed, stream=stream)


def timed(pieces, waits):
    at, out = 0.0, []
    for piece, wait in zip(pieces, waits, strict=False):
        at += wait
        out.append((at, piece))
    return out, at


@pytest.mark.parametrize("kind", FAITHFUL)
@settings(max_examples=15)
@given(pieces=chunks, waits=gaps, seed=seeds)
def test_a_fault_that_says_so_loses_reorders_and_changes_no_byte(kind, pieces, waits, seed):
    sent, end = timed(pieces, waits)
    chain = fault_chain(kind, seed)
    out = drive(chain, [*sent, (end, Signal.END)])
    if kind == "blackhole":
        assert out == []
        chain._circuit.faults.clear()
        out = [(end, item) for item in chain.refresh(end)]
    assert data_of(out) == b"".join(pieces)
    assert signals_of(out) == [Signal.END]
    assert out[-1][1] is Signal.END
    assert chain.held == 0


@pytest.mark.parametrize("kind", STREAM_FAULTS)
@settings(max_examples=15)
@given(pieces=chunks, waits=gaps, seed=seeds)
def test_the_same_seed_gives_the_same_bytes_at_the_same_times(kind, pieces, waits, seed):
    sent, end = timed(pieces, waits)
    runs = [drive(fault_chain(kind, seed), [*sent, (end, Signal.END)], until=100) for _ in range(2)]
    assert runs[0] == runs[1]


@pytest.mark.parametrize("kind", STREAM_FAULTS)
@settings(max_examples=15)
@given(pieces=chunks, waits=gaps, seed=seeds)
def test_nothing_follows_a_signal_and_times_do_not_go_back(kind, pieces, waits, seed):
    sent, end = timed(pieces, waits)
    out = drive(fault_chain(kind, seed), [*sent, (end, Signal.END), (end, b"late")], until=100)
    assert [at for at, _ in out] == sorted(at for at, _ in out)
    assert all(not isinstance(item, Signal) for _, item in out[:-1])
    assert all(item != b"" for _, item in out)


@pytest.mark.parametrize("kind", FAITHFUL)
@settings(max_examples=15)
@given(pieces=chunks, waits=gaps, seed=seeds, when=st.floats(0, 1))
def test_a_fault_that_is_taken_away_gives_back_what_it_kept(kind, pieces, waits, seed, when):
    """Whenever that happens, all bytes arrive in order."""
    sent, _ = timed(pieces, waits)
    chain = fault_chain(kind, seed)
    out = drive(chain, [each for each in sent if each[0] <= when], until=when)
    chain._circuit.faults.clear()
    out += [(when, item) for item in chain.refresh(when)]
    assert chain.idle
    out += drive(chain, [each for each in sent if each[0] > when])
    assert data_of(out) == b"".join(pieces)


def conversation(messages, stream):
    """A WebSocket stream with a message of each text, and a ping or pong now and then."""
    mask = b"\x01\x02\x03\x04" if stream == "upstream" else None
    data = REQUEST if stream == "upstream" else ANSWER
    for number, text in enumerate(messages):
        data += build_frame(TEXT, text.encode(), mask=mask)
        if number % 3 == 1:
            data += build_frame(PONG if number % 2 else PING, b"%d" % number, mask=mask)
    return data


messages = st.lists(st.text(max_size=20), min_size=1, max_size=12)


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
@pytest.mark.parametrize("kind", INDIFFERENT)
@settings(max_examples=15)
@given(texts=messages, places=st.lists(st.integers(0, 5000), max_size=20), seed=seeds)
def test_how_a_stream_is_cut_makes_no_difference(kind, stream, texts, places, seed):
    data = conversation(texts, stream)
    whole = drive(fault_chain(kind, seed, stream), [(0.0, data)])
    cut_up = drive(fault_chain(kind, seed, stream), [(0.0, piece) for piece in cut(data, places)])
    assert data_of(cut_up) == data_of(whole)
    assert signals_of(cut_up) == signals_of(whole)


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
@pytest.mark.parametrize(
    "kind", sorted({*FRAME_FAULTS} - {"ws_fragment", "ws_truncate", "ws_mask", "ws_close"})
)
@settings(max_examples=15)
@given(texts=messages, places=st.lists(st.integers(0, 5000), max_size=20), seed=seeds)
def test_frames_that_were_not_chosen_are_the_same_to_the_byte(kind, stream, texts, places, seed):
    """All but some of the frames that were sent arrive as they were, and the handshake does."""
    data = conversation(texts, stream)
    out = data_of(drive(fault_chain(kind, seed, stream), [(0.0, piece) for piece in cut(data, places)]))
    head = REQUEST if stream == "upstream" else ANSWER
    assert out.startswith(head)
    sent, came = frames_of(data, stream), frames_of(out, stream)
    assert b"".join(came) == out[len(head) :]
    if kind in ("ws_reorder", "ws_delay"):
        assert sorted(came) == sorted(sent)
    elif kind == "ws_duplicate":
        assert [frame for frame in came if frame in sent] == came
        assert set(came) == set(sent)
    elif kind == "ws_corrupt":
        assert [len(frame) for frame in came] == [len(frame) for frame in sent]
        changed = [index for index, (a, b) in enumerate(zip(sent, came, strict=True)) if a != b]
        for index in changed:
            assert sum(a != b for a, b in zip(sent[index], came[index], strict=True)) == 1
    else:
        left = iter(sent)
        assert all(frame in left for frame in came)


@settings(max_examples=60)
@given(
    garbage=st.binary(max_size=400),
    places=st.lists(st.integers(0, 1000), max_size=30),
    stream=st.sampled_from(["upstream", "downstream"]),
    beginning=st.sampled_from([b"", ANSWER, REQUEST]),
    fresh=st.booleans(),
)
def test_a_parser_gives_back_every_byte_whatever_it_was_given(garbage, places, stream, beginning, fresh):
    parser = FrameParser(stream, fresh=fresh)
    data = beginning + garbage
    out = b""
    for piece in cut(data, places):
        for item in parser.feed(piece):
            out += item.raw if isinstance(item, Frame) else item
        assert parser.held <= len(garbage)
    assert out + parser.rest() == data


@pytest.mark.parametrize("kind", sorted(FAULTS))
def test_every_fault_says_whether_it_can_happen_over_tcp(kind):
    text = FAULTS[kind].__doc__ or ""
    phrase = {"tcp": "appens over TCP", "message": "Only at message level"}[FAULTS[kind].level]
    assert phrase in text, text


@pytest.mark.parametrize("kind", sorted(FAULTS))
def test_every_fault_can_be_made_without_parameters(kind):
    assert build(kind, {}).kind == kind
