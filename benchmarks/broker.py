"""How fast the brokers are: publish to subscriber, and publications per second.

    python benchmarks/broker.py                     memory and embedded
    python benchmarks/broker.py redis://localhost   another, by the text of ``omega serve --broker``

Latency is from the call of ``publish`` to that of the subscriber, one message at a time at random moments,
in one process. The rate is of publications given at once and waited for with ``flush``, with one subscriber.
For scale, a bare round trip (``PING``) on the same connection is shown.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time

import uvloop

from omega_ai.core.clock import SystemClock
from omega_ai.data_feed.broker import open_broker
from omega_ai.data_feed.broker.base import Publication

BODY = (
    b'{"type":"btc_price","symbol":"BTC-USD","price":61800.01,"volume":1234.5678,"bid":61800.0,"ask":61800.02,'
    b'"timestamp":"2026-11-23T07:15:00.123456Z","source_timestamp":"2026-11-23T07:15:00.120000Z",'
    b'"sources":{"coinbase":{"price":61800.01,"age_ms":3}},"state":"live"}'
)


def percentile(ordered: list[float], share: float) -> float:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


async def measure(spec: str, samples: int, burst: int) -> str:
    rng = random.Random(1)
    now = time.perf_counter
    broker = open_broker(spec, clock=SystemClock())
    began = now()
    await broker.start()
    start = now() - began
    try:
        arrived = asyncio.Event()
        latencies: list[float] = []
        sent = 0.0
        seen = 0

        def deliver(_: Publication) -> None:
            nonlocal seen
            seen += 1
            if not arrived.is_set():
                latencies.append(now() - sent)
                arrived.set()

        await broker.subscribe(["btc_price"], deliver)
        for _ in range(samples):
            await asyncio.sleep(rng.uniform(0, 0.002))
            arrived.clear()
            sent = now()
            broker.publish("btc_price", BODY)
            await arrived.wait()
        latencies.sort()
        pings = sorted([await broker.ping() for _ in range(200)])
        rates = []
        for _ in range(5):
            began, before = now(), seen
            for _ in range(burst):
                broker.publish("btc_price", BODY)
            await broker.flush()
            rates.append(burst / (now() - began))
            while seen < before + burst:  # noqa: ASYNC110 - outside of what is timed
                await asyncio.sleep(0.001)
        rates.sort()
        name = spec.partition(":")[0]
        p = [f"{percentile(latencies, share) * 1e6:9.1f}" for share in (0.5, 0.9, 0.99, 0.999)]
        return f"{name:10}{start * 1e3:9.1f}{''.join(p)}{percentile(pings, 0.5) * 1e6:9.1f}{rates[2]:12,.0f}"
    finally:
        await broker.close()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("broker", nargs="*", help="default: memory and embedded")
    parser.add_argument("--samples", type=int, default=3000, help="messages timed (default 3000)")
    parser.add_argument("--burst", type=int, default=20_000, help="messages of a burst (default 20000)")
    arguments = parser.parse_args()
    print("broker     start ms   p50 us   p90 us   p99 us p99.9 us  ping us   publish/s", flush=True)
    with tempfile.TemporaryDirectory(prefix="omega-bench-") as directory:
        for spec in arguments.broker or ["memory", f"embedded:{directory}"]:
            print(uvloop.run(measure(spec, arguments.samples, arguments.burst)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
