"""Two medians of messages there and back: straight to a server, and through a proxy before it.

``python -m omega_ai.testkit.load.round_trips``: says on standard output at which port of 127.0.0.1 it serves,
reads at which a proxy before it listens, and writes both medians, in ns. It is a process by itself, as
clients and servers are; both ways differ in nothing but the proxy.
"""

from __future__ import annotations

import contextlib
import socket
import statistics
import sys
import threading
import time
from typing import Final

ROUNDS: Final = 120
SIZE: Final = 64
TIMEOUT_S: Final = 10.0


def echo(listener: socket.socket) -> None:
    """Give back what comes, on both connections."""
    for _ in range(2):
        end, _ = listener.accept()
        end.settimeout(None)
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_give_back, args=(end,), daemon=True).start()


def _give_back(end: socket.socket) -> None:
    with end:
        while data := end.recv(SIZE):
            end.sendall(data)


def medians(direct: int, via: int) -> tuple[int, int]:
    """Of round trips to both ports, in turn, so that what disturbs one disturbs the other.

    Raises:
        OSError: one of them does not answer.
    """
    times: tuple[list[int], list[int]] = ([], [])
    with contextlib.ExitStack() as stack:
        ends = []
        for port in (direct, via):
            ends.append(stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)))
            ends[-1].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(ROUNDS):
            for end, into in zip(ends, times, strict=True):
                began = time.perf_counter_ns()
                end.sendall(b"x" * SIZE)
                left = SIZE
                while left:
                    data = end.recv(left)
                    if not data:
                        raise OSError("the connection ended")
                    left -= len(data)
                into.append(time.perf_counter_ns() - began)
    return round(statistics.median(times[0])), round(statistics.median(times[1]))


def main() -> None:
    """Serve, and measure."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(TIMEOUT_S)
        threading.Thread(target=echo, args=(listener,), daemon=True).start()
        port = listener.getsockname()[1]
        print(port, flush=True)
        via = sys.stdin.readline()
        if via:
            print(*medians(port, int(via)), flush=True)


if __name__ == "__main__":
    main()
