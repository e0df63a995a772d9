"""The client against servers that misbehave: it says what is wrong, in time, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from omega_ai.client import (
    Broadcast,
    Connected,
    ConnectionClosed,
    ConnectionLost,
    ConnectTimeout,
    Disconnected,
    Feed,
    Gap,
    HandshakeFailed,
    HandshakeRejected,
    MessagesLost,
    NotRecovered,
    ReconnectFailed,
    Recovered,
    RequestFailed,
    RequestTimeout,
    ServerUnavailable,
    TlsError,
    connect,
)
from omega_ai.tests.integration.client.hostile_servers import Peer, server
from omega_ai.tests.unit.data.websocket.leaks import nothing_leaks

QUICK: dict[str, Any] = {
    "channels": ["broadcast"],
    "open_timeout": 0.3,
    "close_timeout": 0.3,
    "request_timeout": 2.0,
    "first_delay": 0.001,
    "longest_delay": 0.002,
}


@pytest.fixture(autouse=True)
async def leaks() -> AsyncIterator[None]:
    """Every test here leaves no task, socket or file descriptor behind."""
    async with nothing_leaks():
        yield


def quick(url: str, **options: Any) -> Feed:
    return connect(url, **(QUICK | options))


class TestNotAnswering:
    """Silence ends in the time set."""

    async def test_a_socket_that_never_answers_the_handshake(self) -> None:
        """Given up in ``open_timeout``."""
        async with server(Peer.gone) as url:
            start = time.monotonic()
            with pytest.raises(
                ConnectTimeout, match=r"connected, but the WebSocket handshake was not answered"
            ):
                await quick(url).start()
            assert 0.29 < time.monotonic() - start < 1.5

    async def test_a_socket_that_never_answers_tls(self) -> None:
        """The same, and it says so."""
        async with server(Peer.gone) as url:
            with pytest.raises(ConnectTimeout, match="the TLS handshake was not answered"):
                await quick(url.replace("ws:", "wss:")).start()

    async def test_half_a_handshake(self) -> None:
        """A head that does not end."""

        async def half(peer: Peer) -> None:
            await peer.read_request()
            peer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n")
            await peer.gone()

        async with server(half) as url:
            with pytest.raises(ConnectTimeout):
                await quick(url).start()

    async def test_a_server_that_is_silent_after_the_handshake(self) -> None:
        """The subscription is not answered."""

        async def silent(peer: Peer) -> None:
            await peer.accept()
            await peer.gone()

        async with server(silent) as url:
            with pytest.raises(ConnectionClosed, match="'subscribe' was not answered within"):
                await quick(url).start()

    async def test_starting_can_be_called_off(self) -> None:
        """At once, whatever it waits for."""
        async with server(Peer.gone) as url:
            start = time.monotonic()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await quick(url, open_timeout=30).start()
            assert time.monotonic() - start < 1

    async def test_a_connection_that_falls_silent_is_replaced(self) -> None:
        """After ``heartbeat_timeout``; nothing is lost."""

        async def falls_silent(peer: Peer) -> None:
            await peer.accept()
            asked = await peer.confirm(seq=peer.number)
            assert asked.get("since", {}) == (
                {} if not peer.number else {"broadcast": {"epoch": "e", "seq": 1}}
            )
            peer.publish(peer.number + 1)
            await peer.gone()

        async with server(falls_silent) as url, quick(url, heartbeat_timeout=0.2, events=True) as feed:
            seen = [await feed.receive(3) for _ in range(6)]
        assert [type(item) for item in seen] == [
            Connected, Broadcast, Disconnected, Connected, Recovered, Broadcast
        ]  # fmt: skip
        assert seen[2].reason == "nothing came for 0.2 s, not even a heartbeat"

    async def test_a_server_that_does_not_answer_the_close_is_cut_off(self) -> None:
        """After ``close_timeout``."""

        async def stubborn(peer: Peer) -> None:
            await peer.accept()
            await peer.confirm()
            await asyncio.sleep(30)

        async with server(stubborn) as url:
            async with quick(url):
                start = time.monotonic()
            assert 0.29 < time.monotonic() - start < 1.5

    async def test_a_request_that_is_not_answered(self) -> None:
        """Ends in its time; the connection stays."""

        async def mute(peer: Peer) -> None:
            await peer.accept()
            await peer.confirm()
            await peer.receive()
            peer.publish(1)
            await peer.gone()

        async with server(mute) as url, quick(url) as feed:
            with pytest.raises(RequestTimeout, match=r"no answer within 0\.1 s"):
                await feed.ping(timeout=0.1)
            assert (await feed.receive(2)).seq == 1


class TestRefusing:
    """A refusal is explained, and repeated only where that can help."""

    async def test_nobody_there(self) -> None:
        """Refused at once, with the port."""
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))  # bound, not listening: nobody else can take it meanwhile
            port = sock.getsockname()[1]
            with pytest.raises(ServerUnavailable, match=rf"nothing listens on 127\.0\.0\.1 port {port}$"):
                await quick(f"ws://127.0.0.1:{port}").start()

    async def test_a_name_that_is_not_known(self) -> None:
        """It is the name's fault, not the server's."""
        with pytest.raises(ServerUnavailable, match=r"host name 'no-such-host\.invalid' is not known"):
            await quick("ws://no-such-host.invalid:1", open_timeout=5).start()

    @pytest.mark.parametrize("status", ["401 Unauthorized", "404 Not Found", "301 Moved Permanently"])
    async def test_an_http_refusal_is_final_and_explained(self, status: str) -> None:
        """With the server's own words; a redirect is not followed, since the token would go with it."""
        came = 0

        async def refuse(peer: Peer) -> None:
            nonlocal came
            came += 1
            await peer.read_request()
            peer.write(
                f"HTTP/1.1 {status}\r\nLocation: ws://evil/\r\nContent-Length: 6\r\n\r\nbecaus".encode()
            )
            await peer.gone()

        async with server(refuse) as url:
            with pytest.raises(HandshakeRejected, match="becaus") as raised:
                await quick(url, start_timeout=5).start()
        assert raised.value.status == int(status[:3])
        assert came == 1

    async def test_an_overloaded_server_is_given_the_time_it_asks_for(self) -> None:
        """``Retry-After``, while ``start_timeout`` lasts."""
        times = []

        async def busy_at_first(peer: Peer) -> None:
            times.append(time.monotonic())
            if peer.number == 0:
                await peer.read_request()
                peer.write(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n")
                return
            await peer.accept()
            await peer.confirm()
            await peer.gone()

        async with server(busy_at_first) as url:
            with pytest.raises(HandshakeRejected) as raised:
                await quick(url).start()
            assert raised.value.retry_after == 1
        times.clear()
        async with server(busy_at_first) as url, quick(url, start_timeout=5):
            pass
        assert times[1] - times[0] >= 1

    @pytest.mark.parametrize(
        "answer",
        [
            b"SSH-2.0-OpenSSH_9.2\r\n\r\n\r\n",
            b"\x00\x01\x02" * 6000,
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: bm9uc2Vuc2U=\r\n\r\n",
            b"",
        ],
    )
    async def test_what_does_not_speak_websocket(self, answer: bytes) -> None:
        """Whatever it says instead, or if it says nothing and goes."""

        async def other(peer: Peer) -> None:
            await peer.read_request()
            peer.write(answer)
            await peer.writer.drain()
            peer.writer.close()

        async with server(other) as url:
            with pytest.raises(HandshakeFailed):
                await quick(url).start()

    @pytest.mark.parametrize(
        "header", ["Sec-WebSocket-Protocol: other.v1", "Sec-WebSocket-Extensions: permessage-deflate"]
    )
    async def test_what_was_not_offered_must_not_be_chosen(self, header: str) -> None:
        """RFC 6455 section 4.1."""

        async def chooses(peer: Peer) -> None:
            await peer.accept(header)
            await peer.gone()

        async with server(chooses) as url:
            with pytest.raises(HandshakeFailed, match="was not offered"):
                await quick(url).start()

    async def test_a_token_that_would_break_out_of_its_header(self) -> None:
        """It is not sent."""
        async with server(Peer.gone) as url:
            with pytest.raises(HandshakeFailed, match="the request cannot be made: not a header"):
                await quick(url, token="x\r\nEvil: yes").start()

    async def test_an_authority_that_is_not_there(self, tmp_path: Path) -> None:
        """The file is named."""
        async with server(Peer.gone) as url:
            with pytest.raises(TlsError, match=r"nowhere\.pem"):
                await quick(url.replace("ws:", "wss:"), tls=tmp_path / "nowhere.pem").start()

    async def test_no_tls_on_the_other_side(self) -> None:
        """It says to use ws."""

        async def plain(peer: Peer) -> None:
            await peer.reader.read(100)
            peer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await peer.gone()

        async with server(plain) as url:
            with pytest.raises(TlsError, match="does not speak TLS on this port"):
                await quick(url.replace("ws:", "wss:"), open_timeout=5).start()

    async def test_a_channel_that_is_refused_at_the_start(self) -> None:
        """Starting fails with the server's words."""

        async def refuse(peer: Peer) -> None:
            await peer.accept()
            while (asked := await peer.receive())["channels"] == ["heartbeat"]:
                pass
            peer.send(_error("unknown_channel", asked["id"]))
            await peer.gone()

        async with server(refuse) as url:
            with pytest.raises(RequestFailed, match="unknown_channel") as raised:
                await quick(url).start()
        assert raised.value.code == "unknown_channel"

    async def test_a_channel_that_is_refused_later_ends_the_feed(self) -> None:
        """A token may have lost a right while the connection was away."""

        async def refuse_later(peer: Peer) -> None:
            await peer.accept()
            if peer.number == 0:
                await peer.confirm()
                return
            while (asked := await peer.receive())["channels"] == ["heartbeat"]:
                pass
            peer.send(_error("forbidden", asked["id"]))
            await peer.gone()

        async with server(refuse_later) as url, quick(url) as feed:
            with pytest.raises(RequestFailed, match="forbidden"):
                await feed.receive(3)
            with pytest.raises(RequestFailed, match="forbidden"):
                await anext(feed)


class TestClosing:
    """The close code decides what follows."""

    @pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, 1013, 4008, 4012])
    async def test_it_comes_back_after_a_close_that_allows_it(self, code: int) -> None:
        """Subscribed again, from where it was."""

        async def closes(peer: Peer) -> None:
            await peer.accept()
            asked = await peer.confirm(seq=1)
            if peer.number == 0:
                peer.publish(2)
                peer.close(code, "in words")
            else:
                assert asked["since"] == {"broadcast": {"epoch": "e", "seq": 2}}
                peer.publish(3)
            await peer.gone()

        async with server(closes) as url, quick(url, events=True) as feed:
            seen = [await feed.receive(3) for _ in range(6)]
        assert [type(item) for item in seen] == [
            Connected, Broadcast, Disconnected, Connected, Recovered, Broadcast
        ]  # fmt: skip
        assert (seen[2].code, seen[2].reason) == (code, "in words")

    @pytest.mark.parametrize("code", [1002, 1003, 1007, 1008, 1009, 4500, 4503])
    async def test_it_stays_away_after_a_close_that_forbids_it(self, code: int) -> None:
        """And says why, every time it is asked."""
        came = 0

        async def closes(peer: Peer) -> None:
            nonlocal came
            came += 1
            await peer.accept()
            await peer.confirm()
            peer.close(code, "in words")
            await peer.gone()

        async with server(closes) as url, quick(url) as feed:
            for _ in range(2):
                with pytest.raises(ConnectionClosed, match=f"closed with {code}: in words"):
                    await feed.receive(3)
            with pytest.raises(ConnectionClosed):
                await feed.ping()
        assert came == 1

    async def test_it_does_not_come_back_if_told_so(self) -> None:
        """``reconnect=False``."""

        async def leaves(peer: Peer) -> None:
            await peer.accept()
            await peer.confirm()
            peer.publish(1)

        async with server(leaves) as url, quick(url, reconnect=False) as feed:
            assert (await feed.receive(3)).seq == 1
            with pytest.raises(ConnectionClosed, match="1006"):
                await feed.receive(3)

    async def test_it_gives_up_after_as_many_attempts_as_are_allowed(self) -> None:
        """``max_attempts``, without data in between."""
        came = 0

        async def once(peer: Peer) -> None:
            nonlocal came
            came += 1
            if peer.number == 0:
                await peer.accept()
                await peer.confirm()

        async with server(once) as url, quick(url, max_attempts=3, events=True) as feed:
            seen = [await feed.receive(3) for _ in range(5)]
            with pytest.raises(ReconnectFailed, match="3 attempts to reconnect failed"):
                await feed.receive(3)
        assert came == 4
        assert [item.retry_in is None for item in seen if isinstance(item, Disconnected)] == [
            False, False, False, True
        ]  # fmt: skip

    async def test_a_server_that_accepts_and_drops_is_not_hammered(self) -> None:
        """The back-off grows as long as no data comes, though each handshake succeeds."""
        delays: list[float | None] = []

        async def drops(peer: Peer) -> None:
            await peer.accept()
            await peer.confirm()

        options: dict[str, Any] = {
            "events": True,
            "first_delay": 0.001,
            "longest_delay": 0.064,
            "rng": _Ceiling(),
        }
        async with server(drops) as url, quick(url, **options) as feed:
            while len(delays) < 7:
                item = await feed.receive(3)
                if isinstance(item, Disconnected):
                    delays.append(item.retry_in)
        assert delays == [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064]

    async def test_a_request_under_way_when_the_connection_goes(self) -> None:
        """Its outcome is unknown, and that is said."""

        async def takes_and_leaves(peer: Peer) -> None:
            await peer.accept()
            await peer.confirm()
            await peer.receive()

        async with server(takes_and_leaves) as url, quick(url) as feed:
            with pytest.raises(ConnectionLost, match="whether it was acted on is unknown"):
                await feed.request({"type": "test"})

    async def test_what_is_sent_while_it_closes_goes_out_on_the_next_connection(self) -> None:
        """And not into the void."""
        got: list[int] = []
        closing = asyncio.Event()

        async def closes_slowly(peer: Peer) -> None:
            await peer.accept()
            await peer.confirm()
            if peer.number == 0:
                peer.close(1012)
                await peer.gone()
                closing.set()
                await asyncio.sleep(0.1)  # the close frames are exchanged, the socket is still there
                return
            got.append((await peer.receive())["n"])
            await peer.gone()

        async with server(closes_slowly) as url, quick(url) as feed:
            await closing.wait()
            await feed.send({"type": "test", "n": 7})
            async with asyncio.timeout(2):
                while not got:
                    await asyncio.sleep(0.01)
        assert got == [7]

    async def test_a_server_that_does_not_read_holds_sending_back(self) -> None:
        """Within the time given for it."""

        async def deaf(peer: Peer) -> None:
            await peer.accept()
            await peer.confirm()
            await asyncio.sleep(30)

        async def send_much(feed: Feed) -> None:
            for _ in range(100):
                await feed.send({"type": "test", "filler": "x" * 1_000_000}, timeout=0.2)

        async with server(deaf) as url, quick(url) as feed:
            with pytest.raises(RequestTimeout):
                await send_much(feed)


