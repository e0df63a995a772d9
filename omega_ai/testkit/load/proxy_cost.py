"""What a fault proxy adds to every message when it has nothing else to do: measured, not assumed."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Final

from omega_ai.testkit.proxy import FaultProxy

WITHIN_S: Final = 15.0


async def added_by_proxy() -> int | None:
    """Nanoseconds there and back: the median through a proxy of this process, less that of the same without.

    ``round_trips`` measures it. None: it could not be measured in time.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "omega_ai.testkit.load.round_trips",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None  # noqa: S101 - it is a pipe
    assert process.stdout is not None  # noqa: S101
    try:
        async with asyncio.timeout(WITHIN_S):
            port = int(await process.stdout.readline())
            async with FaultProxy(f"127.0.0.1:{port}") as proxy:
                process.stdin.write(b"%d\n" % proxy.port)
                direct, via = map(int, (await process.stdout.readline()).split())
            return max(0, via - direct)
    except (TimeoutError, ValueError):
        return None
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.stdin.close()
        await process.wait()
