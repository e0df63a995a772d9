"""What is fuzzed: functions of bytes that return, or fail an assertion, and never let an exception out.

Each reads what a stranger sends: a client to the server, a server to the client, a venue to the feed.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from omega_ai.core.clock import ManualClock
from omega_ai.core.websocket.close import may_be_sent
from omega_ai.core.websocket.deflate import compress_once
from omega_ai.core.websocket.frames import BINARY, CLOSE, PING, PONG, TEXT, build_frame
from omega_ai.core.websocket.handshake import Refusal, check_upgrade, parse_request
from omega_ai.data_feed.exchanges.detect import VENUES, venue_of
from omega_ai.data_feed.websocket.admission import Admission, AdmissionSettings, Admitted, UpgradeRequest
from omega_ai.data_feed.websocket.auth import Authenticator, AuthError, make_token
from omega_ai.data_feed.websocket.errors import ErrorCode
from omega_ai.data_feed.websocket.messages import CHANNELS
from omega_ai.data_feed.websocket.token_keys import StaticKeys, secret_key, signing_key
from omega_ai.testkit.tls.flight import CERTIFICATES_LIMIT, Flight
from omega_ai.testkit.tls.hello import EXTENDED_MASTER_SECRET, RENEGOTIATION_INFO, STATUS_REQUEST
from omega_ai.testkit.tls.wire import Malformed
from omega_ai.testkit.zoo.showing import Showing
from omega_ai.tests.property.test_parsers import check as check_events
from omega_ai.tests.property.venue_messages import DOCUMENTED, REST
from omega_ai.tests.unit.client.fake_port import Table
from omega_ai.tests.unit.core.websocket.wire import (
    DEFLATE,
    MASK,
    REQUEST,
    FakeTransport,
    RecordingServer,
    begin_client,
    open_client,
    open_server,
    options,
    read_frames,
    response,
)
from omega_ai.tests.unit.data.websocket.conversation import World

NOW = 1_767_323_045_678_000_000
SECRET = b"0123456789abcdef0123456789abcdef"
END = b"\r\n\r\n"


class Target(NamedTuple):
    """One thing that is fuzzed. ``seeds`` are right inputs to begin with, ``words`` what to splice in."""

    run: Callable[[bytes], None]
    seeds: Sequence[bytes]
    words: Sequence[bytes] = ()


# ------------------------------------------------------------------ frames


def _pieces(stream: bytes, size: int) -> list[bytes]:
    return [stream[at : at + size] for at in range(0, len(stream), size)] if size else [stream]


def _judge(written: bytes, ended: bool) -> None:
    """At most one close frame, nothing after it, with a code that may be sent (RFC 6455 section 5.5.1)."""
    frames = read_frames(written)
    closes = [frame for frame in frames if frame.opcode == CLOSE]
    assert len(closes) <= 1, "two close frames"
    if closes:
        assert frames[-1] is closes[0], "something was sent after the close frame"
        payload = closes[0].payload
        assert payload == b"" or may_be_sent(int.from_bytes(payload[:2], "big")), payload
        payload[2:].decode()
    assert ended or not closes or len(frames) > 0


def server_frames(data: bytes) -> None:
    """A stream of frames from a client, whole and in pieces: the same messages, the same end."""
    how, stream = data[:1] or b"\0", data[1:]
    seen = []
    for size in (0, how[0] >> 1 or 1):
        server, transport, _ = open_server(
            compression=bool(how[0] & 1), message_limit=4096, fragments_limit=8
        )
        for piece in _pieces(stream, size):
            server.data_received(piece)
        _judge(transport.written, transport.ended)
        for kind, *rest in server.events:
            if kind == "text":
                rest[0].decode()
            if kind in ("text", "binary"):
                assert len(rest[0]) <= 4096
        seen.append(server.events)
    assert seen[0] == seen[1], "it makes a difference where the stream is cut"


def client_frames(data: bytes) -> None:
    """The same from a server to a client."""
    how, stream = data[:1] or b"\0", data[1:]
    seen = []
    for size in (0, how[0] >> 1 or 1):
        answer = "Sec-WebSocket-Extensions: permessage-deflate\r\n" if how[0] & 1 else ""
        client, transport, _ = open_client(
            answer=answer, opening={"compression": True}, message_limit=4096, fragments_limit=8
        )
        for piece in _pieces(stream, size):
            client.data_received(piece)
        _judge(transport.written, transport.ended)
        seen.append(client.events)
    assert seen[0] == seen[1], "it makes a difference where the stream is cut"


# ------------------------------------------------------------------ handshakes


def server_handshake(data: bytes) -> None:
    """A request's head: refused with a status of its own, or admitted; the answer is one answer."""
    head = data.partition(END)[0]
    try:
        request = parse_request(head)
        upgrade = check_upgrade(request, subprotocols=("omega.v2",))
    except Refusal as refusal:
        status, fields = refusal.status, refusal.headers
    else:
        status = 101
        fields = upgrade.headers
        decision = _admission().decide(
            UpgradeRequest.build(request.target, request.headers, peer="192.0.2.1")
        )
        if isinstance(decision, Admitted):
            assert set(decision.channels) <= set(CHANNELS)
            decision.address.encode("ascii")
        else:
            status = decision.status
            fields = (*fields, *decision.headers)
    assert status in (101, 400, 401, 403, 404, 405, 426, 429, 431, 503, 505), status
    for name, value in fields:
        assert name.isascii()
        assert value.isprintable(), f"header {name} could end its line: {value!r}"
    _whole_handshake(data)