class TestGarbage:
    """What cannot be understood ends the connection, not the feed."""

    @pytest.mark.parametrize(
        "garbage",
        [
            b"\x81\x08not JSON",
            b"\x81\x02\xff\xfe",
            b"\x82\x01x",
            b"\xc1\x01x",
            b"\x83\x00",
            b"\x09\x00",
            b"\x81\x80abcd",
            b"\x80\x01x",
            b"\x81\x7f\x00\x00\x00\x7f\xff\xff\xff\xff",
            b"\x88\x01x",
            b'\x81\x14{"type":"btc_price"}',
        ],
        ids=[
            "not JSON", "bad UTF-8", "binary", "reserved bit", "unknown opcode", "fragmented ping", "masked",
            "continuation of nothing", "a message of half a terabyte", "bad close", "fields missing",
        ],
    )  # fmt: skip
    async def test_garbage_ends_the_connection_and_nothing_is_lost(self, garbage: bytes) -> None:
        """It may have been the network: the client comes back and gets what was meant."""

        async def babbles(peer: Peer) -> None:
            await peer.accept()
            asked = await peer.confirm(seq=1)
            if peer.number == 0:
                peer.publish(2)
                await peer.writer.drain()
                await asyncio.sleep(0.02)
                peer.write(garbage)
            else:
                assert asked["since"] == {"broadcast": {"epoch": "e", "seq": 2}}
                peer.publish(3)
            await peer.gone()

        async with server(babbles) as url, quick(url) as feed:
            assert [(await feed.receive(3)).seq for _ in range(2)] == [2, 3]

    async def test_random_bytes_after_the_handshake(self) -> None:
        """Whatever they are, the client comes back."""
        rng = random.Random(7)

        async def noise(peer: Peer) -> None:
            await peer.accept()
            await peer.confirm()
            if peer.number < 30:
                peer.write(rng.randbytes(rng.randint(1, 400)))
            else:
                peer.publish(1)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.01 if peer.number < 30 else 1):
                    await peer.gone()

        async with server(noise) as url, quick(url, heartbeat_timeout=0.3, start_timeout=10) as feed:
            assert (await feed.receive(10)).seq == 1


