"""The engine on any input: however a stream is cut, whatever it holds."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from omega_ai.core.websocket.close import may_be_sent
from omega_ai.core.websocket.deflate import DeflateParams, Inflater, compress_once
from omega_ai.core.websocket.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    apply_mask,
    build_frame,
    close_payload,
)
from omega_ai.core.websocket.handshake import Refusal, Request, parse_request
from omega_ai.core.websocket.headers import parse_extensions
from omega_ai.data_feed.websocket.outbox import Outbox, Waiting
from omega_ai.tests.unit.core.websocket.wire import open_server, read_frames

MASKS = st.binary(min_size=4, max_size=4)
OPCODES = st.sampled_from([CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG, 3, 11])
PAYLOADS = st.one_of(
    st.binary(max_size=300),
    st.text(max_size=100).map(str.encode),
    st.text(max_size=100).map(lambda text: compress_once(text.encode())),
    st.tuples(st.sampled_from([1000, 1001, 1005, 3000, 4999]), st.text(max_size=20)).map(
        lambda pair: pair[0].to_bytes(2, "big") + pair[1].encode()
    ),
)
FRAMES = st.builds(
    lambda opcode, payload, fin, rsv1, mask: build_frame(opcode, payload, fin=fin, rsv1=rsv1, mask=mask),
    OPCODES,
    PAYLOADS,
    st.booleans(),
    st.booleans(),
    MASKS,
)
STREAMS = st.one_of(
    st.lists(FRAMES, max_size=8).map(b"".join),
    st.tuples(st.lists(FRAMES, max_size=4).map(b"".join), st.binary(max_size=40)).map(b"".join),
)


def run(pieces: list[bytes]) -> tuple[list[tuple[Any, ...]], bytes, bool]:
    """What a server makes of a stream that comes in ``pieces``."""
    server, transport, _ = open_server(compression=True, message_limit=400, fragments_limit=4)
    for piece in pieces:
        server.data_received(piece)
    return server.events, transport.written, transport.ended


@given(stream=STREAMS, cuts=st.lists(st.integers(0, 2000), max_size=12))
def test_where_a_stream_is_cut_makes_no_difference(stream: bytes, cuts: list[int]) -> None:
    """Same messages, same answers, same error, same end; and never an exception."""
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    pieces = [stream[a:b] for a, b in pairwise(places)]
    whole, cut = run([stream]), run(pieces)
    # An error may be found earlier within a frame that has not ended; its close code is the same, and so is
    # all that came before it. Its words may tell a size that was known by then.
    assert cut[0] == whole[0]
    assert [(f.opcode, f.payload[:2] if f.opcode == CLOSE else f.payload) for f in read_frames(cut[1])] == [
        (f.opcode, f.payload[:2] if f.opcode == CLOSE else f.payload) for f in read_frames(whole[1])
    ]
    assert cut[2] == whole[2]


@given(stream=STREAMS)
def test_at_most_one_close_frame_is_sent_and_nothing_after_it(stream: bytes) -> None:
    """RFC 6455 section 5.5.1; and its code is one that may be sent."""
    _, written, ended = run([stream])
    frames = read_frames(written)
    closes = [frame for frame in frames if frame.opcode == CLOSE]
    assert len(closes) <= 1
    if closes:
        assert frames[-1] == closes[0]
        assert ended
        payload = closes[0].payload
        assert payload == b"" or may_be_sent(int.from_bytes(payload[:2], "big"))


@given(st.lists(st.tuples(st.booleans(), st.text(max_size=60)), max_size=5), st.data())
def test_every_message_arrives_however_it_was_fragmented_and_packed(
    messages: list[tuple[bool, str]], data: st.DataObject
) -> None:
    """Sections 5.4 and RFC 7692 section 6; with pings anywhere between."""
    stream, expected = b"", []
    for packed, text in messages:
        payload = text.encode()
        expected.append(("text", payload))
        body = compress_once(payload) if packed else payload
        cut = data.draw(st.integers(0, len(body)))
        stream += build_frame(TEXT, body[:cut], fin=False, rsv1=packed, mask=b"abcd")
        stream += build_frame(PING, b"p", mask=b"efgh")
        stream += build_frame(CONTINUATION, body[cut:], mask=b"ijkl")
    events, _, _ = run([stream])
    assert [event for event in events if event[0] == "text"] == expected


@given(payload=st.binary(max_size=2000), bits=st.integers(9, 15), cut=st.integers(0, 2000))
def test_compression_is_undone_in_any_pieces(payload: bytes, bits: int, cut: int) -> None:
    """With every window."""
    packed = compress_once(payload, window_bits=bits)
    inflater = Inflater(DeflateParams(receive_window_bits=bits))
    out = inflater.feed(packed[:cut], 5000) + inflater.feed(packed[cut:], 5000)
    assert out + inflater.finish(5000) == payload


@given(payload=st.binary(max_size=300), mask=MASKS, cut=st.integers(0, 300))
def test_masking_is_the_same_in_pieces(payload: bytes, mask: bytes, cut: int) -> None:
    """Against the definition, byte by byte (section 5.3)."""
    expected = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    cut = min(cut, len(payload))
    assert apply_mask(payload, mask) == expected
    assert apply_mask(payload[:cut], mask) + apply_mask(payload[cut:], mask, cut) == expected


@given(st.sampled_from([1000, 4999]), st.text())
def test_a_close_payload_is_short_and_its_reason_a_beginning_of_the_text(code: int, reason: str) -> None:
    """At most 125 bytes, and UTF-8."""
    payload = close_payload(code, reason)
    assert len(payload) <= 125
    assert reason.startswith(payload[2:].decode())


@given(
    st.one_of(
        st.binary(max_size=200), st.text(max_size=100).map(lambda text: f"GET / HTTP/1.1\r\n{text}".encode())
    )
)
def test_any_request_is_understood_or_refused(head: bytes) -> None:
    """Never another exception."""
    result: Request | Refusal
    try:
        result = parse_request(head)
    except Refusal as refusal:
        result = refusal
    assert isinstance(result, Request) or 400 <= result.status < 500


@given(st.lists(st.text(alphabet='ab;,=" \t\\1', max_size=30), max_size=3))
def test_any_extension_header_is_understood_or_refused(values: list[str]) -> None:
    """Never another exception, never without end."""
    try:
        names = [extension.name for extension in parse_extensions(values)]
    except ValueError as error:
        names = [str(error)]
    assert all(names)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("send"), st.integers(1, 40)),
            st.tuples(st.just("offer"), st.integers(0, 2)),
            st.tuples(st.just("full"), st.booleans()),
        ),
        max_size=40,
    )
)
def test_an_outbox_loses_and_reorders_nothing_that_was_sent(steps: list[tuple[str, int]]) -> None:
    """Frames from send arrive all, in order, up to an overflow; of every key the last offer arrives."""
    arrived: list[bytes] = []
    full = False
    overflows: list[int] = []

    def write(data: bytes) -> bool:
        arrived.append(data)
        return not full

    waiting = Waiting()
    outbox = Outbox(write, limit=200, on_overflow=lambda: overflows.append(1), waiting=waiting)
    waiting.bytes += 7  # another's
    sent: list[bytes] = []
    offered: dict[str, bytes] = {}
    for number, (kind, value) in enumerate(steps):
        if kind == "send":
            frame = f"<{number}:{'x' * value}>".encode()
            sent.append(frame)
            outbox.send(frame)
        elif kind == "offer":
            frame = f"[{number}]".encode()
            offered[str(value)] = frame
            outbox.offer(str(value), frame)
        else:
            full = bool(value)
            if not full:
                outbox.resume()
        assert outbox.queued_bytes <= 200
        assert waiting.bytes == outbox.queued_bytes + 7
    full = False
    outbox.resume()
    stream = b"".join(arrived)
    assert len(overflows) <= 1
    if not overflows:
        assert outbox.queued_bytes == 0
        positions = [stream.index(frame) for frame in sent]
        assert positions == sorted(positions)
        assert all(frame in stream for frame in offered.values())
    outbox.abandon()
    outbox.send(b"too late")
    assert (waiting.bytes, outbox.queued_bytes) == (7, 0)
