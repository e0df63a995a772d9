"""The proxy between real sockets: what passes, how connections end, and what faults do to both."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import socket
import time

import msgspec
import pytest

from omega_ai.testkit.faults.model import Window
from omega_ai.testkit.proxy import FaultProxy
from omega_ai.tests.integration.testkit.proxy.peers import connected, echo, serving, until


@contextlib.asynccontextmanager
async def between(handle=echo, **options):
    async with serving(handle) as server, FaultProxy(server.address, **options) as proxy:
        yield server, proxy


@contextlib.asynccontextmanager
async def pair(proxy, server):
    """A client and the server's end of its connection."""
    async with connected(proxy.port) as client:
        yield client, await server.accept()


class TestWithoutFaults:
    """Bytes and ends pass as they are."""

    @pytest.mark.parametrize("size", [1, 1000, 65_536, 70_000, 5_000_000])
    async def test_what_is_sent_comes_back(self, size):
        data = random.Random(size).randbytes(size)
        async with between() as (_, proxy), connected(proxy.port) as client:
            client.send(data)
            assert await client.read(size) == data
            client.end()
            assert await client.read_to_end() == (b"", "end")
            await until(lambda: proxy.connections == 0)
            assert proxy.volume == {"upstream": (size, size), "downstream": (size, size)}

    async def test_a_half_that_ended_leaves_the_other_open(self):
        async with between(None) as (server, proxy), pair(proxy, server) as (client, there):
            client.send(b"question")
            client.end()
            assert await there.read_to_end() == (b"question", "end")
            there.send(b"late answer")
            there.end()
            assert await client.read_to_end() == (b"late answer", "end")

    @pytest.mark.parametrize("who", ["client", "server"])
    async def test_a_reset_is_passed_on(self, who):
        async with between(None) as (server, proxy), pair(proxy, server) as (client, there):
            one, other = (client, there) if who == "client" else (there, client)
            client.send(b"x")
            await there.read(1)
            one.reset()
            assert await other.read_to_end() == (b"", "reset")
            await until(lambda: proxy.connections == 0)

    async def test_who_does_not_read_stops_the_sender_and_takes_no_memory(self):
        async with between(None) as (server, proxy), pair(proxy, server) as (client, there):
            there.writer.transport.pause_reading()
            client.writer.transport.set_write_buffer_limits(high=0)
            sent = 0
            chunk = bytes(1 << 20)
            with contextlib.suppress(TimeoutError):
                while True:
                    client.send(chunk)
                    sent += len(chunk)
                    async with asyncio.timeout(0.5):
                        await client.writer.drain()
            held = proxy.volume["upstream"].received
            connection = next(iter(proxy._connections.values()))
            assert connection.flows["upstream"].sink.pending <= 2 << 20
            assert held < 64 << 20, "it stops when the kernel's buffers are full"
            there.writer.transport.resume_reading()
            total = 0
            while total < sent:
                total += len(await there.read(min(1 << 20, sent - total)))

    async def test_a_server_that_is_not_there_ends_the_client_s_connection(self):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            async with FaultProxy(f"127.0.0.1:{unused.getsockname()[1]}") as proxy:
                async with connected(proxy.port) as client:
                    assert (await client.read_to_end())[0] == b""
                assert "server not reached" in [event.what for event in proxy.events]

    async def test_two_hundred_connections_at_once_do_not_mix(self):
        async with between() as (_, proxy):

            async def talk(number: int) -> bool:
                data = random.Random(number).randbytes(20_000)
                async with connected(proxy.port) as client:
                    client.send(data)
                    return await client.read(len(data)) == data

            assert all(await asyncio.gather(*map(talk, range(200))))
            assert proxy.accepted == 200
            await until(lambda: proxy.connections == 0)

    async def test_more_than_so_many_wait_until_one_has_ended(self, monkeypatch):
        monkeypatch.setattr("omega_ai.testkit.proxy.service.MAX_CONNECTIONS", 2)
        async with (
            between(None) as (server, proxy),
            pair(proxy, server) as (first, _),
            pair(proxy, server),
            connected(proxy.port) as waiting,
        ):
            waiting.send(b"x")
            await asyncio.sleep(0.05)
            assert proxy.accepted == 2
            first.reset()
            there = await server.accept()
            assert await there.read(1) == b"x"

    async def test_without_a_pipe_bytes_are_copied(self, monkeypatch):
        """Descriptors may have run out, and not every system has splice()."""

        def none_left(self):
            raise OSError(24, "Too many open files")

        monkeypatch.setattr("omega_ai.testkit.proxy.pipes.Pipes.borrow", none_left)
        data = random.Random(1).randbytes(3_000_000)
        async with between() as (_, proxy), connected(proxy.port) as client:
            client.send(data)
            assert await client.read(len(data)) == data

    async def test_what_waits_for_one_reader_is_not_overwritten_by_what_others_send(self, monkeypatch):
        monkeypatch.setattr("omega_ai.testkit.proxy.flow.SPLICE", False)
        async with (
            between(None) as (server, proxy),
            pair(proxy, server) as (slow, slow_there),
            pair(proxy, server) as (other, other_there),
        ):
            slow_there.writer.transport.pause_reading()
            chunk = bytes(range(251)) * 261  # no power of two, so that no other piece looks like it
            sent = 0
            connection = next(iter(proxy._connections.values()))
            while not connection.flows["upstream"].sink.pending:
                slow.send(chunk)
                sent += 1
                assert sent < 1000
                await asyncio.sleep(0.001)
            other.send(b"!" * 65_536)
            assert await other_there.read(65_536) == b"!" * 65_536
            slow_there.writer.transport.resume_reading()
            for _ in range(sent):
                assert await slow_there.read(len(chunk)) == chunk

    async def test_disabled_it_refuses_and_open_connections_are_closed(self):
        async with between(None) as (server, proxy), pair(proxy, server) as (client, there):
            port = proxy.port
            await proxy.disable()
            assert (await client.read_to_end())[0] == (await there.read_to_end())[0] == b""
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)
            await proxy.enable()
            assert proxy.port == port
            async with pair(proxy, server) as (client, there):
                client.send(b"again")
                assert await there.read(5) == b"again"

    async def test_the_url_is_the_server_s_with_the_proxy_s_address(self):
        async with FaultProxy("ws://127.0.0.1:9/feed?channels=btc_price") as proxy:
            assert proxy.url == f"ws://127.0.0.1:{proxy.port}/feed?channels=btc_price"