class TestHoles:
    """What is lost is told."""

    async def test_a_hole_raises_and_iteration_goes_on(self) -> None:
        """Nobody overlooks it; nobody has to give up for it."""

        async def forgets(peer: Peer) -> None:
            await peer.accept()
            await peer.confirm()
            peer.publish(1, 4)
            await peer.confirm(seq=4)
            peer.publish(4, 5)
            await peer.gone()

        async with server(forgets) as url, quick(url) as feed:
            assert (await feed.receive(3)).seq == 1
            with pytest.raises(
                MessagesLost, match=r"broadcast: 2 messages lost \(e/2 to e/3\)|lost"
            ) as raised:
                await feed.receive(3)
            assert raised.value.event == Gap(channel="broadcast", epoch="e", first=2, last=3)
            assert [(await feed.receive(3)).seq for _ in range(2)] == [4, 5]

    async def test_a_new_epoch_after_a_reconnect(self) -> None:
        """With events, it is told by an event, in its place."""

        async def forgetful(peer: Peer) -> None:
            await peer.accept()
            if peer.number == 0:
                await peer.confirm()
                peer.publish(1)
                return
            while (asked := await peer.receive())["channels"] == ["heartbeat"]:
                pass
            peer.send(
                {
                    "type": "subscribed",
                    "id": asked["id"],
                    "channel": "broadcast",
                    "epoch": "f",
                    "seq": 9,
                    "mode": "all",
                    "recovered": False,
                }
            )
            peer.publish(9, 10, epoch="f")
            await peer.gone()

        async with server(forgetful) as url, quick(url, events=True) as feed:
            seen = [await feed.receive(3) for _ in range(7)]
        assert [type(item) for item in seen] == [
            Connected, Broadcast, Disconnected, Connected, NotRecovered, Broadcast, Broadcast
        ]  # fmt: skip


