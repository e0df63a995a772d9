"""WebSocket Test Suite V2: what anybody who builds on the feed may rely on, one promise a test.

Run it against a running server, or without one (it then starts its own, with its own Redis)::

    python -m pytest omega_ai/tests/unit/data/websocket/test_websocket_v2.py -v

``TEST_SERVER_URL``, ``TEST_SERVER_SSL_URL``, ``SSL_CERT_PATH`` and the rest of the configuration stand in
``docs/seed-suite.md``. The client is the ``websockets`` library, and a bare socket for what no library would
do; time-outs and coming back are asked of ``omega_ai.client``. A failed test shows the frames exchanged.
"""

from __future__ import annotations

import asyncio
import ssl
import time
import warnings
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import pytest
import websockets

from omega_ai.client import (
    Broadcast,
    Connected,
    ConnectTimeout,
    Disconnected,
    Recovered,
    ServerUnavailable,
    TlsError,
)
from omega_ai.client import connect as feed
from omega_ai.core.client_tls import client_context
from omega_ai.testkit.assertions import assert_delivered, assert_same_order
from omega_ai.testkit.context import Context
from omega_ai.tests.certificates import Authority
from omega_ai.tests.feed_server import FeedProcess
from omega_ai.tests.unit.data.websocket import faulty_peers, wrong_input
from omega_ai.tests.unit.data.websocket.conftest import Connect, ConnectRaw, Report
from omega_ai.tests.unit.data.websocket.leaks import nothing_leaks
from omega_ai.tests.unit.data.websocket.load import percentiles, send_on_schedule, without_our_own_pauses
from omega_ai.tests.unit.data.websocket.recording import Json, Recording
from omega_ai.tests.unit.data.websocket.suite_configuration import Configuration
from omega_ai.tests.unit.data.websocket.target_server import SUBPROTOCOL, Target
from omega_ai.tests.unit.data.websocket.times import is_wire_time, limited_in_time, utc_now, wire_time
from omega_ai.tests.unit.data.websocket.witness import Witness

T = TypeVar("T")


