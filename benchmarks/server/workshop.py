"""What is needed besides this project, made once in a cache directory: the native load client and floor, the
rivals at pinned versions, and a certificate. What cannot be had is left out, and why is kept.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from platformdirs import user_cache_path

from omega_ai.data_feed.websocket.development_certificate import development_certificate

HERE = Path(__file__).parent
NATIVE = HERE.parent / "native"
RIVALS = HERE / "rivals"
_BUILD_SECONDS = 300


class Unavailable(Exception):
    """Something cannot be made here; the text says why."""


class Workshop:
    """Makes and finds the parts. ``say`` is told what takes time.

    ``missing`` maps the name of what cannot be had to the reason.
    """

    def __init__(self, cache: Path | None, say: Callable[[str], None]) -> None:
        self.cache = cache or user_cache_path("omega-btc-ai") / "benchmarks"
        self.cache.mkdir(parents=True, exist_ok=True)
        self.missing: dict[str, str] = {}
        self.features: set[str] = set()
        """What the native programs were made with: ``tls``, ``deflate``."""
        self._say = say

    def prepare(self, *, python: bool, javascript: bool) -> None:
        """Make everything; raises ``Unavailable`` if there is no C compiler, without which nothing runs."""
        self._natives()
        paths = development_certificate(self.cache / "tls", now=datetime.now(UTC))
        self.cert, self.key = paths.certificate, paths.key
        for wanted, name, make in (
            (python, "python", self._python_rivals),
            (javascript, "node", self._javascript_rivals),
        ):
            if wanted:
                try:
                    make()
                except Unavailable as reason:
                    self.missing[name] = str(reason)

    # Where things are

    def native(self, name: str) -> Path:
        """A native program: ``load`` or ``floor``."""
        return self.cache / "native" / name

    @property
    def python(self) -> Path:
        """The interpreter of the environment that holds the Python rivals."""
        return self.cache / "python" / "bin" / "python"

    @property
    def node_modules(self) -> Path:
        """Where npm put the JavaScript rivals."""
        return self.cache / "node" / "node_modules"

    def bun(self) -> Path | None:
        """A Bun that runs on this machine, if one of those installed does."""
        for binary in sorted(self.node_modules.glob("@oven/bun-*/bin/bun")):
            if _runs([str(binary), "--version"]):
                return binary
        return None

    # How they are made

    def _natives(self) -> None:
        compiler = next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)
        if compiler is None:
            raise Unavailable(
                "no C compiler: install gcc or clang (Debian: apt install gcc libssl-dev zlib1g-dev)"
            )
        directory = self.cache / "native"
        directory.mkdir(exist_ok=True)
        for feature, header, flags in (
            ("tls", "openssl/ssl.h", ["-DWITH_TLS", "-lssl", "-lcrypto"]),
            ("deflate", "zlib.h", ["-DWITH_ZLIB", "-lz"]),
        ):
            if _compiles(compiler, header, flags, directory):
                self.features.add(feature)
            else:
                package = {"tls": "libssl-dev", "deflate": "zlib1g-dev"}[feature]
                self.missing[feature] = f"<{header}> is not installed (Debian: apt install {package})"
        flags = ["-DWITH_TLS"] * ("tls" in self.features) + ["-DWITH_ZLIB"] * ("deflate" in self.features)
        libraries = ["-lssl", "-lcrypto"] * ("tls" in self.features) + ["-lz"] * ("deflate" in self.features)
        for name in ("load", "floor"):
            source = NATIVE / f"{name}.c"
            mark = _digest([source, NATIVE / "common.h"], " ".join([compiler, *flags]))
            if not _is_made(directory / f"{name}.made", mark):
                self._say(f"compiling {source.name}")
                command = [compiler, "-O2", *flags, "-o", str(directory / name), str(source), *libraries]
                _run(command, f"{source.name} does not compile")
                (directory / f"{name}.made").write_text(mark)

    def _python_rivals(self) -> None:
        requirements = RIVALS / "requirements.txt"
        mark = _digest([requirements], sys.version)
        made = self.cache / "python.made"
        if _is_made(made, mark):
            return
        self._say("installing the Python rivals")
        shutil.rmtree(self.cache / "python", ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(self.cache / "python")], "no environment can be made")
        install = [str(self.python), "-m", "pip", "install", "--quiet", "--only-binary", ":all:"]
        _run([*install, "-r", str(requirements)], "the Python rivals cannot be installed")
        made.write_text(mark)

    def _javascript_rivals(self) -> None:
        npm = shutil.which("npm")
        if npm is None:
            raise Unavailable("npm is not installed")
        manifest = RIVALS / "package.json"
        made = self.cache / "node.made"
        mark = _digest([manifest], npm)
        if _is_made(made, mark):
            return
        self._say("installing the JavaScript rivals")
        directory = self.cache / "node"
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        shutil.copy(manifest, directory)
        _run(
            [npm, "install", "--prefix", str(directory), "--ignore-scripts", "--no-audit", "--no-fund"],
            "the JavaScript rivals cannot be installed",
        )
        made.write_text(mark)


def _digest(files: Sequence[Path], more: str) -> str:
    digest = hashlib.sha256(more.encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _is_made(mark_file: Path, mark: str) -> bool:
    return mark_file.exists() and mark_file.read_text() == mark


def _compiles(compiler: str, header: str, flags: list[str], directory: Path) -> bool:
    probe = directory / "probe.c"
    probe.write_text(f"#include <{header}>\nint main(void) {{ return 0; }}\n")
    return _runs([compiler, str(probe), "-o", str(directory / "probe"), *flags])


def _runs(command: list[str]) -> bool:
    try:
        return (
            subprocess.run(command, capture_output=True, timeout=_BUILD_SECONDS, check=False).returncode == 0
        )
    except (OSError, subprocess.TimeoutExpired):
        return False


def _run(command: list[str], failure: str) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_BUILD_SECONDS, check=False, env={**os.environ}
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{failure}: {error}") from None
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
        raise Unavailable(f"{failure}: {last[:300]}")
