"""A real nginx and a real HAProxy, with the configuration of ``deploy/``, but for ports, names and times."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from omega_ai.tests.certificates import Authority
from omega_ai.tests.conftest import ROOT

NAME = "prices.example.org"
START_SECONDS = 20.0
STOP_SECONDS = 20.0


class Proxy:
    """One proxy in front of feeds; a context manager that leaves no process behind.

    ``port`` takes TLS, ``plain_port`` does not; both lead to the feeds at ``/ws`` and to the page at ``/``.

    Args:
        directory: for its files.
        feeds: WebSocket addresses of the feeds, and ``pages`` the HTTP addresses.
        silence: seconds after which it cuts a connection on which nothing was sent.
        last: seconds for which connections outlive a reload.
    """

    program = ""

    def __init__(
        self, directory: Path, feeds: Sequence[str], pages: Sequence[str], *, silence: int = 60, last: int = 1
    ) -> None:
        self.directory = directory
        self.feeds = [urlsplit(url).port or 0 for url in feeds]
        self.pages = [urlsplit(url).port or 0 for url in pages]
        self.silence = silence
        self.last = last
        authority = Authority()
        self.ca = authority.write(directory)
        issued = authority.issue(names=(NAME, "localhost"))
        self.certificate, self.key = issued.write(directory, "proxy")
        self.both = issued.write_both(directory / "both.pem")
        # Bound but not listening: nobody else is given these ports until the proxy binds them too.
        self._held = [_hold(), _hold()]
        self.port, self.plain_port = (sock.getsockname()[1] for sock in self._held)
        self.configuration = directory / "proxy.conf"
        self.configuration.write_text(self.text())
        self._process: subprocess.Popen[bytes] | None = None

    def text(self) -> str:
        """The whole configuration."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """How it is started in the foreground."""
        raise NotImplementedError

    def check(self) -> str:
        """What the proxy itself says of its configuration; raises if it would not start with it."""
        raise NotImplementedError

    def reload(self) -> None:
        """As an administrator would; returns when the new one listens."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._start(self.command())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process, self._process = self._process, None
        for sock in self._held:
            sock.close()
        if process is not None:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self, command: list[str]) -> None:
        log = (self.directory / "proxy.log").open("ab")
        with log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            if all(_answers(port) for port in (self.port, self.plain_port)):
                return
            time.sleep(0.02)
        raise AssertionError(f"{self.program} did not start: {self.log()}")

    def log(self) -> str:
        """What it said."""
        return (self.directory / "proxy.log").read_text(errors="replace")


class Nginx(Proxy):
    """nginx with ``deploy/nginx/omega.conf``."""

    program = "nginx"

    def text(self) -> str:
        text = (ROOT / "deploy" / "nginx" / "omega.conf").read_text()
        # Bound to addresses, since the other one is a test's only by chance.
        text = _swap(text, "listen 443 ssl;", f"listen 127.0.0.1:{self.port} ssl;")
        text = _swap(text, "listen [::]:443 ssl;", f"listen 127.0.0.1:{self.plain_port};")
        text = _swap(text, "/etc/omega/tls/fullchain.pem", str(self.certificate))
        text = _swap(text, "/etc/omega/tls/privkey.pem", str(self.key))
        servers = "".join(
            f"    server 127.0.0.1:{port} max_fails=2 fail_timeout=5s;\n" for port in self.feeds
        )
        text = re.sub(r"    server 127\.0\.0\.1:8765 .*\n.*8865.*\n", servers, text)
        text = _swap(text, "127.0.0.1:8767", f"127.0.0.1:{self.pages[0]}")
        text = _swap(text, "proxy_read_timeout 60s", f"proxy_read_timeout {self.silence}s")
        assert "8765" not in text.replace(str(self.port), "")
        user = "user root;\n" if os.geteuid() == 0 else ""
        paths = "".join(
            f"{kind}_temp_path {self.directory}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        return (
            f"{user}worker_processes 1;\ndaemon off;\npid {self.directory}/nginx.pid;\nerror_log stderr;\n"
            f"worker_shutdown_timeout {self.last}s;\nevents {{ worker_connections 512; }}\n"
            f"http {{\naccess_log off;\n{paths}{text}\n}}\n"
        )

    def command(self) -> list[str]:
        return [str(shutil.which("nginx")), "-p", str(self.directory), "-c", str(self.configuration)]

    def check(self) -> str:
        return _checked([*self.command(), "-t"])

    def reload(self) -> None:
        assert self._process is not None
        before = _children(self._process.pid)
        self._process.send_signal(signal.SIGHUP)
        _until(lambda: bool(_children(self._process.pid if self._process else 0) - before), "a new worker")


class Haproxy(Proxy):
    """HAProxy with ``deploy/haproxy/haproxy.cfg``."""

    program = "haproxy"

    def text(self) -> str:
        text = (ROOT / "deploy" / "haproxy" / "haproxy.cfg").read_text()
        text = _swap(
            text,
            "bind :443 ssl crt /etc/omega/tls/haproxy.pem alpn http/1.1",
            f"bind 127.0.0.1:{self.port} ssl crt {self.both} alpn http/1.1\n"
            f"    bind 127.0.0.1:{self.plain_port}",
        )
        text = _swap(text, "maxconn 200000", "maxconn 500")
        text = _swap(text, "hard-stop-after 5m", f"hard-stop-after {self.last}s")
        text = _swap(text, "timeout tunnel 60s", f"timeout tunnel {self.silence}s")
        text = _swap(text, "timeout client-fin 5s", "timeout client-fin 1s")
        servers = "".join(
            f"    server feed{number} 127.0.0.1:{feed} check port {page} inter 100ms fall 2 rise 1\n"
            for number, (feed, page) in enumerate(zip(self.feeds, self.pages, strict=True), 1)
        )
        text = re.sub(r"    server feed1 .*\n.*feed2.*\n", servers, text)
        return _swap(text, "server page1 127.0.0.1:8767", f"server page1 127.0.0.1:{self.pages[0]}")

    def command(self) -> list[str]:
        return [str(shutil.which("haproxy")), "-db", "-f", str(self.configuration)]

    def check(self) -> str:
        return _checked([*self.command(), "-c"])

    def reload(self) -> None:
        old = self._process
        assert old is not None
        self._start([*self.command(), "-sf", str(old.pid)])
        old.wait(STOP_SECONDS)


def _swap(text: str, old: str, new: str) -> str:
    assert old in text, f"the configuration has no {old!r} any more"
    return text.replace(old, new)


def _checked(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def _hold() -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    return sock


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _children(pid: int) -> set[str]:
    try:
        return set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    except OSError:
        return set()


def _until(what: object, name: str) -> None:
    assert callable(what)
    deadline = time.monotonic() + START_SECONDS
    while not what():
        assert time.monotonic() < deadline, f"there is no {name}"
        time.sleep(0.02)
