"""Who has a port."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from omega_ai.cli.port_owner import owner_of

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has /proc")


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_listener_is_found(family: socket.AddressFamily, address: str) -> None:
    """By its process id and its command, over IPv4 and IPv6."""
    with socket.socket(family) as listener:
        listener.bind((address, 0))
        listener.listen()
        owner = owner_of(listener.getsockname()[1])
    assert owner is not None
    assert owner.pid == os.getpid()
    assert str(owner).endswith(f"(pid {os.getpid()})")


def test_port_that_is_only_bound_has_no_listener() -> None:
    """Nor one that nobody has."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert owner_of(bound.getsockname()[1]) is None


def test_process_that_may_not_be_seen_is_no_error(tmp_path: Path) -> None:
    """Another user's process, or one that has just ended, is passed over."""
    (tmp_path / "net").mkdir()
    fields = "0: 0100007F:2245 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4242 1"
    (tmp_path / "net" / "tcp").write_text(f"header\n   {fields}\n")
    (tmp_path / "7").mkdir()  # without fd: as if it ended while it was looked at
    assert owner_of(0x2245, tmp_path) is None
    (tmp_path / "8" / "fd").mkdir(parents=True)
    (tmp_path / "8" / "fd" / "3").symlink_to("socket:[4242]")
    assert owner_of(0x2245, tmp_path) == (8, "a process")
    (tmp_path / "8" / "cmdline").write_bytes(b"/usr/bin/python3\0-m\0http.server\0")
    assert owner_of(0x2245, tmp_path) == (8, "python3")


def test_machine_without_proc_knows_nothing(tmp_path: Path) -> None:
    """macOS, for one."""
    assert owner_of(80, tmp_path) is None
