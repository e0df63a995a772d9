"""Load as it comes from people, not from a loop: on a schedule, whether or not the last answer is there."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import Iterator, Sequence

from omega_ai.tests.unit.data.websocket.recording import Client


async def send_on_schedule(
    client: Client, count: int, rate: float, start: float
) -> tuple[list[int], list[float]]:
    """Send ``count`` messages, ``rate`` a second from ``start``; returns the answers' numbers and latencies.

    Latency is in seconds and counts from the time at which the message should have been sent, so that a
    server which stops for a while is charged for everybody who had to wait.
    """
    due = [start + number / rate for number in range(count)]

    async def send() -> None:
        for number, moment in enumerate(due):
            await asyncio.sleep(max(moment - time.monotonic(), 0))
            await client.send({"type": "load_test", "n": number})

    async def receive() -> tuple[list[int], list[float]]:
        numbers: list[int] = []
        latencies: list[float] = []
        while len(numbers) < count:
            answer = await client.receive_type("load_test")
            numbers.append(answer["n"])
            latencies.append(time.monotonic() - due[answer["n"]])
        return numbers, latencies

    async with asyncio.TaskGroup() as group:
        group.create_task(send())
        answers = group.create_task(receive())
    return answers.result()


@contextlib.contextmanager
def without_our_own_pauses() -> Iterator[None]:
    """No garbage collection meanwhile: with a heap like pytest's it stops us long enough to be seen."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def percentiles(values: Sequence[float], *percents: float) -> list[float]:
    """The smallest values that are not exceeded by so many percent of them (nearest rank)."""
    ordered = sorted(values)
    ranks = (max(0, -(-percent * len(ordered) // 100) - 1) for percent in percents)
    return [ordered[int(rank)] for rank in ranks]
