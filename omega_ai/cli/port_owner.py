"""Who listens on a port of this machine, where the system says so (Linux, in ``/proc``)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_LISTEN = "0A"  # the state TCP_LISTEN, in /proc/net/tcp

PROC = Path("/proc")


class PortOwner(NamedTuple):
    """The process that has the port. ``command`` is its name and first argument, as far as can be seen."""

    pid: int
    command: str

    def __str__(self) -> str:
        return f"{self.command} (pid {self.pid})"


def owner_of(port: int, proc: Path = PROC) -> PortOwner | None:
    """The process that listens on TCP ``port``.

    None where nobody does, where there is no ``/proc``, and where the process is another user's.
    """
    inodes = _listening_inodes(port, proc)
    if not inodes:
        return None
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for directory in proc.glob("[0-9]*"):
        if any(link in wanted for link in _links(directory / "fd")):
            return PortOwner(int(directory.name), _command(directory))
    return None


def _links(directory: Path) -> Iterator[str]:
    try:
        for link in directory.iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed since it was listed
                yield str(link.readlink())
    except OSError:  # the process ended, or is not ours to see
        return


def _listening_inodes(port: int, proc: Path) -> set[str]:
    inodes: set[str] = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(fields[9])
    return inodes


def _command(process: Path) -> str:
    try:
        arguments = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return "a process"
    names = [Path(argument).name for argument in arguments[:2] if argument and not argument.startswith("-")]
    return " ".join(names)[:60] or "a process"
