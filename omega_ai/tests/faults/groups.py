"""A Sentinel group and a Cluster under faults: who takes the writes is killed and paused, another takes over.

Replication is asynchronous: a primary that dies may take with it what it has acknowledged, and no feed can
mend that (it begins a new epoch then, which tests of their own look at). So that every loss seen here is
ours, a primary is killed once its replicas have all that it has acknowledged; writes are held meanwhile.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from itertools import cycle

from omega_ai.tests.faults.stage import Redis, SingleRedis
from omega_ai.tests.valkey import ValkeyProcess
from omega_ai.tests.valkey_groups import ClusterGroup, SentinelGroup

CHANNELS = ("trades", "broadcast", "btc_price")
HELD_MILLISECONDS = 20_000
"""Ended by the kill; long, since on a busy machine anything may take a second."""
FOLLOW_SECONDS = 2.0
DOWN_MILLISECONDS = 5000
"""Silence after which a primary counts as down: longer than a busy machine keeps anybody waiting."""
FAILOVER_SECONDS = 30.0


class _GroupRedis:
    """What both have in common. ``owner`` finds who takes the writes of a channel."""

    longest_pause = 0.3 * DOWN_MILLISECONDS / 1000
    """A primary that hangs for longer is followed by another, and then goes on answering for a while."""

    def __init__(self) -> None:
        self._down: ValkeyProcess | None = None
        self._paused: ValkeyProcess | None = None
        self._resumed: ValkeyProcess | None = None
        self._turns = cycle(CHANNELS)

    def owner(self, channel: str) -> ValkeyProcess | None:
        """None while nobody does."""
        raise NotImplementedError

    def primaries(self) -> list[ValkeyProcess]:
        """Everybody that takes writes."""
        found = {id(node): node for channel in CHANNELS if (node := self.owner(channel)) is not None}
        return list(found.values())

    def kill(self) -> None:
        """kill -9 of a primary, of another channel each time."""
        if self._down is not None or (primary := self.owner(next(self._turns))) is None:
            return
        with contextlib.suppress(OSError):
            primary.command("CLIENT", "PAUSE", HELD_MILLISECONDS, "WRITE")
            deadline = time.monotonic() + FOLLOW_SECONDS
            while not _followed(primary):
                if time.monotonic() > deadline:
                    primary.command("CLIENT", "UNPAUSE")
                    return
                time.sleep(0.01)
            self._down = primary
            primary.kill()

    def restart(self) -> None:
        """Whom others have followed comes back as a replica."""
        down, self._down = self._down, None
        if down is None:
            return
        # Until another has taken over it would take writes again, acknowledge them, and then forget them.
        deadline = time.monotonic() + FAILOVER_SECONDS
        while time.monotonic() < deadline and any(self.owner(c) in (None, down) for c in CHANNELS):
            time.sleep(0.05)
        self._prepare(down)
        down.start()

    def _prepare(self, down: ValkeyProcess) -> None:
        """Before it comes back."""

    def pause(self) -> None:
        """SIGSTOP of a primary."""
        if self._down is None and (primary := self.owner(next(self._turns))) is not None:
            self._paused = primary
            primary.pause()

    def resume(self) -> None:
        """SIGCONT."""
        paused, self._paused = self._paused, None
        if paused is not None:
            paused.resume()
            self._resumed = paused

    def was_replaced(self) -> bool:
        """Whether another has taken over from the one that was resumed last; looks for a while."""
        resumed, self._resumed = self._resumed, None
        if resumed is None:
            return False
        time.sleep(1.5 * DOWN_MILLISECONDS / 1000)
        return all(primary is not resumed for primary in self.primaries())

    def command(self, *words: str) -> bytes:
        """To everybody that takes writes; the last answer."""
        answer = b""
        for primary in self.primaries():
            answer = primary.command(*words)
        return answer

    def position(self, channel: str) -> tuple[bytes, int] | None:
        """The channel's epoch and seq."""
        if (primary := self.owner(channel)) is None:
            return None
        words = primary.command("HMGET", f"omega:{{{channel}}}:meta", "epoch", "seq").split(b"\r\n")
        return (words[2], int(words[4])) if len(words) > 4 else None


class SentinelRedis(_GroupRedis):
    """A primary, two replicas, three sentinels."""

    def __init__(self) -> None:
        super().__init__()
        # A primary that nobody follows any more refuses what is written to it: docs/broker.md.
        self._group = SentinelGroup(
            replicas=2, down_milliseconds=DOWN_MILLISECONDS, options={"min-replicas-to-write": "1"}
        ).__enter__()

    @property
    def url(self) -> str:
        # True here: whoever takes over has all that was acknowledged.
        return self._group.url + "?durable=yes"

    def owner(self, channel: str) -> ValkeyProcess | None:
        with contextlib.suppress(AssertionError, StopIteration, IndexError, ValueError):
            primary = self._group.primary()
            if primary.runs:
                return primary
        return None

    def _prepare(self, down: ValkeyProcess) -> None:
        """It is to follow from the start: the sentinels see to that as well, but only after ten seconds."""
        primary = self.owner("")
        if primary is None or primary is down:
            down.configure("replicaof", None)
        else:
            down.configure("replicaof", f"127.0.0.1 {primary.port}")

    def close(self) -> None:
        self._group.close()


class ClusterRedis(_GroupRedis):
    """Three primaries that share the channels, each with a replica."""

    def __init__(self) -> None:
        super().__init__()
        self._group = ClusterGroup(replicas=True, down_milliseconds=DOWN_MILLISECONDS).__enter__()

    @property
    def url(self) -> str:
        # True here: whoever takes over has all that was acknowledged.
        return self._group.url + "?durable=yes"

    def owner(self, channel: str) -> ValkeyProcess | None:
        for node in self._group.processes:
            if not node.runs:
                continue
            with contextlib.suppress(OSError):
                answer = node.command("HMGET", f"omega:{{{channel}}}:meta", "epoch")
                if answer.startswith(b"*"):
                    return node
                if answer.startswith(b"-MOVED"):
                    port = int(answer.split()[2].rpartition(b":")[2])
                    found = next((n for n in self._group.processes if n.port == port), None)
                    return found if found is not None and found.runs else None
        return None

    def close(self) -> None:
        self._group.close()


REDISES: dict[str, Callable[[], Redis]] = {
    "single": SingleRedis,
    "sentinel": SentinelRedis,
    "cluster": ClusterRedis,
}
"""What ``--redis`` may be."""


def _followed(primary: ValkeyProcess) -> bool:
    """Whether at least one replica is there, and all that are have everything."""
    info = primary.command("INFO", "replication").decode()
    facts = dict(line.split(":", 1) for line in info.split("\r\n") if ":" in line)
    replicas = [
        value for name, value in facts.items() if name.startswith("slave") and "state=online" in value
    ]
    return bool(replicas) and all(f"offset={facts['master_repl_offset']}," in one for one in replicas)