@limited_in_time
class TestWebSocketV2:
    """See the module's text."""

    async def test_basic_connection(self, connect: Connect, configuration: Configuration) -> None:
        """A test message comes back to its sender as it was sent, with the time at which it was received."""
        client = await connect("client")
        assert client.connection.subprotocol == SUBPROTOCOL

        message = {
            "type": "test",
            "id": 7,
            "text": '₿ "quoted" \\ \n',
            "price": 61800.01,
            "nested": {"a": [1, None]},
        }
        before = utc_now()
        await client.send(message)
        answer = await client.receive()
        after = utc_now()

        received_at = answer.pop("received_at")
        assert answer == {**message, "price": Decimal("61800.01")}, "the sender's fields, and no others"
        assert is_wire_time(received_at), "ISO 8601 in UTC with microseconds and Z"
        allowance = timedelta(seconds=configuration.clock_allowance)
        assert before - allowance <= datetime.fromisoformat(received_at) <= after + allowance

        await client.close()
        assert client.connection.close_code == 1000

    async def test_connection_timeout(
        self, target: Target, connect: Connect, connect_raw: ConnectRaw, configuration: Configuration
    ) -> None:
        """Who does not answer is given up in the time set; the error says so, and nothing is left behind."""
        async with nothing_leaks():
            # A socket that accepts, and never answers the handshake.
            async with faulty_peers.tcp_server(faulty_peers.swallow) as port:
                with pytest.raises(ConnectTimeout, match=r"handshake was not answered within 0\.3 s"):
                    await _connect_within(0.3, f"ws://127.0.0.1:{port}")
            # A server that shakes hands, and then is silent.
            async with faulty_peers.silent_websocket() as port:
                with pytest.raises(Exception, match=r"'subscribe' was not answered within 0\.3 s"):
                    await _connect_within(0.3, f"ws://127.0.0.1:{port}")
            # Nobody there: refused at once, not after a time-out.
            with pytest.raises(
                ServerUnavailable, match=rf"connection refused: nothing listens .* port {port}"
            ):
                await _connect_within(0.3, f"ws://127.0.0.1:{port}")

        # The server gives up a client that does not finish its handshake, and others never notice.
        bystander = await connect("bystander")
        address = urlsplit(target.url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        start = time.monotonic()
        try:
            async with asyncio.timeout(target.handshake_seconds + configuration.timeout):
                head = await reader.read()
        finally:
            writer.transport.abort()
        assert head.startswith(b"HTTP/1.1 408 "), "it says why"
        if target.ours:  # how long another one waits is its own setting
            assert time.monotonic() - start >= target.handshake_seconds * 0.9, "not before its time"
        assert (await bystander.ask({"type": "ping", "id": 1}))["type"] == "pong"

    async def test_message_validation(self, target: Target, connect: Connect) -> None:
        """What is wrong with a message is told in an error that names it, and the connection stays in use."""
        # Who may not publish is told that, before anybody looks at the price.
        cases = [wrong for wrong in wrong_input.MESSAGES if target.may_publish or not wrong.after_permission]
        for number, wrong in enumerate(cases):
            if number % 10 == 0:  # twenty errors within ten seconds would close the connection
                client = await connect(f"client {number // 10}")
            await client.send(wrong.text)
            error = await client.receive()
            _check_error(error, wrong)

            valid = await client.ask({"type": "test", "id": f"after {number}"})
            assert valid["type"] == "test", f"after {wrong.text[:80]!r} the connection no longer works"

    @pytest.mark.usefixtures("may_publish")
    async def test_btc_price_update(self, connect: Connect, configuration: Configuration) -> None:
        """A price reaches every subscriber with its exact digits, in order, and nobody who unsubscribed."""
        publisher = await connect("publisher", channels="btc_price")
        by_default = await connect("subscriber by default", channels=None)
        by_message = await connect("subscriber by message")
        subscribed = await by_message.ask({"type": "subscribe", "id": 1, "channels": ["btc_price"]})
        assert subscribed["type"] == "subscribed"
        unsubscribed = await connect("unsubscribed", channels="btc_price")
        answer = await unsubscribed.ask({"type": "unsubscribe", "id": 1, "channels": ["btc_price"]})
        assert answer == {"type": "unsubscribed", "id": 1, "channels": ["btc_price"]}

        before = utc_now()
        sent_at = wire_time(before - timedelta(seconds=1))
        prices = ["61800.010", "61800.02", "0.00000001", "1e5"]
        for price in prices:
            await publisher.send(
                f'{{"type":"btc_price","price":{price},"volume":12.50,"timestamp":"{sent_at}"}}'
            )

        seen = []
        for client in (publisher, by_default, by_message):
            messages = [
                await client.receive_where(lambda m: m.get("source_timestamp") == sent_at) for _ in prices
            ]
            seen.append(messages)
        after = utc_now()
        assert seen[0] == seen[1] == seen[2], "every subscriber gets the same, the sender included"

        allowance = timedelta(seconds=configuration.clock_allowance)
        for price, message in zip(prices, seen[0], strict=True):
            assert message["type"] == "btc_price"
            assert message["symbol"] == "BTC-USD"
            assert Decimal(message["price"]) == Decimal(price)
            assert message["volume"] == Decimal("12.50")
            assert (message["bid"], message["ask"], message["state"]) == (None, None, "degraded")
            assert message["sources"] == {"client": {"used": True, "price": message["price"]}}
            assert is_wire_time(message["timestamp"])
            assert before - allowance <= datetime.fromisoformat(message["timestamp"]) <= after + allowance
        assert str(seen[0][0]["price"]) == "61800.010", "no digit is lost or added"

        assert len({message["epoch"] for message in seen[0]}) == 1
        first = seen[0][0]["seq"]
        assert subscribed["epoch"] == seen[0][0]["epoch"]
        assert first > subscribed["seq"], "live messages come after the position of the subscription"
        if subscribed["seq"] + 1 == first:  # nobody else published meanwhile
            assert [message["seq"] for message in seen[0]] == list(range(first, first + len(prices)))

        assert await unsubscribed.received_until_pong() == [], "nothing for those who unsubscribed"

    async def test_error_handling(
        self, connect: Connect, connect_raw: ConnectRaw, configuration: Configuration
    ) -> None:
        """What breaks the protocol closes its connection, with the code of RFC 6455; others never notice."""
        bystander = await connect("bystander", channels="broadcast")

        at_limit = await connect("message of the largest size")
        filler = "x" * (configuration.max_message_size - len('{"type":"test","id":1,"filler":""}'))
        await at_limit.send(f'{{"type":"test","id":1,"filler":"{filler}"}}')
        assert (await at_limit.receive())["filler"] == filler

        too_big = await connect("message one byte too big")
        await too_big.send(f'{{"type":"test","id":1,"filler":"{filler}x"}}')
        code, reason = await too_big.closed_with()
        assert (code, bool(reason)) == (1009, True)

        for wrong in wrong_input.FRAMES:
            raw = await connect_raw(wrong.name)
            for data in wrong.data:
                raw.send(data)
            closed = await raw.closed_with()
            assert closed.code == wrong.close_code, f"{wrong.name}: {closed}"
            assert closed.reason, f"{wrong.name}: closed without a reason in words"

        stubborn = await connect("twenty errors")
        for _ in range(20):
            await stubborn.send("not JSON")
        assert (await stubborn.closed_with())[0] == 1008

        pong = await bystander.ask({"type": "ping", "id": "still there"})
        assert pong["type"] == "pong"
        assert bystander.connection.state is websockets.State.OPEN

    @pytest.mark.usefixtures("may_publish")
    async def test_multiple_client_broadcast(
        self, connect: Connect, configuration: Configuration, ws_context: Context
    ) -> None:
        """Every listener, the senders included, gets every broadcast: the same content in the same order."""

        async def listener(name: str) -> Witness:
            return Witness(await connect(name, channels="broadcast"), name, ws_context)

        names = [f"listener {number}" for number in range(configuration.listeners)]
        listeners = await asyncio.gather(*map(listener, names))
        senders = listeners[:2]
        for _ in range(10):
            for sender in senders:
                await sender.publish()
        heard = await asyncio.gather(*(one.hear(20) for one in listeners))
        rest = await asyncio.gather(*(one.hear_the_rest() for one in listeners))

        # Each is stamped with its sender, its number and a checksum: nothing is lost, doubled, out of its
        # sender's order, changed, or of unknown origin; and what one number is to one, it is to all.
        assert_delivered(ws_context, grace_s=0.0)
        assert_same_order(ws_context)
        assert not any(rest), "twenty were sent, and no more come"
        assert all(messages == heard[0] for messages in heard), "content and order are the same for all"
        positions = [message["seq"] for message in heard[0]]
        assert positions == sorted(set(positions)), "seq rises"
        assert len({message["epoch"] for message in heard[0]}) == 1

    async def test_load(self, connect: Connect, configuration: Configuration, report: Report) -> None:
        """Many clients at once send many messages on a schedule: every one is answered, once, in order."""
        clients = await asyncio.gather(
            *(connect(f"client {number}") for number in range(configuration.load_clients))
        )
        count, rate = configuration.load_messages, configuration.load_rate
        step = 1 / rate / len(clients)  # so that the clients take turns, and do not all send at one moment
        with without_our_own_pauses():
            start = time.monotonic() + 0.1
            runs = await asyncio.gather(
                *(send_on_schedule(client, count, rate, start + n * step) for n, client in enumerate(clients))
            )

        for answered, _ in runs:
            assert answered == list(range(count)), "every message is answered, once, in its order"
        latencies = [latency for _, of_client in runs for latency in of_client]
        assert len(latencies) == count * len(clients)
        p50, p99, worst = percentiles(latencies, 50, 99, 100)
        report(
            f"load: {len(clients)} clients x {count} messages at {rate * len(clients):g}/s, all answered; "
            f"latency from the intended time: p50 {p50 * 1e3:.2f} ms, p99 {p99 * 1e3:.2f} ms, "
            f"max {worst * 1e3:.2f} ms"
        )
        assert worst <= configuration.timeout

    async def test_ssl_connection(self, target: Target, connect: Connect, tmp_path: Path) -> None:
        """Over TLS 1.2 or later, with a certificate that is verified, everything is as it is in plain."""
        secure = await connect("secure", url=target.tls_url, tls=target.tls())
        plain = await connect("plain")

        tls = secure.connection.transport.get_extra_info("ssl_object")
        assert tls.version() in ("TLSv1.2", "TLSv1.3")
        certificate = tls.getpeercert()
        host = urlsplit(target.tls_url).hostname
        assert ("DNS", host) in certificate["subjectAltName"] or ("IP Address", host) in certificate[
            "subjectAltName"
        ]
        now = time.time()
        assert ssl.cert_time_to_seconds(certificate["notBefore"]) <= now
        assert now <= ssl.cert_time_to_seconds(certificate["notAfter"])

        # The encrypted exchange is the plain one.
        for text in (
            '{"type":"test","id":1,"x":"₿"}',
            '{"type":"subscribe","id":2,"channels":["heartbeat"]}',
            "{}",
        ):
            answers = []
            for client in (plain, secure):
                await client.send(text)
                answers.append(await client.receive_where(lambda message: message["type"] != "heartbeat"))
            for answer in answers:
                for name in ("received_at", "timestamp", "correlation"):
                    answer.pop(name, None)
            assert answers[0] == answers[1]

        if target.may_publish:
            for client in (plain, secure):
                await client.ask({"type": "subscribe", "id": 3, "channels": ["broadcast"]})
            mine = f"{time.time_ns()}"
            await plain.send({"type": "broadcast", "timestamp": wire_time(utc_now()), "run": mine, "x": "₿"})
            heard = [await client.receive_where(lambda m: m.get("run") == mine) for client in (plain, secure)]
            assert heard[0] == heard[1]

        # The server speaks nothing older: the same client is let in as soon as it offers TLS 1.2.
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await connect("TLS 1.1", url=target.tls_url, tls=_old_tls(target, ssl.TLSVersion.TLSv1_1))
        at_least = await connect("TLS 1.2", url=target.tls_url, tls=_old_tls(target, ssl.TLSVersion.TLSv1_2))
        assert at_least.connection.transport.get_extra_info("ssl_object").version() == "TLSv1.2"

        # A client refuses what it must: another authority's certificate, another name's, an expired one.
        authority, stranger = Authority("right"), Authority("unknown")
        trusted = client_context(authority.write(tmp_path))
        wrong = {
            "signed by an authority that is not trusted": stranger.issue(),
            "the certificate is not for localhost": authority.issue_wrong_name(),
            "has expired": authority.issue_expired(),
        }
        for number, (reason, issued) in enumerate(wrong.items()):
            server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            server_tls.load_cert_chain(*issued.write(tmp_path, f"wrong{number}"))
            async with faulty_peers.silent_websocket(server_tls) as port:
                with pytest.raises(ssl.SSLCertVerificationError):
                    await connect(reason, url=f"wss://localhost:{port}", tls=trusted)
                with pytest.raises(TlsError, match=reason):
                    await feed(f"wss://localhost:{port}", tls=trusted).start()

    @pytest.mark.usefixtures("may_publish")
    async def test_reconnection(
        self,
        target: Target,
        configuration: Configuration,
        recordings: list[Recording],
        tmp_path: Path,
    ) -> None:
        """Dropped with or without a close frame, the client is back, subscribed, and has missed nothing."""
        if target.ours:
            options = ["--source", "none", "--tls-port", "off", "--http-port", "off"]
            options += ["--broker", f"embedded:{tmp_path / 'valkey'}", "--close-timeout", "1"]
            async with nothing_leaks():
                with FeedProcess(tmp_path, *options, "--port", "0") as server:
                    port = str(urlsplit(server.at.ws).port)

                    def restart() -> None:
                        server.stop()
                        server.start_with(*options, "--port", port)

                    await _drop_and_return(server.at.ws, configuration, recordings, restart)
        else:
            async with nothing_leaks():
                await _drop_and_return(target.url, configuration, recordings, None, token=target.token)


async def _connect_within(seconds: float, url: str) -> None:
    """Connect with ``omega_ai.client``; whatever comes of it, it must not take much longer than allowed."""
    async with asyncio.timeout(seconds + 1.5):
        await feed(url, open_timeout=seconds, close_timeout=0.3).start()


def _check_error(error: Json, wrong: wrong_input.WrongMessage) -> None:
    """Every field of an ``error`` message is as the contract has it, and there is no other."""
    assert error["type"] == "error", wrong.text[:80]
    assert error["code"] == wrong.code, wrong.text[:80]
    assert error.get("field") == wrong.field, wrong.text[:80]
    assert error.get("id") == wrong.request_id, wrong.text[:80]
    assert error["temporary"] is False
    assert isinstance(error["message"], str)
    assert error["message"], "it says in words what is wrong"
    assert is_wire_time(error["timestamp"])
    optional = {
        name for name in ("field", "id") if getattr(wrong, {"id": "request_id"}.get(name, name)) is not None
    }
    assert set(error) - {"correlation"} == {"type", "code", "message", "temporary", "timestamp"} | optional


def _old_tls(target: Target, newest: ssl.TLSVersion) -> ssl.SSLContext:
    """A client that offers TLS from 1.0, which today's defaults would not even try, to ``newest``."""
    context = target.tls()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it is out of date: that is the point
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = newest
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context


async def _drop_and_return(
    url: str,
    configuration: Configuration,
    recordings: list[Recording],
    restart: Callable[[], None] | None,
    token: str | None = None,
) -> None:
    """Publish, drop the connection in every way there is, and account for every message and event."""
    recording = Recording(f"omega_ai.client at {url}")
    recordings.append(recording)
    proxy = faulty_peers.CuttingProxy(url)
    connecting = partial(feed, first_delay=0.05, longest_delay=0.2, close_timeout=1.0, token=token)
    mine = f"{time.time_ns()}"
    async with (
        proxy.running() as through,
        connecting(through, channels=["broadcast"], events=True) as client,
    ):

        async def publish(number: int) -> None:
            async with connecting(url, channels=[]) as other:
                await other.broadcast({"run": mine, "number": number})

        async def next_event(kind: type[T]) -> T:
            item = await client.receive(configuration.timeout * 2)
            recording.note("<", repr(item))
            assert isinstance(item, kind), f"{kind.__name__} was expected, not {item!r}"
            return item

        async def expect(number: int) -> Broadcast:
            message = await next_event(Broadcast)
            assert (message.fields["run"], message.fields["number"]) == (mine, number)
            return message

        assert (await next_event(Connected)).first
        await publish(1)
        first = await expect(1)

        recording.note("*", "the connection is cut, without a close frame")
        proxy.cut()
        assert (await next_event(Disconnected)).code == 1006
        await publish(2)  # while it is away
        assert not (await next_event(Connected)).first
        assert (await next_event(Recovered)).since == (first.epoch, first.seq)
        second = await expect(2)
        assert (second.epoch, second.seq) == (first.epoch, first.seq + 1)

        if restart is not None:
            recording.note("*", "the server is stopped, which closes with 1001, and started again")
            await asyncio.to_thread(restart)
            assert (await next_event(Disconnected)).code == 1001
            while isinstance(item := await client.receive(configuration.timeout * 2), Disconnected):
                recording.note("<", repr(item))  # as often as it was not there yet
            assert isinstance(item, Connected)
            assert (await next_event(Recovered)).since == (second.epoch, second.seq)

        await publish(3)
        third = await expect(3)
        assert (third.epoch, third.seq) == (first.epoch, first.seq + 2), (
            "subscribed again, and nothing came twice"
        )
        await publish(4)
        assert (await expect(4)).seq == first.seq + 3