def _whole_handshake(data: bytes) -> None:
    """The same through the protocol, as the event loop hands it in: one status line, however it is cut."""
    answers = []
    for size in (0, 7):
        _, common = options()
        server, transport = RecordingServer(common), FakeTransport()
        transport.protocol = server
        server.connection_made(transport)
        for piece in _pieces(data, size):
            if not transport.ended:
                server.data_received(piece)
        status = transport.written.partition(b"\r\n")[0]
        assert status == b"" or status.startswith(b"HTTP/1.1 "), status
        assert not status.startswith(b"HTTP/1.1 500"), "an exception within the handshake"
        answers.append(status)
    assert answers[0] == answers[1], "it makes a difference where the request is cut"


def _admission() -> Admission:
    return Admission(
        AdmissionSettings(
            frozenset(CHANNELS), trusted_proxies=("192.0.2.0/24",), origins=("https://a.example",)
        ),
        clock=ManualClock(),
        rng=random.Random(1),
        authenticator=Authenticator(StaticKeys([secret_key(SECRET)])),
    )


def client_handshake(data: bytes) -> None:
    """A server's answer to a client: opened, or refused once, with a reason."""
    client, _, _ = begin_client({"subprotocols": ("omega.v2",), "compression": True})
    for piece in _pieces(data, 11):
        client.data_received(piece)
    client.connection_lost(None)
    kinds = [event[0] for event in client.events]
    assert kinds.count("refused") + kinds.count("open") == 1, kinds
    if "refused" in kinds:
        assert client.events[0][1].reason


# ------------------------------------------------------------------ messages


def _lines(data: bytes) -> list[bytes]:
    """The lines that are UTF-8: others never come so far, the engine closes with 1007."""
    lines = []
    for line in data.split(b"\n")[:16]:
        try:
            line.decode()
        except UnicodeDecodeError:
            continue
        lines.append(line)
    return lines


def messages(data: bytes) -> None:
    """What a client says, a message a line: each is answered, refused or published, in valid JSON."""
    world = World()
    client, reader = world.client(), world.client()
    world.price(1)
    codes = {code.value for code in ErrorCode}
    for line in _lines(data):
        for answer in client.send(line):
            assert isinstance(answer["type"], str)
            if answer["type"] == "error":
                assert answer["code"] in codes
                assert len(answer["message"]) <= 400
                assert answer["code"] != "internal"
        world.answer_look_backs()
        client.seen()
        for published in reader.seen():
            assert published["type"] in CHANNELS
            assert published["seq"] >= 1


def client_messages(data: bytes) -> None:
    """What a server says to our client, a message a line: delivered, passed over, or the server is left."""
    table = Table(["btc_price", "broadcast"]).connect()
    for line in _lines(data):
        table.conversation.received(line)
    table.clock.advance(6)
    table.conversation.tick()
    assert len(table.port.delivered) <= 64


# ------------------------------------------------------------------ venues, tokens


def venues(data: bytes) -> None:
    """A venue's message, to every parser: known events with sane numbers, or a counted refusal."""
    venue_of(data)
    for venue in VENUES.values():
        check_events(venue.parse(data, NOW))
        if venue.rest is not None:
            check_events(venue.rest.parse(data, NOW))


