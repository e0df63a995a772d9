"""The virtual network: what TCP promises holds on it, and what breaks breaks as told."""

from __future__ import annotations

import asyncio
import ssl
import time

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

from omega_ai.testkit.simnet import Deadlock, Simulation, Stuck, simulate
from omega_ai.testkit.simnet import loop as loop_module
from omega_ai.testkit.simnet.pipe import GIVE_UP_S
from omega_ai.testkit.simnet.proxy import SimProxy
from omega_ai.testkit.zoo.certificates import Authority

PORT = 9000


async def echo_server(sim, **named):
    """A server of asyncio's streams, in a process of its own."""

    async def serve_one(reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    process = sim.process("server")

    async def run():
        await asyncio.start_server(serve_one, "127.0.0.1", PORT, **named)

    await process.run(run())
    return process


def test_hours_pass_in_no_time_and_time_is_exact():
    async def scene(sim: Simulation) -> float:
        await asyncio.sleep(24 * 3600)
        return sim.elapsed_s

    began = time.monotonic()
    assert simulate(scene, seed=1) == pytest.approx(86400.0, abs=1e-6)
    assert time.monotonic() - began < 5.0


def test_what_nobody_will_ever_do_is_a_deadlock():
    async def scene(sim: Simulation) -> None:
        await sim.loop.create_future()

    with pytest.raises(Deadlock):
        simulate(scene, seed=1)


def test_going_round_in_circles_is_noticed(monkeypatch):
    monkeypatch.setattr(loop_module, "TURNS", 1000)

    async def scene(sim: Simulation) -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(Stuck):
        simulate(scene, seed=1)


def test_bytes_arrive_whole_in_order_and_late_by_the_latency():
    async def scene(sim: Simulation) -> tuple[bool, float]:
        await echo_server(sim)
        link = sim.network.link("127.0.0.1", PORT)
        link.latency_s, link.jitter_s = 0.25, 0.1
        reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
        began = sim.elapsed_s
        text = b"".join(b"%d;" % n for n in range(200_000))  # several windows
        writer.write(text)
        got = await reader.readexactly(len(text))
        writer.close()
        return got == text, sim.elapsed_s - began

    same, seconds = simulate(scene, seed=1)
    assert same
    assert 0.5 <= seconds < 5.0


def test_a_narrow_link_carries_no_more_than_it_can():
    async def scene(sim: Simulation) -> float:
        await echo_server(sim)
        sim.network.link("127.0.0.1", PORT).bandwidth = 10_000.0
        reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
        began = sim.elapsed_s
        writer.write(b"x" * 100_000)
        await reader.readexactly(100_000)
        writer.close()
        return sim.elapsed_s - began

    # Both ways, as one echoes while the other still sends: ten seconds, and the last piece once more.
    assert 10.0 <= simulate(scene, seed=1) <= 20.1


def test_a_silent_link_says_nothing_and_gives_all_once_it_is_mended():
    async def scene(sim: Simulation) -> tuple[float, bytes]:
        await echo_server(sim)
        link = sim.network.link("127.0.0.1", PORT)
        reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
        link.silent = True
        writer.write(b"a")
        writer.write(b"b")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await reader.read(1)
        link.silent = False
        sim.network.heal("127.0.0.1", PORT)
        got = await reader.readexactly(2)
        link.silent = True
        writer.write(b"c")
        with pytest.raises(TimeoutError):  # the kernel's, after a quarter of an hour
            await reader.read(1)
        return sim.elapsed_s, got

    seconds, got = simulate(scene, seed=1)
    assert got == b"ab"
    assert seconds == pytest.approx(60 + GIVE_UP_S, abs=2.0)


def test_a_killed_process_resets_a_paused_one_waits_and_a_dead_host_says_nothing():
    async def scene(sim: Simulation) -> None:
        server = await echo_server(sim)
        reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
        server.pause()
        writer.write(b"a")
        sim.loop.call_later(100.0, server.resume)
        assert await reader.readexactly(1) == b"a"
        assert sim.elapsed_s > 100.0
        server.kill()
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", PORT)
        again = await echo_server(sim)
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
        again.power_off()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(100):
                await reader.read(1)
        assert not server.alive
        assert not again.alive

    simulate(scene, seed=1)


def test_a_reader_that_does_not_read_holds_the_writer_back():
    async def scene(sim: Simulation) -> int:
        await echo_server(sim)
        _, writer = await asyncio.open_connection("127.0.0.1", PORT, limit=1024)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        sent = 0

        async def fill() -> None:
            nonlocal sent
            while True:
                writer.write(b"x" * 10_000)
                sent += 10_000
                await writer.drain()

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(fill(), 10)
        writer.transport.abort()
        return sent

    assert simulate(scene, seed=1) < 2_000_000


def test_libraries_of_others_run_on_it_over_tls_too(tmp_path):
    authority = Authority(tmp_path)

    async def scene(sim: Simulation) -> str:
        async def echo(connection):
            async for message in connection:
                await connection.send(message)

        async def run():
            await serve(echo, "127.0.0.1", PORT, ssl=authority.context())

        await sim.process("server").run(run())
        tls = ssl.create_default_context(cafile=str(authority.ca))
        async with connect(f"wss://localhost:{PORT}/", ssl=tls, proxy=None) as client:
            await client.send("hello")
            return str(await client.recv())

    assert simulate(scene, seed=1) == "hello"


def test_the_proxys_faults_work_in_virtual_time():
    async def scene(sim: Simulation) -> None:
        await echo_server(sim)
        async with SimProxy(sim.network, f"ws://127.0.0.1:{PORT}/", seed=3) as proxy:
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            late = proxy.add("latency", latency=2000)
            began = sim.elapsed_s
            writer.write(b"a")
            assert await reader.readexactly(1) == b"a"
            assert sim.elapsed_s - began == pytest.approx(2.0, abs=0.01)
            proxy.remove(late)
            proxy.add("blackhole")
            writer.write(b"b")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(60):
                    await reader.read(1)
            proxy.clear()
            assert await reader.readexactly(1) == b"b"
            proxy.add("half_open")
            writer.write(b"c")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(60):
                    await reader.read(1)
            proxy.clear()
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            assert proxy.reset_connections() >= 1
            with pytest.raises(ConnectionResetError):
                await reader.read(1)
            proxy.add("refuse")
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", proxy.port)
            writer.close()

    simulate(scene, seed=1)
