"""Run Autobahn|Testsuite against our server or our client: ``python -m omega_ai.tests.conformance.autobahn``.

The judge needs CPython 2.7 (it was never ported): ``$OMEGA_PYTHON27``, ``python2.7`` on the PATH, or one that
pyenv has. It is installed, once, into a virtual environment in the user's cache directory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import platformdirs
import uvloop

from omega_ai.core.websocket.endpoint import Options
from omega_ai.tests.conformance.echo import client_options, echo_client, echo_server
from omega_ai.tests.conformance.table import Results, is_pass, summary, write_table

AUTOBAHN = "autobahntestsuite==25.10.1"
VIRTUALENV = "virtualenv==20.15.1"  # the last that makes environments for 2.7
PASS, FAIL, ENVIRONMENT = 0, 1, 3


class NoJudge(Exception):
    """Autobahn cannot be run here; says why and what to do."""


def find_python27() -> str:
    """A CPython 2.7 that runs. Raises ``NoJudge``."""
    named = os.environ.get("OMEGA_PYTHON27")
    if named:
        candidates = [named]
    else:
        pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
        on_path = shutil.which("python2.7")
        candidates = [on_path] if on_path else []
        candidates += map(str, sorted(pyenv.glob("versions/2.7.*/bin/python2.7"), reverse=True))
    for candidate in candidates:
        if _is_python27(candidate):
            return candidate
    tried = f"; tried {', '.join(candidates)}" if candidates else ""
    raise NoJudge(
        f"Autobahn|Testsuite needs CPython 2.7, and none was found{tried}. "
        "Install one (for example 'pyenv install 2.7.18') and name it in OMEGA_PYTHON27."
    )


def _is_python27(candidate: str) -> bool:
    command = [candidate, "-c", "import sys; print(sys.version_info[0:2])"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.stdout.strip() == "(2, 7)"


def wstest() -> Path:
    """The judge's program, installed if it is not yet. Raises ``NoJudge``."""
    home = Path(platformdirs.user_cache_dir("omega-btc-ai")) / AUTOBAHN.replace("==", "-")
    program = home / "bin" / "wstest"
    if program.exists():
        return program
    python = find_python27()
    print(f"installing {AUTOBAHN} into {home} (once; about a minute)", file=sys.stderr)
    shutil.rmtree(home, ignore_errors=True)
    home.parent.mkdir(parents=True, exist_ok=True)
    user_base = home.parent / "python27-user"
    environment = {**os.environ, "PYTHONUSERBASE": str(user_base)}
    steps: list[list[str]] = [
        [python, "-m", "pip", "install", "--quiet", "--user", VIRTUALENV],
        [python, "-m", "virtualenv", "--quiet", str(home)],
        [str(home / "bin" / "pip"), "install", "--quiet", AUTOBAHN],
    ]
    for step in steps:
        done = subprocess.run(step, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(home, ignore_errors=True)
            tail = "\n".join(done.stderr.splitlines()[-5:])
            raise NoJudge(f"installing the judge failed at {' '.join(step)}:\n{tail}")
    return program


async def judge_server(program: Path, cases: Sequence[str], directory: Path) -> Results:
    """Our server before the fuzzing client."""
    async with echo_server() as port:
        spec = {
            "outdir": str(directory),
            "servers": [{"agent": "server", "url": f"ws://127.0.0.1:{port}"}],
            "cases": list(cases),
            "exclude-cases": [],
            "exclude-agent-cases": {},
        }
        process = await _start(program, "fuzzingclient", spec, directory)
        await process.wait()
    return _read(directory)


async def judge_client(program: Path, cases: Sequence[str], directory: Path) -> Results:
    """Our client before the fuzzing server."""
    port = _free_port()
    spec = {
        "outdir": str(directory),
        "url": f"ws://127.0.0.1:{port}",
        "cases": list(cases),
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }
    process = await _start(program, "fuzzingserver", spec, directory)
    try:
        options = client_options()
        count = int((await _when_up(port, options)).decode())
        for number in range(1, count + 1):
            await echo_client(port, f"/runCase?case={number}&agent=client", options)
            _progress(number, count)
        await echo_client(port, "/updateReports?agent=client", options)
    finally:
        process.terminate()
        await process.wait()
    return _read(directory)


async def _when_up(port: int, options: Options) -> bytes:
    for _ in range(100):
        try:
            client = await echo_client(port, "/getCaseCount", options)
        except OSError:
            await asyncio.sleep(0.1)
        else:
            return client.last_text
    raise NoJudge("the fuzzing server did not come up within 10 s")


async def _start(program: Path, mode: str, spec: object, directory: Path) -> asyncio.subprocess.Process:
    path = directory / "spec.json"
    path.write_text(json.dumps(spec))
    with (directory / "wstest.log").open("wb") as log:
        return await asyncio.create_subprocess_exec(
            "nice", str(program), "-m", mode, "-s", str(path), "-u", "0",
            cwd=directory, stdout=log, stderr=log,
        )  # fmt: skip


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _progress(number: int, count: int) -> None:
    if sys.stderr.isatty():
        print(f"\rcase {number} of {count}", end="" if number < count else "\n", file=sys.stderr, flush=True)


def _read(directory: Path) -> Results:
    index = directory / "index.json"
    if not index.exists():
        tail = (directory / "wstest.log").read_text(errors="replace")[-600:]
        raise NoJudge(f"the judge left no report; its log ends with:\n{tail}")
    (cases,) = json.loads(index.read_text()).values()
    return {name: (case["behavior"], case["behaviorClose"]) for name, case in cases.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one side, print the verdict; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m omega_ai.tests.conformance.autobahn", description=__doc__
    )
    parser.add_argument("side", choices=["server", "client"])
    parser.add_argument(
        "--cases", default="*", help="patterns, separated by commas: 1.*,7.1.2 (default: all)"
    )
    parser.add_argument("--keep", type=Path, help="directory for the judge's own report (HTML and JSON)")
    parser.add_argument("--json", type=Path, help="write every case's verdict here")
    parser.add_argument("--table", type=Path, help="put the result into this Markdown file")
    options = parser.parse_args(arguments)
    judge = judge_server if options.side == "server" else judge_client
    with tempfile.TemporaryDirectory() as temporary:
        directory = options.keep or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        try:
            results = uvloop.run(judge(wstest(), options.cases.split(","), directory.resolve()))
        except NoJudge as error:
            print(f"skipped: {error}", file=sys.stderr)
            return ENVIRONMENT
    print(summary(options.side, results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    if options.table:
        write_table(options.table, options.side, results)
    return PASS if is_pass(results) else FAIL


if __name__ == "__main__":
    sys.exit(main())