def tokens(data: bytes) -> None:
    """A token: verified, or refused with a sentence that does not quote it."""
    text = data.decode("latin-1")
    try:
        identity = Authenticator(StaticKeys([secret_key(SECRET)])).verify(text, NOW)
        subject, reason = identity.subject, ""
    except AuthError as error:
        subject, reason = "", error.reason
    assert subject == "desk-7" or reason, "a signature was accepted that we never made"
    assert len(text) < 12 or text not in reason


# ------------------------------------------------------------------ seeds


def _streams(mask: bytes | None) -> list[bytes]:
    def frame(opcode: int, payload: bytes, *, fin: bool = True, rsv1: bool = False) -> bytes:
        return build_frame(opcode, payload, fin=fin, rsv1=rsv1, mask=mask)

    return [
        b"\x00" + frame(TEXT, "Grüße, 世界".encode()),
        b"\x06" + frame(TEXT, b"x" * 130) + frame(PING, b"p") + frame(CLOSE, b"\x03\xe8bye"),
        b"\x01" + frame(TEXT, compress_once(b"abc" * 50), rsv1=True),
        b"\x07"
        + frame(TEXT, compress_once("äöü".encode())[:3], rsv1=True, fin=False)
        + frame(PING, b"")
        + frame(0, compress_once("äöü".encode())[3:]),
        b"\x08" + frame(BINARY, b"\0\1\2", fin=False) + frame(0, b"\3", fin=True) + frame(PONG, b"q"),
        b"\x02" + frame(TEXT, b"y" * 70_000),
    ]


_REQUESTS = (
    (REQUEST + DEFLATE + "\r\n").encode(),
    (
        REQUEST.replace("GET / ", "GET /ws?channels=btc_price,trades ")
        + "Origin: https://a.example\r\nX-Forwarded-For: 203.0.113.9, 192.0.2.7\r\n"
        "Authorization: Bearer a.b.c\r\nSec-WebSocket-Protocol: omega.v2, other\r\n\r\n"
    ).encode(),
    (REQUEST.replace("localhost", "[::1]:8765") + "Cookie: a=b\r\nContent-Length: 0\r\n\r\n").encode(),
    b"GET http://a.example:80/ws HTTP/1.1\r\nHost: b\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
)

_CLIENT_LINES = (
    b'{"type":"subscribe","id":1,"channels":["btc_price","trades"],"mode":"latest","interval_ms":250}',
    b'{"type":"subscribe","channels":["btc_price"],"since":{"btc_price":{"epoch":"epoch1","seq":0}}}',
    b'{"type":"unsubscribe","id":"a","channels":["broadcast"]}',
    b'{"type":"history","channel":"btc_price","limit":10}',
    b'{"type":"ping","id":7}\n{"type":"auth","token":"good"}',
    b'{"type":"test","nested":{"a":[1,null,1e3]}}',
    b'{"type":"btc_price","price":61800.01,"volume":2,"timestamp":"2026-01-01T00:00:00Z","symbol":"BTC-USD"}',
    b'{"type":"broadcast","timestamp":"2026-01-01T00:00:00Z","note":"\\u00e4","seq":5,"epoch":"x"}',
)

_SERVER_LINES = (
    b'{"type":"subscribed","id":1,"channel":"btc_price","epoch":"e","seq":3,"mode":"all","recovered":false}\n'
    b'{"type":"btc_price","epoch":"e","seq":4,"symbol":"BTC-USD","price":61800.01,"volume":null,"bid":null,'
    b'"ask":1,"timestamp":"2026-01-01T00:00:00.000000Z","source_timestamp":null,"sources":{},"state":"live"}\n'
    b'{"type":"btc_price","epoch":"e","seq":9,"symbol":"BTC-USD","price":1,"volume":1,"bid":1,"ask":1,'
    b'"timestamp":"2026-01-01T00:00:00.000000Z","source_timestamp":null,"sources":{},"state":"stale"}',
    b'{"type":"heartbeat","timestamp":"2026-01-01T00:00:00.000000Z","channels":{"broadcast":{"epoch":"e","seq":9}}}',
    b'{"type":"error","code":"rate_limited","message":"m","temporary":true,"timestamp":"2026-01-01T00:00:00Z",'
    b'"id":2,"retry_after_ms":5}',
    b'{"type":"history","id":3,"channel":"broadcast","epoch":"e","seq":1,"messages":[{"type":"broadcast"}]}',
)

