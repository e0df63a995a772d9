"""What ``omega proxy`` adds and costs, against a copy loop in C (``native/relay.c``) and no proxy at all.

    python -m benchmarks.proxy [--rounds 5] [--megabytes 2000] [--pings 5000] [--nice N]
        [--toxiproxy FILE] [--out FILE]

Two things are measured, in every round for all contenders, one after the other:

- **way**: a message of 100 bytes goes to an echo server and back, again and again, on one connection. What a
  proxy adds is its median less the median without a proxy in the same round.
- **bulk**: one connection carries so many megabytes one way. What counts is megabytes per second of CPU that
  the proxy's process used (``/proc/PID/schedstat``), since on a shared machine time alone says little.

``no toxic`` is the way past the faults; ``noop toxic`` is the way through a fault that does nothing, which is
what every fault costs at least. Sender and receiver are on one core, the proxy is on the other. Needs Linux
and a C compiler.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

NATIVE = Path(__file__).parent / "native"
PING = b"x" * 100
CHUNK = 1 << 18
START_SECONDS = 20.0


class Relay:
    """A process between: its port, and what CPU it has used."""

    def __init__(self, name: str, port: int, pid: int | None) -> None:
        self.name = name
        self.port = port
        self._pid = pid

    def cpu_seconds(self) -> float:
        if self._pid is None:
            return 0.0
        total = 0
        for task in Path(f"/proc/{self._pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9


class Server:
    """Echoes on one port, and swallows on another; counts what it swallowed."""

    def __init__(self) -> None:
        self._listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        self.echo_port, self.sink_port = (sock.getsockname()[1] for sock in self._listeners)
        for sock, serve in zip(self._listeners, (self._echo, self._sink), strict=True):
            threading.Thread(target=self._accept, args=(sock, serve), daemon=True).start()

    def _accept(self, listener: socket.socket, serve: Callable[[socket.socket], None]) -> None:
        while True:
            sock, _ = listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=serve, args=(sock,), daemon=True).start()

    def _echo(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            while data := sock.recv(4096):
                sock.sendall(data)

    def _sink(self, sock: socket.socket) -> None:
        buffer = bytearray(1 << 20)
        size = int.from_bytes(sock.recv(8, socket.MSG_WAITALL), "big")
        with sock:
            while size > 0:
                got = sock.recv_into(buffer)
                if not got:
                    return
                size -= got
            sock.sendall(b"done")


def ping(port: int, count: int) -> tuple[float, float]:
    """Median and 99th percentile of a round trip, microseconds."""
    took = []
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in range(count + count // 10):
            begin = time.perf_counter_ns()
            sock.sendall(PING)
            left = len(PING)
            while left:
                left -= len(sock.recv(left))
            if number >= count // 10:  # the first ones warm up
                took.append((time.perf_counter_ns() - begin) / 1000)
    took.sort()
    return took[len(took) // 2], took[len(took) * 99 // 100]


def bulk(relay: Relay, megabytes: int) -> tuple[float, float]:
    """Megabytes a second, and per second of the relay's CPU (0 without a relay)."""
    chunk = bytes(CHUNK)
    count = megabytes * 1_000_000 // CHUNK
    with socket.create_connection(("127.0.0.1", relay.port)) as sock:
        cpu, begin = relay.cpu_seconds(), time.perf_counter()
        sock.sendall((count * CHUNK).to_bytes(8, "big"))
        for _ in range(count):
            sock.sendall(chunk)
        assert sock.recv(4, socket.MSG_WAITALL) == b"done"
        took, used = time.perf_counter() - begin, relay.cpu_seconds() - cpu
    moved = count * CHUNK / 1e6
    return moved / took, moved / used if used else 0.0


@contextlib.contextmanager
def process(command: list[str], core: int) -> Iterator[int]:
    with subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    ) as running:
        try:
            yield running.pid
        finally:
            running.terminate()
            running.wait()


@contextlib.contextmanager
def c_loop(program: Path, server: Server, core: int) -> Iterator[dict[str, Relay]]:
    ports = [free_port(), free_port()]
    targets = [server.echo_port, server.sink_port]
    with contextlib.ExitStack() as stack:
        pids = [
            stack.enter_context(process([str(program), f"port={port}", f"to={target}"], core))
            for port, target in zip(ports, targets, strict=True)
        ]
        for port in ports:
            wait_for(port)
        yield {
            "way": Relay("C copy loop", ports[0], pids[0]),
            "bulk": Relay("C copy loop", ports[1], pids[1]),
        }


