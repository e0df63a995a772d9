"""Everything at once: connections of all kinds, while toxics of all kinds come and go.

Seeded; ``python -m omega_ai.tests.integration.testkit.proxy.test_storm SECONDS SEED`` goes on for longer.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import uvloop

from omega_ai.core.client_tls import client_context
from omega_ai.testkit.faults import FAULTS, toxiproxy_knows
from omega_ai.testkit.faults.model import STREAMS, Window
from omega_ai.testkit.proxy import FaultProxy, ProxyTls
from omega_ai.tests.integration.testkit.proxy.peers import connected, echo, serving, until

SMALL: dict[str, dict[str, Any]] = {
    "latency": {"latency": 5, "jitter": 5},
    "bandwidth": {"rate": 5000},
    "slow_close": {"delay": 10},
    "timeout": {"timeout": 20},
    "reset_peer": {"timeout": 5},
    "slicer": {"average_size": 3000, "size_variation": 1000, "delay": 100},
    "limit_data": {"bytes": 50_000},
    "stall": {"loss": 0.02, "rto": 10, "rtt": 5},
    "half_open": {"after": 5, "answer": "reset"},
    "blackhole": {"after": 5},
    "slow_accept": {"delay": 10},
    "corrupt": {"probability": 0.0001},
}
KINDS = [kind for kind in FAULTS if kind in SMALL or not toxiproxy_knows(kind)]


async def talk(proxy: FaultProxy, rng: random.Random) -> None:
    """One connection: some bytes out, some back, and an end of one kind or another."""
    tls = client_context(proxy.ca, verify=False) if proxy.ca is not None else None
    with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, EOFError):
        async with asyncio.timeout(0.4), connected(proxy.port, tls=tls) as client:
            size = rng.choice([1, 500, 70_000, 400_000, 8_000_000])
            client.send(rng.randbytes(size))
            if size == 8_000_000:  # more than all buffers hold: somewhere on the way it waits
                await asyncio.sleep(0.05)
            await client.read(rng.randint(1, min(size, 400_000)))
            ending = rng.choice(["close", "reset", "end"])
            if ending == "reset":
                client.reset()
            elif ending == "end" and tls is None:
                client.end()
                await client.read_to_end()


async def disturb(proxy: FaultProxy, rng: random.Random, until_when: float) -> None:
    """Place, change and remove toxics, disable and enable, reset."""
    while time.monotonic() < until_when:
        action = rng.random()
        if action < 0.6 and len(proxy.toxics) < 6:
            kind, stream = rng.choice(KINDS), rng.choice(STREAMS)
            if proxy.get(f"{kind}_{stream}") is None:
                window = Window(start=0.0, duration=0.02, every=0.05) if rng.random() < 0.3 else None
                toxicity = rng.choice([0.3, 1.0])
                proxy.add(kind, stream=stream, toxicity=toxicity, window=window, **SMALL.get(kind, {}))
        elif action < 0.9 and proxy.toxics:
            proxy.remove(rng.choice(proxy.toxics))
        elif action < 0.93:
            proxy.reset_connections()
        elif action < 0.96:
            await proxy.disable()
            await proxy.enable()
        else:
            proxy.clear()
        await asyncio.sleep(0.005)


async def storm(seconds: float, seed: int, *, tls: bool) -> int:
    """How many connections there were. Nothing is left, and nothing went wrong where nobody looks."""
    rng = random.Random(seed)
    wrong: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: wrong.append(context))
    async with serving(echo) as server:
        before = descriptors()
        settings = ProxyTls() if tls else None
        async with FaultProxy(server.address, seed=seed, tls=settings) as proxy:
            end = time.monotonic() + seconds
            disturbing = asyncio.create_task(disturb(proxy, rng, end))

            async def keep_talking(number: int) -> None:
                mine = random.Random(seed * 1000 + number)
                while time.monotonic() < end:
                    await talk(proxy, mine)
                    await asyncio.sleep(0.001)

            await asyncio.gather(disturbing, *map(keep_talking, range(8)))
            proxy.clear()
            await proxy.enable()
            async with connected(proxy.port, tls=client_context(proxy.ca) if tls else None) as client:
                client.send(b"and now all is well again")
                assert await client.read(25) == b"and now all is well again"
            accepted = proxy.accepted
        assert proxy.connections == 0
        for peer in server.peers:
            peer.close()
        await until(lambda: descriptors() <= before + 1)
    assert not wrong, wrong[:3]
    return accepted


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_in_a_storm_nothing_breaks_and_nothing_is_left(tls):
    assert await storm(1.5, 20, tls=tls) > 5


if __name__ == "__main__":
    length, first = float(sys.argv[1]), int(sys.argv[2])
    for turn in range(max(int(length / 3), 1)):
        for secure in (False, True):
            count = uvloop.run(storm(1.5, first + turn, tls=secure))
            print(f"seed {first + turn}, {'TLS' if secure else 'plain'}: {count} connections")