_JSON_WORDS = (
    b"null", b"true", b"[]", b"{}", b"[[[[", b'"', b"\\u0000", b"\\ud800", b"1e999999", b"-0", b"NaN",
    b"123456789012345678901234567890", b"0.0000000000000000000000000001", b'"id":', b'"seq":', b'"epoch":"e"',
    b"9999-12-31T23:59:59.999999Z", b"0000-00-00T00:00:00Z", b'"type":"ping"', b",", b"\n",
)  # fmt: skip
_HTTP_WORDS = (
    b"\r\n", b"\r\n ", b"\n", b"\0", b":", b" :", b"Host: x\r\n", b"Content-Length: 5\r\n", b"HTTP/1.0",
    b"HTTP/1.1", b"%00", b"?channels=", b"Origin: null\r\n", b"Upgrade: h2c\r\n", b"[::ffff:127.0.0.1]",
    b"0x7f.1", b",", b";",
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=8\r\n", b'"', b"\xff", b"\t",
)  # fmt: skip
_FRAME_WORDS = (
    b"\x81\xfe", b"\x81\xff", b"\xc1\x80", b"\x00\x80", b"\x80\x80", b"\x88\x80", b"\x89\xfd", b"\x88\x82",
    b"\x7f\xff\xff\xff\xff\xff\xff\xff", b"\xff" * 8, b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x03\xe8",
    b"\x03\xed", b"\x00\x00\xff\xff", MASK,
)  # fmt: skip
_VENUE_SEEDS = tuple(message for found in (DOCUMENTED, REST) for kind in found.values() for message in kind)


def _tokens() -> list[bytes]:
    key = signing_key(SECRET)
    made = make_token(key, subject="desk-7", now_ns=NOW, lifetime_s=600, publish=["btc_price"])
    head, claims, signature = made.split(".")
    return [
        made.encode(),
        f"{head}.{claims}.".encode(),
        f"{claims}.{head}.{signature}".encode(),
        b"..",
        b"a.b.c",
    ]


# ------------------------------------------------------------------ TLS

_ASKED = {STATUS_REQUEST: b"", RENEGOTIATION_INFO: b"", EXTENDED_MASTER_SECRET: b""}


def tls_flight(data: bytes) -> None:
    """What a TLS 1.2 server says first: read, or refused in words, wherever it is cut."""
    seen = []
    for size in (0, 7):
        flight = Flight()
        try:
            for piece in _pieces(data, size):
                flight.feed(piece)
            refused = ""
        except Malformed as error:
            refused = str(error)
        assert len(flight.certificates) <= CERTIFICATES_LIMIT
        seen.append((flight.hello, flight.certificates, flight.staple, flight.alert, flight.done, refused))
    assert seen[0] == seen[1], "it makes a difference where the stream is cut"


TARGETS: dict[str, Target] = {
    "server-frames": Target(server_frames, _streams(MASK), _FRAME_WORDS),
    "client-frames": Target(client_frames, _streams(None), _FRAME_WORDS),
    "server-handshake": Target(server_handshake, _REQUESTS, _HTTP_WORDS),
    "client-handshake": Target(
        client_handshake,
        (
            response(),
            response("Sec-WebSocket-Protocol: omega.v2\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"),
            b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\nContent-Length: 9\r\n\r\nslow down",
        ),
        _HTTP_WORDS,
    ),
    "messages": Target(messages, _CLIENT_LINES, _JSON_WORDS),
    "client-messages": Target(client_messages, _SERVER_LINES, _JSON_WORDS),
    "venues": Target(venues, _VENUE_SEEDS, _JSON_WORDS),
    "tls-flight": Target(
        tls_flight,
        (
            Showing((b"a certificate", b"its issuer"), b"an OCSP answer").flight(bytes(32), _ASKED),
            Showing((b"x" * 5000,)).flight(bytes(32), {}),
            b"\x15\x03\x03\x00\x02\x02\x46",
        ),
        (b"\x16\x03\x03", b"\x15\x03\x03", b"\x0b\x00", b"\x16\x00\x00", b"\x0e\x00\x00\x00", b"\xff\x01"),
    ),
    "tokens": Target(tokens, _tokens(), (b".", b"=", b"-", b"_", b"eyJhbGciOiJub25lIn0", b"\0", b" ")),
}
"""Everything that is fuzzed, by name."""


def as_text(data: bytes) -> str:
    """An input as a Python literal to paste into a test."""
    return json.dumps(data.decode("latin-1")) + '.encode("latin-1")'
