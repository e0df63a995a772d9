"""The cases: what each one does, whom it compares, and which figure is its main one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.server.bench import Bench
from benchmarks.server.contenders import CONTENDERS, following_coinbase
from benchmarks.server.processes import Failed, Server
from benchmarks.server.results import Column, Goal, Result

SERVERS = ("floor", "omega", "bun", "ws", "websockets", "aiohttp", "uvicorn", "granian")
FEW = ("floor", "omega", "bun", "ws", "websockets")

_FANOUT_COLUMNS = (
    Column("latency_p50_us", "p50 µs", 0),
    Column("latency_p99_us", "p99 µs", 0),
    Column("last_p99_us", "last p99 µs", 0),
    Column("server_busy", "core used", 2),
    Column("lost", "lost", 0),
    Column("server_waited", "waited", 2),
)


def _against(names: Sequence[str], baseline: str) -> Mapping[str, str]:
    return dict.fromkeys(names, baseline)


def _result(bench: Bench, names: Sequence[str], baseline: str, mode: Any = "plain", **fields: Any) -> Result:
    found = [contender.name for contender in bench.contenders(names, mode)]
    labels = {name: CONTENDERS[name].label for name in found}
    return Result(labels=labels, baselines=_against(found, baseline), **fields)


def fanout(bench: Bench) -> Result:
    """One tick to 1,000 clients, 100 times a second."""
    result = _result(
        bench,
        SERVERS,
        "floor",
        name="fanout",
        title="Fan-out of one tick",
        about="1,000 clients, 100 messages a second of 250 bytes; server CPU per delivery.",
        metric="cpu_us",
        unit="µs CPU per delivery",
        better="lower",
        columns=_FANOUT_COLUMNS,
        goals=(Goal(1.25),),
    )

    def run(server: Server) -> dict[str, Any]:
        return bench.load.run(server, mode="fanout", clients=1000, rate=100, seconds=bench.seconds)

    bench.alternate(result, bench.contenders(SERVERS), run)
    return result


def burst(bench: Bench) -> Result:
    """Ten messages at once to 1,000 clients."""
    result = _result(
        bench,
        SERVERS,
        "floor",
        name="burst",
        title="Fan-out of bursts of 10",
        about="1,000 clients; 10 times a second, 10 messages in one write. The floor sends each alone.",
        metric="cpu_us",
        unit="µs CPU per delivery",
        better="lower",
        columns=_FANOUT_COLUMNS,
        goals=(Goal(0.35),),
    )

    def run(server: Server) -> dict[str, Any]:
        return bench.load.run(server, mode="fanout", clients=1000, rate=10, burst=10, seconds=bench.seconds)

    bench.alternate(result, bench.contenders(SERVERS), run)
    return result


def tls(bench: Bench) -> Result:
    """The same over TLS 1.3, one cipher for all."""
    result = _result(
        bench,
        SERVERS,
        "floor",
        "tls",
        name="tls",
        title="Fan-out over TLS",
        about="500 wss clients, 50 messages a second; TLS 1.3 with AES-128-GCM, an EC P-256 certificate.",
        metric="cpu_us",
        unit="µs CPU per delivery",
        better="lower",
        columns=_FANOUT_COLUMNS,
    )

    def run(server: Server) -> dict[str, Any]:
        return bench.load.run(server, mode="fanout", clients=500, rate=50, seconds=bench.seconds)

    if "tls" not in bench.workshop.features:
        result.notes["all"] = bench.workshop.missing["tls"]
    else:
        bench.alternate(result, bench.contenders(SERVERS, "tls"), run, mode="tls")
    return result


def deflate(bench: Bench) -> Result:
    """Compressed fan-out, of messages that are worth it."""
    result = _result(
        bench,
        SERVERS,
        "floor",
        "deflate",
        name="deflate",
        title="Compressed fan-out",
        about="1,000 clients with permessage-deflate, 20 messages a second of 1,000 bytes, compressed.",
        metric="cpu_us",
        unit="µs CPU per delivery",
        better="lower",
        columns=(
            Column("bytes", "bytes", 0),
            Column("compressed", "compressed", 2),
            Column("server_busy", "core used", 2),
        ),
    )
    pads = {c.name: bench.padding(c, 1000) for c in bench.contenders(("omega", "floor"), "deflate")}

    def run(server: Server) -> dict[str, Any]:
        pad = pads.get(server.contender.name, pads.get("floor", 850))
        return bench.load.run(server, mode="fanout", clients=1000, rate=20, seconds=bench.seconds, pad=pad)

    if "deflate" not in bench.workshop.features:
        result.notes["floor"] = bench.workshop.missing["deflate"]
    bench.alternate(result, bench.contenders(SERVERS, "deflate"), run, mode="deflate")
    return result


def echo(bench: Bench) -> Result:
    """Round trips of messages that nobody looks into."""
    names = ("websockets", "engine", "omega", "floor", "bun", "ws", "aiohttp", "uvicorn", "granian")
    result = _result(
        bench,
        names,
        "websockets",
        name="echo",
        title="Echo",
        about="50 connections, one message each under way. All send back what came; OMEGA's server, which "
        "has no such command, also parses it, checks it and adds the time.",
        metric="per_cpu_s",
        unit="round trips per second of server CPU",
        better="higher",
        digits=0,
        columns=(Column("round_trip_p50_us", "p50 µs", 0), Column("round_trip_p99_us", "p99 µs", 0)),
        goals=(Goal(3.0, "higher"), Goal(3.0, "higher", row="engine")),
    )

    def run(server: Server) -> dict[str, Any]:
        return bench.load.run(server, mode="echo", clients=50, seconds=bench.seconds)

    bench.alternate(result, bench.contenders(names), run)
    return result


def stamp(bench: Bench) -> Result:
    """Round trips with the same work for all: parse, add the time, send."""
    names = ("websockets", "omega", "bun", "ws", "aiohttp", "uvicorn", "granian")
    result = _result(
        bench,
        names,
        "websockets",
        name="stamp",
        title="Parse, stamp and answer",
        about="50 connections, one message each under way; every server parses the JSON and adds the time.",
        metric="per_cpu_s",
        unit="round trips per second of server CPU",
        better="higher",
        digits=0,
        columns=(Column("round_trip_p50_us", "p50 µs", 0), Column("round_trip_p99_us", "p99 µs", 0)),
        goals=(Goal(3.0, "higher"),),
    )

    def run(server: Server) -> dict[str, Any]:
        return bench.load.run(server, "stamp", mode="echo", clients=50, seconds=bench.seconds)

    bench.alternate(result, bench.contenders(names), run)
    return result


def connect(bench: Bench) -> Result:
    """Opening connections as fast as the server takes them."""
    names = ("websockets", "omega", "floor", "bun", "ws", "aiohttp", "uvicorn", "granian")
    result = _result(
        bench,
        names,
        "websockets",
        name="connect",
        title="Connect",
        about="TCP and WebSocket handshakes, 100 at a time.",
        metric="cpu_us",
        unit="µs CPU per connection",
        better="lower",
        digits=0,
        columns=(Column("per_s", "connections/s", 0), Column("server_busy", "core used", 2)),
    )
    count = 2000 if bench.quick else 5000

    def run(server: Server) -> dict[str, Any]:
        return bench.load.run(server, mode="connect", clients=count, inflight=100)

    bench.alternate(result, bench.contenders(names), run)
    return result


def storm(bench: Bench) -> Result:
    """5,000 connect at once while 1,000 listen."""
    result = _result(
        bench,
        FEW,
        "floor",
        name="storm",
        title="Storm of connections",
        about="5,000 clients connect at once while 1,000 get 20 messages a second: their latency meanwhile.",
        metric="storm_p99_us",
        unit="µs, p99 of the 1,000 meanwhile",
        better="lower",
        digits=0,
        columns=(
            Column("latency_p99_us", "p99 µs else", 0),
            Column("storm_ms", "all in after ms", 0),
            Column("refused", "refused", 0),
            Column("lost", "lost", 0),
        ),
    )

    def run(server: Server) -> dict[str, Any]:
        return bench.load.run(
            server, mode="fanout", clients=1000, rate=20, storm=5000, inflight=5000, seconds=bench.seconds
        )

    bench.alternate(result, bench.contenders(FEW), run, rounds=1 if bench.quick else None)
    return result


def memory(bench: Bench) -> Result:
    """What an idle connection costs."""
    names = ("websockets", "omega", "floor", "bun", "ws", "aiohttp", "uvicorn", "granian")
    count = min(2000 if bench.quick else 10_000, bench.descriptors - 200)
    result = _result(
        bench,
        names,
        "websockets",
        name="memory",
        title="Memory of an idle connection",
        about=f"{count:,} connections to a server just started; what its physical memory grew by, over their "
        "number. The kernel's share is not in it: it is shown beside, for both ends of the connection "
        "together, as the machine's slab memory grew.",
        metric="kib",
        unit="KiB per connection",
        better="lower",
        columns=(
            Column("kernel_kib", "kernel KiB, both ends", 1),
            Column("server_mib", "server MiB before", 1),
        ),
        goals=(Goal(10.0, of="kib"),),
    )
    contenders = bench.contenders(names)
    for number in range(1 if bench.quick else min(bench.rounds, 3)):
        for contender in contenders:
            bench.step(f"{result.title}: {contender.label}, round {number + 1}")

            def run(contender: Any = contender) -> dict[str, Any]:
                with bench.server(contender) as server:
                    # The first connections bring in code and pools that are not a connection's.
                    bench.load.run(server, mode="connect", clients=100)
                    time.sleep(0.5)
                    before, slab = server.memory(), _slab()
                    with bench.load.hold(server, clients=count):
                        time.sleep(1.5)
                        after, slab_after = server.memory(), _slab()
                return {
                    "kib": (after - before) / 1024 / count,
                    "kernel_kib": (slab_after - slab) / 1024 / count,
                    "server_mib": before / 2**20,
                    "connections": count,
                }

            result.samples.setdefault(contender.name, []).append(bench.attempt(result, contender.name, run))
    return result


def last(bench: Bench) -> Result:
    """From publishing to the last of 1,000 clients."""
    result = _result(
        bench,
        FEW,
        "floor",
        name="last",
        title="Latency to the last of 1,000",
        about="40 messages a second; from the publisher's write to the read of the client that gets it last.",
        metric="last_p99_us",
        unit="µs, p99",
        better="lower",
        digits=0,
        columns=(
            Column("last_p50_us", "p50 µs", 0),
            Column("latency_p50_us", "any client p50 µs", 0),
            Column("latency_p99_us", "any client p99 µs", 0),
            Column("client_busy", "client's core", 2),
        ),
        goals=(Goal(2.0),),
    )

    def run(server: Server) -> dict[str, Any]:
        # Twice as long as elsewhere: a tail needs messages.
        return bench.load.run(server, mode="fanout", clients=1000, rate=40, seconds=2 * bench.seconds)

    bench.alternate(result, bench.contenders(FEW), run)
    return result


def dead(bench: Bench) -> Result:
    """100 of 1,000 never read: what the others notice."""
    result = _result(
        bench,
        FEW,
        "floor",
        name="dead",
        title="Dead readers",
        about="900 clients get 50 messages a second of 2,000 bytes, with and without 100 more that never "
        "read: two servers of a kind at once, of which one has the dead ones, fed in alternating seconds. "
        "The median over seconds of the p99 with them over that without. The floor drops what they do not "
        "take.",
        metric="p99_ratio",
        unit="p99 with dead readers / without",
        better="lower",
        columns=(
            Column("without_p99_us", "p99 µs without", 0),
            Column("with_p99_us", "p99 µs with", 0),
            Column("lost", "lost", 0),
        ),
        goals=(Goal(1.2, of="p99_ratio"),),
    )

    def run(server: Server) -> dict[str, Any]:
        # The dead ones' socket buffers take some two seconds of messages to fill: until then nothing is to be
        # seen. Each of the two gets every other second.
        shared: dict[str, Any] = {
            "mode": "fanout",
            "clients": 900,
            "rate": 50,
            "payload": 2000,
            "seconds": 4 * bench.seconds,
            "warm": 5,
        }
        with bench.server(server.contender) as twin, ThreadPoolExecutor(2) as both:
            alive = both.submit(partial(bench.load.run, twin, **shared, phase=0))
            burdened = both.submit(partial(bench.load.run, server, **shared, phase=1, dead=100))
            without, with_them = alive.result(), burdened.result()
        return {
            "p99_ratio": with_them["second_p99_us"] / without["second_p99_us"],
            "without_p99_us": without["second_p99_us"],
            "with_p99_us": with_them["second_p99_us"],
            "lost": with_them["lost"],
            **{name: max(without[name], with_them[name]) for name in ("server_waited", "client_waited")},
            **{name: with_them[name] for name in ("server_busy", "client_busy")},
        }

    bench.alternate(result, bench.contenders(FEW), run, rounds=1 if bench.quick else min(bench.rounds, 3))
    return result


def growth(bench: Bench) -> Result:
    """From 100 to 10,000 clients, the same number of deliveries."""
    most = bench.descriptors - 200
    sizes = [
        size for size in ((100, 5000) if bench.quick else (100, 1000, 3000, 10_000, 15_000)) if size <= most
    ]
    contenders = bench.contenders(
        ("floor", "omega") if bench.quick else ("floor", "omega", "bun", "websockets")
    )
    rows = {f"{c.name}@{size}": f"{c.label}, {size:,} clients" for size in sizes for c in contenders}
    result = Result(
        name="growth",
        title="Growth",
        about="50,000 deliveries a second in all, to ever more clients: CPU per delivery against the floor's "
        "at the same number of clients.",
        metric="cpu_us",
        unit="µs CPU per delivery",
        better="lower",
        labels=rows,
        baselines={row: f"floor@{row.partition('@')[2]}" for row in rows},
        columns=_FANOUT_COLUMNS,
    )
    for size in sizes:
        part = Result(**{**vars(result), "title": f"Growth, {size:,} clients", "samples": {}, "notes": {}})

        def run(server: Server, size: int = size) -> dict[str, Any]:
            return bench.load.run(
                server, mode="fanout", clients=size, rate=50_000 / size, seconds=bench.seconds, warm=1
            )

        bench.alternate(part, contenders, run, rounds=min(bench.rounds, 3))
        result.samples |= {f"{name}@{size}": samples for name, samples in part.samples.items()}
        result.notes |= {f"{name}@{size}": note for name, note in part.notes.items()}
    return result


def venue(bench: Bench) -> Result:
    """A price's whole way, from the venue's message to the client's."""
    result = _result(
        bench,
        ("floor", "omega"),
        "floor",
        name="venue",
        title="Venue message in to client out",
        about="A stand-in venue in the client's process sends quotes and trades at random moments, 100 a "
        "second; from its write to the client's read of the price, or trade, that comes of it. Memory "
        "broker, every change published. The floor passes the same messages on as they are.",
        metric="price_p50_us",
        unit="µs, p50 of prices",
        better="lower",
        digits=0,
        columns=(
            Column("price_p99_us", "prices p99 µs", 0),
            Column("trade_p50_us", "trades p50 µs", 0),
            Column("trade_p99_us", "trades p99 µs", 0),
            Column("prices", "prices", 0),
            Column("unanswered", "unanswered", 0),
        ),
        goals=(Goal(150.0, of="price_p50_us"), Goal(1000.0, of="price_p99_us")),
    )
    contenders = bench.contenders(("floor", "omega"))
    with ExitStack() as stack:
        probe = stack.enter_context(bench.venue())
        url = {"WSS_URL_COINBASE": f"ws://127.0.0.1:{probe.port}", "REST_URL_COINBASE": "http://127.0.0.1:9"}
        servers = {}
        for contender in contenders:
            if contender.name == "omega":
                contender = replace(contender, command=following_coinbase)
            try:
                servers[contender.name] = stack.enter_context(bench.server(contender, environment=url))
            except Failed as failure:
                result.notes[contender.name] = str(failure)
        for number in range(bench.rounds):
            for name, server in servers.items():
                bench.step(f"{result.title}: {server.contender.label}, round {number + 1}")
                run = partial(probe.run, "feed" if name == "omega" else "relay", server)
                result.samples.setdefault(name, []).append(bench.attempt(result, name, run))
    return result


def _slab() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("Slab:"):
            return int(line.split()[1]) * 1024
    return 0


CASES: dict[str, Callable[[Bench], Result]] = {
    case.__name__: case
    for case in (fanout, burst, tls, deflate, echo, stamp, connect, storm, memory, last, dead, growth, venue)
}