class TestFaults:
    """What they do to connections that are real."""

    async def test_latency_delays_and_leaves_no_trace_when_it_is_gone(self):
        async with between() as (_, proxy), connected(proxy.port) as client:
            proxy.add("latency", latency=150)
            begin = time.monotonic()
            client.send(b"a")
            assert await client.read(1) == b"a"
            assert time.monotonic() - begin >= 0.149
            proxy.clear()
            client.send(b"b")
            assert await client.read(1) == b"b"

    async def test_bandwidth_is_what_it_says(self):
        async with between() as (_, proxy), connected(proxy.port) as client:
            proxy.add("bandwidth", rate=200)
            begin = time.monotonic()
            client.send(bytes(100_000))
            await client.read(100_000)
            assert time.monotonic() - begin >= 0.49

    async def test_a_limit_lets_so_many_bytes_pass_and_closes_in_order(self):
        async with between(None) as (server, proxy), pair(proxy, server) as (client, there):
            proxy.add("limit_data", bytes=10)
            there.send(b"0123456789abcdef")
            assert await client.read_to_end() == (b"0123456789", "end")
            assert (await there.read_to_end())[0] == b""

    async def test_bytes_that_nobody_reads_any_more_do_not_spoil_an_orderly_close(self):
        """A socket that is closed with bytes unread is reset, and what is on its way would be lost."""
        async with between(None) as (server, proxy), pair(proxy, server) as (client, there):
            proxy.add("blackhole", stream="upstream", one_way=True)
            client.send(bytes(100_000))
            await until(lambda: proxy.volume["upstream"].received >= 65_536)
            proxy.add("limit_data", bytes=10)
            there.send(b"0123456789abcdef")
            assert await client.read_to_end() == (b"0123456789", "end")

    async def test_a_timeout_swallows_and_closes(self):
        async with between(None) as (server, proxy), pair(proxy, server) as (client, there):
            proxy.add("timeout", timeout=100)
            there.send(b"never seen")
            assert await client.read_to_end() == (b"", "end")

    async def test_a_timeout_of_0_closes_when_it_is_taken_away(self):
        async with between(None) as (server, proxy), pair(proxy, server) as (client, there):
            toxic = proxy.add("timeout")
            there.send(b"never seen")
            await until(lambda: proxy.volume["downstream"].received == 10)
            proxy.remove(toxic)
            assert await client.read_to_end() == (b"", "end")

    async def test_reset_peer_resets_both(self):
        async with between(None) as (server, proxy), pair(proxy, server) as (client, there):
            proxy.add("reset_peer", stream="upstream")
            client.send(b"x")
            assert (await client.read_to_end())[1] == "reset"
            assert (await there.read_to_end())[1] == "reset"

    async def test_slow_close_keeps_a_connection_that_has_ended(self):
        async with between(None) as (server, proxy), pair(proxy, server) as (client, there):
            proxy.add("slow_close", delay=200)
            begin = time.monotonic()
            there.send(b"last words")
            there.end()
            assert await client.read(10) == b"last words"
            assert await client.read_to_end() == (b"", "end")
            assert time.monotonic() - begin >= 0.199

    async def test_a_black_hole_says_nothing_and_gives_all_back_when_it_heals(self):
        async with between(None) as (server, proxy), pair(proxy, server) as (client, there):
            proxy.add("blackhole")
            client.send(b"to the server")
            there.send(b"to the client")
            there.end()
            assert await client.nothing_comes(0.2)
            proxy.clear()
            assert await there.read(13) == b"to the server"
            assert await client.read_to_end() == (b"to the client", "end")

    async def test_a_half_open_connection_leaves_the_client_hanging(self):
        async with between(None) as (server, proxy), pair(proxy, server) as (client, there):
            proxy.add("half_open")
            assert (await there.read_to_end())[1] == "reset"
            client.send(b"is anybody there")
            assert await client.nothing_comes(0.2)
            assert proxy.connections == 1
            client.close()
            await until(lambda: proxy.connections == 0)

    async def test_a_half_open_connection_can_answer_with_a_reset(self):
        async with between(None) as (server, proxy), pair(proxy, server) as (client, there):
            proxy.add("half_open", answer="reset")
            assert (await there.read_to_end())[1] == "reset"
            client.send(b"is anybody there")
            assert (await client.read_to_end())[1] == "reset"
            await until(lambda: proxy.connections == 0)

    @pytest.mark.parametrize(("how", "seen"), [("reset", "reset"), ("close", "end")])
    async def test_refused_connections_never_reach_the_server(self, how, seen):
        async with between(None) as (server, proxy):
            proxy.add("refuse", how=how)
            try:
                async with connected(proxy.port) as client:
                    assert await client.read_to_end() == (b"", seen)
            except ConnectionResetError:
                assert seen == "reset"
            assert not server.peers

    async def test_a_slow_accept_is_late(self):
        async with between() as (_, proxy):
            proxy.add("slow_accept", delay=200)
            begin = time.monotonic()
            async with connected(proxy.port) as client:
                client.send(b"x")
                assert await client.read(1) == b"x"
            assert time.monotonic() - begin >= 0.199

    async def test_a_silent_accept_is_never_answered(self):
        async with between(None) as (server, proxy):
            proxy.add("silent_accept")
            async with connected(proxy.port) as client:
                client.send(b"x")
                assert await client.nothing_comes(0.2)
            await until(lambda: proxy.connections == 0)
            assert not server.peers

    async def test_toxicity_hits_its_share_and_the_same_ones_with_the_same_seed(self):
        hit = []
        for _ in range(2):
            async with between(seed=5) as (_, proxy):
                proxy.add("refuse", toxicity=0.5, how="close")
                ends = []
                for _ in range(20):
                    async with connected(proxy.port) as client:
                        client.send(b"x")
                        client.end()
                        ends.append((await client.read_to_end())[0])
            hit.append(ends)
        assert hit[0] == hit[1]
        assert 3 < hit[0].count(b"x") < 17

    async def test_a_window_ends_by_itself(self):
        async with between() as (_, proxy), connected(proxy.port) as client:
            proxy.add("blackhole", window=Window(start=0.0, duration=0.3))
            proxy.restart_windows()
            client.send(b"x")
            assert await client.read(1) == b"x"
            assert time.monotonic() - proxy.origin >= 0.299

    async def test_an_update_takes_hold_of_open_connections(self):
        async with between() as (_, proxy), connected(proxy.port) as client:
            toxic = proxy.add("bandwidth", rate=0)
            client.send(b"x")
            assert await client.nothing_comes(0.1)
            fault = msgspec.structs.replace(toxic.fault, rate=1000)
            proxy.update(msgspec.structs.replace(toxic, fault=fault))
            assert await client.read(1) == b"x"

    async def test_through_a_row_of_faults_all_bytes_arrive_in_order(self):
        data = random.Random(11).randbytes(300_000)
        async with between(seed=3) as (_, proxy), connected(proxy.port) as client:
            proxy.add("stall", loss=0.01, rto=20, rtt=5)
            proxy.add("slicer", average_size=900, size_variation=500)
            proxy.add("latency", latency=5, jitter=5)
            proxy.add("bandwidth", rate=2000)
            proxy.add("slicer", stream="upstream", average_size=4000, size_variation=100)

            async def send() -> None:
                for position in range(0, len(data), 7001):
                    client.send(data[position : position + 7001])
                    await client.writer.drain()
                client.end()

            _, (came, how) = await asyncio.gather(send(), client.read_to_end())
        assert how == "end"
        assert hashlib.sha256(came).digest() == hashlib.sha256(data).digest()

    async def test_toxics_that_come_and_go_lose_nothing(self):
        data = random.Random(12).randbytes(2_000_000)
        rng = random.Random(13)
        async with between(seed=3) as (_, proxy), connected(proxy.port) as client:

            async def change() -> None:
                for _ in range(30):
                    kind, attributes = rng.choice(
                        [
                            ("latency", {"latency": 5}),
                            ("slicer", {"average_size": 5000}),
                            ("bandwidth", {"rate": 50_000}),
                            ("blackhole", {}),
                        ]
                    )
                    stream = rng.choice(["upstream", "downstream"])
                    if proxy.get(f"{kind}_{stream}") is None:
                        proxy.add(kind, stream=stream, **attributes)
                    else:
                        proxy.remove(f"{kind}_{stream}")
                    await asyncio.sleep(0.005)
                proxy.clear()

            async def send() -> None:
                for position in range(0, len(data), 50_000):
                    client.send(data[position : position + 50_000])
                    await client.writer.drain()

            _, _, came = await asyncio.gather(change(), send(), client.read(len(data)))
        assert came == data
