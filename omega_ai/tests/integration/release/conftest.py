"""The wheel, installed into an environment of its own, outside the checkout.

Two ways. By default the environment has the wheel alone and finds the packages that it needs in the one
that the tests run in: seconds, and no network; what it leaves open is whether pip resolves the wheel's own
requirements. ``make wheel-test`` (``OMEGA_WHEEL_TEST=index``) installs those from the package index.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from omega_ai.tests.conftest import ROOT, RUN_MARK
from omega_ai.tests.feed_server import START_SECONDS

FROM_INDEX = os.environ.get("OMEGA_WHEEL_TEST") == "index"
INSTALL_SECONDS = 600 if FROM_INDEX else 120


_FREE_PORTS = ("--log-format", "json", "--port", "0", "--tls-port", "0", "--http-port", "0")


class Installed(NamedTuple):
    """An environment with the wheel: its programs, and the variables to run them with."""

    programs: Path
    packages: Path
    directory: Path
    environment: Mapping[str, str]

    def run(self, program: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment to its end."""
        done = subprocess.run(
            [str(self.programs / program), *arguments],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert not check or done.returncode == 0, f"{program} {arguments}: {done.stdout}{done.stderr}"
        return done


@pytest.fixture(scope="package")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as for a release: from the source archive, not from the checkout."""
    pytest.importorskip("hatchling", reason="the build backend comes with make test, not with pip install")
    directory = tmp_path_factory.mktemp("dist")
    _python(ROOT, "-m", "hatchling", "build", "-t", "sdist", "-d", str(directory))
    (archive,) = directory.glob("*.tar.gz")
    _python(directory, "-m", "tarfile", "-e", str(archive), str(directory))
    unpacked = directory / archive.name.removesuffix(".tar.gz")
    _python(unpacked, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory))
    (made,) = directory.glob("*.whl")
    return made


@pytest.fixture(scope="package")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel in an environment without the checkout, with an empty home."""
    place = tmp_path_factory.mktemp("elsewhere")
    environment = place / "env"
    _python(place, "-m", "venv", *([] if FROM_INDEX else ["--without-pip"]), str(environment))
    programs = environment / "bin"
    packages = Path(
        _python(
            place,
            "-c",
            "import sysconfig; print(sysconfig.get_path('purelib'))",
            program=str(programs / "python"),
        ).strip()
    )
    pip = ["-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet"]
    if FROM_INDEX:
        _python(place, *pip, "install", str(wheel), program=str(programs / "python"))
    else:
        _python(
            place,
            *pip,
            "--python",
            str(programs / "python"),
            "install",
            "--no-deps",
            "--no-index",
            str(wheel),
        )
        # Searched after the environment's own packages. Path files in it are not read, so the checkout, which
        # the tests' environment knows by such a file, stays out of sight.
        (packages / "packages-of-the-tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    home = place / "home"
    home.mkdir()
    kept = {name: os.environ[name] for name in ("PATH", "LANG", RUN_MARK) if name in os.environ}
    if FROM_INDEX:
        kept |= {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "HTTP"))}
    return Installed(programs, packages, place, {**kept, "HOME": str(home)})


@pytest.fixture(scope="package")
def feed(installed: Installed) -> Iterator[dict[str, str]]:
    """``omega serve`` of the wheel, with everything that it serves by default; where it listens."""
    log = installed.directory / "serve.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(installed.programs / "omega"), "serve", "--source", "simulated", *_FREE_PORTS],
            cwd=installed.directory,
            env=installed.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield _ready(process, log)
    finally:
        process.terminate()
        try:
            process.wait(60)
        finally:
            process.kill()


def _ready(process: subprocess.Popen[bytes], log: Path) -> dict[str, str]:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text().splitlines():
            if '"event": "ready"' in line:
                fields = json.loads(line)
                return {name: fields[name] for name in ("ws", "wss", "http")}
        time.sleep(0.05)
    raise AssertionError(f"omega serve did not start: {log.read_text()}")


def _python(directory: Path, *arguments: str, program: str = sys.executable) -> str:
    done = subprocess.run(
        [program, *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return done.stdout
