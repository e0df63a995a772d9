"""All six connectors against stand-in exchanges that misbehave, for as long as you like; is the output the
truth?

    python -m benchmarks.ingest_soak                      10 minutes, seed 1
    python -m benchmarks.ingest_soak --duration 60 --seed 7 --scale 0.1

Every trade that happened at each stand-in must come out exactly once and in order; no price may contain a
venue that has been silent beyond its time; no venue may have reason to complain of us. Exit code 0 if so, 1
if not.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys

import structlog

from omega_ai.tests.integration.ingest.trial import Trial, run

_WIDTHS = (8, 8, 10, 12, 6, 9, 10)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--duration", type=float, default=600.0, help="seconds (default 600)")
    parser.add_argument("--seed", type=int, default=1, help="of markets, faults and back-off (default 1)")
    parser.add_argument(
        "--scale", type=float, default=0.2, help="of every time waited; 1 is production's (default 0.2)"
    )
    parser.add_argument("--rate", type=float, default=4.0, help="trades a second and venue (default 4)")
    parser.add_argument("--verbose", action="store_true", help="log every fault and what is done about it")
    arguments = parser.parse_args()
    level = logging.DEBUG if arguments.verbose else logging.ERROR
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    trial = Trial(
        seed=arguments.seed, duration_s=arguments.duration, scale=arguments.scale, rate=arguments.rate
    )
    outcome = asyncio.run(run(trial))
    columns = zip(
        ("trades", "faults", "connects", "lost conn.", "gaps", "refused", "recovery"), _WIDTHS, strict=True
    )
    print(f"{'venue':<10}" + "".join(f"{name:>{width}}" for name, width in columns))
    for venue in outcome.venues:
        print(
            f"{venue.name:<10}{venue.received:>8}{sum(venue.faults.values()):>8}{venue.connections:>10}"
            f"{venue.reconnects:>12}{venue.gaps:>6}{venue.refused:>9}{venue.slowest_recovery_s:>8.1f} s"
        )
    kinds = sorted({kind for venue in outcome.venues for kind in venue.faults})
    print(f"kinds of faults: {', '.join(kinds)}")
    print(f"prices looked at: {outcome.prices}, states {outcome.states}; CPU {outcome.cpu_s:.1f} s in all")
    for venue in outcome.venues:
        for text in venue.said:
            print(f"beyond the venue's list of recent trades, and reported as such: {venue.name}: {text}")
    for problem in outcome.problems:
        print(f"WRONG: {problem}")
    print("the output equals the truth" if not outcome.problems else f"{len(outcome.problems)} problems")
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    sys.exit(main())