@contextlib.contextmanager
def omega(server: Server, core: int, *, toxic: bool, directory: Path) -> Iterator[dict[str, Relay]]:
    told = directory / f"omega-{toxic}.json"
    toxics = [{"type": "noop", "stream": stream} for stream in ("upstream", "downstream")] if toxic else []
    config = directory / f"proxies-{toxic}.json"
    config.write_text(
        json.dumps(
            [
                {"name": name, "upstream": f"127.0.0.1:{port}", "toxics": toxics}
                for name, port in (("way", server.echo_port), ("bulk", server.sink_port))
            ]
        )
    )
    told.unlink(missing_ok=True)
    command = [sys.executable, "-m", "omega_ai", "proxy", "--config", str(config), "--port", "off"]
    with process([*command, "--json", str(told)], core) as pid:
        deadline = time.monotonic() + START_SECONDS
        while not told.exists() or not told.read_text().endswith("}\n"):
            if time.monotonic() > deadline:
                raise SystemExit("omega proxy did not start")
            time.sleep(0.02)
        proxies = json.loads(told.read_text())["proxies"]
        name = "omega proxy, noop toxic" if toxic else "omega proxy, no toxic"
        yield {
            part: Relay(name, int(proxies[part]["listen"].rpartition(":")[2]), pid)
            for part in ("way", "bulk")
        }


@contextlib.contextmanager
def toxiproxy(program: Path, server: Server, core: int) -> Iterator[dict[str, Relay]]:
    api = free_port()
    with process([str(program), "-port", str(api)], core) as pid:
        wait_for(api)
        wanted = [
            {"name": name, "listen": "127.0.0.1:0", "upstream": f"127.0.0.1:{port}"}
            for name, port in (("way", server.echo_port), ("bulk", server.sink_port))
        ]
        request = urllib.request.Request(f"http://127.0.0.1:{api}/populate", json.dumps(wanted).encode())
        with urllib.request.urlopen(request) as answer:
            proxies = json.load(answer)["proxies"]
        yield {
            made["name"]: Relay("Toxiproxy, no toxic", int(made["listen"].rpartition(":")[2]), pid)
            for made in proxies
        }


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def wait_for(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def compiled(directory: Path) -> Path:
    compiler = next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)
    if compiler is None:
        raise SystemExit("no C compiler: install gcc or clang (Debian: apt install gcc)")
    program = directory / "relay"
    subprocess.run([compiler, "-O2", "-o", str(program), str(NATIVE / "relay.c")], check=True)
    return program


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):,.0f} ({min(values):,.0f}-{max(values):,.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description="What omega proxy adds and costs.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=2000)
    parser.add_argument("--pings", type=int, default=5000)
    parser.add_argument("--out", type=Path, help="where to write every sample as JSON")
    parser.add_argument("--nice", type=int, default=0, help="below 0 (needs privileges) on a busy machine")
    parser.add_argument("--toxiproxy", type=Path, help="a toxiproxy-server to measure, too, if you have one")
    options = parser.parse_args()
    if options.nice:
        os.setpriority(os.PRIO_PROCESS, 0, options.nice)
        # Where each session is scheduled as one, a process's own niceness counts among its session alone.
        with contextlib.suppress(OSError):
            Path("/proc/self/autogroup").write_text(str(options.nice))
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[1]})
    samples: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as made, contextlib.ExitStack() as stack:
        directory = Path(made)
        server = Server()
        contenders = [
            {
                "way": Relay("no proxy", server.echo_port, None),
                "bulk": Relay("no proxy", server.sink_port, None),
            },
            stack.enter_context(c_loop(compiled(directory), server, cores[0])),
            stack.enter_context(omega(server, cores[0], toxic=False, directory=directory)),
            stack.enter_context(omega(server, cores[0], toxic=True, directory=directory)),
        ]
        if options.toxiproxy is not None:
            contenders.append(stack.enter_context(toxiproxy(options.toxiproxy, server, cores[0])))
        for number in range(options.rounds):
            # Another first each time, so that what changes on the machine strikes all alike.
            bare = None
            for relays in contenders if number % 2 == 0 else [contenders[0], *contenders[:0:-1]]:
                name = relays["way"].name
                p50, p99 = ping(relays["way"].port, options.pings)
                bare = p50 if bare is None else bare
                speed, per_core = bulk(relays["bulk"], options.megabytes)
                found = samples.setdefault(name, {})
                for key, value in (
                    ("p50", p50),
                    ("p99", p99),
                    ("added", p50 - bare),
                    ("speed", speed),
                    ("core", per_core),
                ):
                    found.setdefault(key, []).append(value)
                print(f"round {number + 1}: {name}: {p50:.0f} µs, {speed:,.0f} MB/s", file=sys.stderr)
    print("|  | p50 µs | added to p50, µs | p99 µs | MB/s | MB per CPU second |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, found in samples.items():
        added = "" if name == "no proxy" else spread(found["added"])
        core = "" if name == "no proxy" else spread(found["core"])
        cells = [spread(found["p50"]), added, spread(found["p99"]), spread(found["speed"]), core]
        print(f"| {name} | {' | '.join(cells)} |")
    if options.out is not None:
        options.out.write_text(json.dumps(samples, indent=1) + "\n")


if __name__ == "__main__":
    main()
