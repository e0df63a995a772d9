"""One of several processes that serve clients on the same port; started and told what to do by ``workers``.

It reads its settings and then commands, a line of JSON each, from standard input, and answers on standard
output. When standard input ends, its parent is gone and so is it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys

import uvloop

from omega_ai.core.clock import SystemClock
from omega_ai.data_feed.descriptors import within_descriptors
from omega_ai.data_feed.feed import Feed
from omega_ai.data_feed.observability.logs import choose_format, set_up_logs
from omega_ai.data_feed.pauses import spare_what_stays
from omega_ai.data_feed.worker_protocol import Answer, decode_command, decode_start, encode_line


async def _serve() -> int:
    loop = asyncio.get_running_loop()
    # Standard output belongs to the parent; whatever else prints goes where logs go.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)

    def answer(line: Answer) -> None:
        with contextlib.suppress(BrokenPipeError):  # the parent is gone: standard input ends as well
            answers.write(encode_line(line))

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Ctrl-C reaches the whole group of processes; the parent decides when we go.
        loop.add_signal_handler(number, lambda: None)
    lines = asyncio.StreamReader(limit=1 << 20)
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    try:
        start = decode_start(await lines.readline())
        set_up_logs(start.settings.log_level, choose_format(start.settings.log_format))
        try:
            async with Feed(
                within_descriptors(start.settings), clock=SystemClock(), shared_port=True
            ) as feed:
                spare_what_stays()
                answer(Answer(ready=True))
                while line := await lines.readline():
                    command = decode_command(line)
                    if command.do == "snapshot":
                        answer(Answer(snapshot=feed.snapshot()))
                    elif command.do == "reload":
                        if command.settings is None:
                            feed.reload_certificate()
                        else:
                            feed.reconfigure(within_descriptors(command.settings))
                    else:
                        await feed.retire(command.seconds)
                        break
        except Exception as error:
            answer(Answer(error=str(error) or type(error).__name__))
            return 3
    finally:
        transport.close()
        answers.close()
    return 0


def main() -> int:
    """Run until told to end."""
    return uvloop.run(_serve())


if __name__ == "__main__":
    sys.exit(main())
