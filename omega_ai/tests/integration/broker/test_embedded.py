"""The embedded broker: what it keeps, who may share it, and that its Valkey never outlives it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from omega_ai.core.clock import SystemClock
from omega_ai.data_feed.broker.base import BrokerUnreachable, Position, Publication
from omega_ai.data_feed.broker.embedded import EmbeddedBroker
from omega_ai.tests.integration.broker.support import (
    assert_unbroken,
    body,
    numbers,
    opened,
    started,
    until,
)

OWNER = """
import asyncio, sys
from pathlib import Path
from omega_ai.core.clock import SystemClock
from omega_ai.data_feed.broker.embedded import EmbeddedBroker

async def main():
    broker = EmbeddedBroker(Path(sys.argv[1]), clock=SystemClock())
    await broker.start()
    for n in range(1, 101):
        broker.publish("btc_price", b'{"type":"btc_price","n":%d}' % n)
    await broker.flush()
    print(broker.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def _embedded(directory: Path) -> EmbeddedBroker:
    return EmbeddedBroker(directory, clock=SystemClock())


def _gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def _listens_on_tcp(pid: int | None) -> bool:
    links = [str(file.readlink()) for file in Path(f"/proc/{pid}/fd").iterdir()]
    inodes = {link[8:-1] for link in links if link.startswith("socket:[")}
    assert inodes
    lines = [
        line for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()
    ]
    return bool(inodes & {line.split()[9] for line in lines})


def _killed_owner(directory: Path, before: str = "") -> int:
    """Run a process that publishes 1 to 100, kill -9 it, and return its Valkey's process id."""
    code = before + OWNER
    with subprocess.Popen([sys.executable, "-c", code, str(directory)], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        owner.kill()
    return pid


async def _publish(directory: Path, *what: int) -> Position:
    """Start, publish, stop; where the sequence is then."""
    async with started(_embedded(directory)) as broker:
        for n in what:
            broker.publish("btc_price", body(n))
        await broker.flush()
        return (await broker.history("btc_price")).position


async def test_history_and_seq_outlive_a_restart(tmp_path: Path) -> None:
    """The next run continues the sequence and can recover who was in the last one."""
    before = await _publish(tmp_path, 1, 2, 3)
    after = await _publish(tmp_path, 4)
    assert after == Position(before.epoch, 4)
    async with started(_embedded(tmp_path)) as broker:
        history = await broker.history("btc_price", Position(before.epoch, 1))
        assert history.whole
        assert numbers(history.publications) == [2, 3, 4]


async def test_the_directory_is_private_and_no_port_is_open(tmp_path: Path) -> None:
    """Mode 0700, a unix socket, and nothing on TCP."""
    directory = tmp_path / "new" / "state"
    broker = _embedded(directory)
    async with started(broker):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert not _listens_on_tcp(broker.pid)


async def test_a_long_path_gets_its_socket_elsewhere(tmp_path: Path) -> None:
    """A unix socket's path has at most 107 bytes; a directory's may have more."""
    directory = tmp_path / ("d" * 120)
    broker = _embedded(directory)
    async with started(broker):
        elsewhere = Path(broker.url.removeprefix("unix://").split("?")[0]).parent
        assert elsewhere != directory
        assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o700
        broker.publish("btc_price", body(1))
        await broker.flush()
    assert not elsewhere.exists()


async def test_it_starts_within_a_third_of_a_second(tmp_path: Path) -> None:
    """Nobody waits for it (the bound is loose: this machine may be busy)."""
    began = time.perf_counter()
    async with started(_embedded(tmp_path)):
        assert time.perf_counter() - began < 2.0


async def test_close_ends_valkey_and_leaves_it_in_order(tmp_path: Path) -> None:
    """The process is gone and the session is marked clean, so that even a reboot loses nothing."""
    broker = _embedded(tmp_path)
    async with started(broker):
        pid = broker.pid
        assert pid is not None
        assert json.loads((tmp_path / "session.json").read_text())["clean"] is False
    assert _gone(pid)
    assert json.loads((tmp_path / "session.json").read_text())["clean"] is True


async def test_a_second_one_on_the_same_directory_is_told_how_to_share(tmp_path: Path) -> None:
    """It names the process that holds the directory and the URL under which both can use it."""
    first = _embedded(tmp_path)
    async with started(first):
        with pytest.raises(BrokerUnreachable) as caught:
            await _embedded(tmp_path).start()
        assert f"process {os.getpid()}" in str(caught.value)
        assert first.url in str(caught.value)
        assert first.pid is not None
        seen: list[Publication] = []
        async with started(opened(first.url)) as second:
            await second.subscribe(["btc_price"], seen.append)
            first.publish("btc_price", body(1))
            await until(lambda: seen)
            second.publish("btc_price", body(2))
            await until(lambda: len(seen) == 2)
        assert_unbroken(seen)


async def test_a_killed_valkey_is_started_again_and_nothing_is_missing(tmp_path: Path) -> None:
    """kill -9 of Valkey amid publication: same epoch, every message once, in order."""
    broker = _embedded(tmp_path)
    async with started(broker):
        seen: list[Publication] = []
        await broker.subscribe(["btc_price"], seen.append)
        n = 0
        for _ in range(2):
            for _ in range(50):
                for _ in range(10):
                    n += 1
                    broker.publish("btc_price", body(n))
                await asyncio.sleep(0)
            assert broker.pid is not None
            os.kill(broker.pid, signal.SIGKILL)
            await until(lambda: not broker.status().connected)
            await until(lambda: broker.status().connected)
        await broker.flush()
        await until(lambda: len(seen) >= n)
        assert numbers(seen) == list(range(1, n + 1))
        assert_unbroken(seen)


async def test_kill_of_the_owner_ends_valkey_and_loses_nothing(tmp_path: Path) -> None:
    """kill -9 of our process: its Valkey ends with it, and the next run continues the sequence."""
    pid = _killed_owner(tmp_path)
    # Before anything is started there again, which would end a Valkey that was left over.
    await until(lambda: _gone(pid))
    position = await _publish(tmp_path, 101)
    assert position.seq == 101


async def test_a_leftover_valkey_is_replaced(tmp_path: Path) -> None:
    """Where the kernel does not end it with its owner, the next run ends it and takes over its data."""
    pid = _killed_owner(tmp_path, before="import sys; sys.platform = 'other'\n")
    assert not _gone(pid)
    position = await _publish(tmp_path, 101)
    assert position.seq == 101
    assert _gone(pid)


@pytest.mark.parametrize(("clean", "kept"), [(True, True), (False, False)])
async def test_data_from_before_a_reboot_counts_only_after_an_orderly_end(
    tmp_path: Path, clean: bool, kept: bool
) -> None:
    """What the kernel had not written is gone with the machine; a seq might be used again, so: new epoch."""
    before = await _publish(tmp_path, 1, 2)
    session = json.loads((tmp_path / "session.json").read_text())
    (tmp_path / "session.json").write_text(json.dumps(session | {"boot": "another", "clean": clean}))
    after = await _publish(tmp_path, 3)
    assert (after == Position(before.epoch, 3)) is kept
    assert kept or (after.epoch != before.epoch and after.seq == 1)


async def test_unreadable_data_is_put_aside(tmp_path: Path) -> None:
    """The feed starts with a new epoch, and the data is kept for those who wish to look."""
    before = await _publish(tmp_path, 1, 2)
    for file in (tmp_path / "appendonlydir").iterdir():
        file.write_bytes(b"rubbish\n" * 10)
    after = await _publish(tmp_path, 3)
    assert after.epoch != before.epoch
    assert after.seq == 1
    assert (tmp_path / "appendonlydir.unreadable").exists()


async def test_a_directory_that_cannot_be_used_is_a_clear_error(tmp_path: Path) -> None:
    """A file where the directory should be."""
    (tmp_path / "file").write_text("")
    with pytest.raises(BrokerUnreachable, match="--broker embedded:DIRECTORY"):
        await _embedded(tmp_path / "file").start()


async def test_no_binary_for_the_platform_is_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names what works without one."""
    monkeypatch.setattr("platform.machine", lambda: "pdp11")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BrokerUnreachable, match="--broker memory"):
        await _embedded(tmp_path).start()