class TestSlowPrograms:
    """Memory is bounded, and nothing is thrown away."""

    async def test_a_program_that_does_not_read_holds_the_server_back(self) -> None:
        """The queue stays bounded, the socket is not read, and nothing is lost."""
        count = 20_000
        blocked = asyncio.Event()
        sent = 0

        async def floods(peer: Peer) -> None:
            nonlocal sent
            await peer.accept()
            await peer.confirm()
            for seq in range(1, count + 1):
                peer.send(
                    {"type": "broadcast", "epoch": "e", "seq": seq, "timestamp": "x", "filler": "x" * 1000}
                )
                sent = seq
                if peer.writer.transport.get_write_buffer_size() > 1 << 16:
                    blocked.set()
                    await peer.writer.drain()
            await peer.gone()

        async with server(floods) as url, quick(url, queue_size=100, heartbeat_timeout=0.5) as feed:
            async with asyncio.timeout(10):
                await blocked.wait()
            held = sent
            await asyncio.sleep(0.6)  # longer than the heartbeat's time: a slow program is no dead server
            assert sent - held < count / 2
            assert feed.connected
            assert [(await feed.receive(5)).seq for _ in range(count)] == list(range(1, count + 1))


def _error(code: str, request_id: int) -> dict[str, Any]:
    return {"type": "error", "code": code, "message": "in words", "temporary": False, "id": request_id}


class _Ceiling(random.Random):
    """Always the largest of the range."""

    def uniform(self, a: float, b: float) -> float:
        return b
