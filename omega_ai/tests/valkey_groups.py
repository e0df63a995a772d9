"""Several Valkeys that work together, on loopback: a primary with replicas and sentinels, and a cluster."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from omega_ai.data_feed.broker.redis_place import SLOTS, slot_of
from omega_ai.tests.valkey import ValkeyProcess, _free_port

NAME = "omega"
DOWN_MILLISECONDS = 700
"""Silence after which a sentinel or a node counts another as down: short, for tests."""


class SentinelProcess(ValkeyProcess):
    """A sentinel; it writes what it learns into its configuration file."""

    def __init__(
        self, primary: ValkeyProcess, quorum: int, down_milliseconds: int = DOWN_MILLISECONDS
    ) -> None:
        super().__init__(tcp=True)
        secret = f"sentinel auth-pass {NAME} {primary.password}\n" if primary.password else ""
        (self.directory / "sentinel.conf").write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {self.directory}\n"
            f"sentinel monitor {NAME} 127.0.0.1 {primary.port} {quorum}\n{secret}"
            f"sentinel down-after-milliseconds {NAME} {down_milliseconds}\n"
            f"sentinel failover-timeout {NAME} 4000\nsentinel parallel-syncs {NAME} 1\n"
        )

    def _arguments(self) -> list[str]:
        return [str(self._binary), str(self.directory / "sentinel.conf"), "--sentinel"]


class Group:
    """A context manager over processes; none is left behind."""

    def __init__(self) -> None:
        self.processes: list[ValkeyProcess] = []

    def _add(self, process: ValkeyProcess) -> ValkeyProcess:
        self.processes.append(process)
        return process.start()

    def _make(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """End all of them."""
        for process in self.processes:
            process.close()

    def __enter__(self) -> Self:
        try:
            self._make()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class SentinelGroup(Group):
    """One primary, ``replicas``, three sentinels with a quorum of two."""

    def __init__(
        self,
        *,
        replicas: int = 2,
        password: str | None = None,
        down_milliseconds: int = DOWN_MILLISECONDS,
        options: dict[str, str] | None = None,
    ) -> None:
        super().__init__()
        self._down_milliseconds = down_milliseconds
        self._options = options or {}
        self._replicas = replicas
        self._password = password
        self.servers: list[ValkeyProcess] = []
        self.sentinels: list[SentinelProcess] = []

    @property
    def url(self) -> str:
        """For ``open_broker``."""
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        secret = f":{self._password}@" if self._password else ""
        return f"redis+sentinel://{secret}{hosts}/{NAME}"

    def primary(self) -> ValkeyProcess:
        """Whom the first sentinel that answers calls so."""
        for sentinel in self.sentinels:
            with contextlib.suppress(OSError, AssertionError):
                reply = sentinel.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME).split(b"\r\n")
                port = int(reply[4])
                return next(server for server in self.servers if server.port == port)
        raise AssertionError("no sentinel answers")

    def wait_for_another(self, old: ValkeyProcess, seconds: float = 15) -> ValkeyProcess:
        """The primary after a failover."""
        return _wait(lambda: (p := self.primary()) is not old and p, seconds, "no failover took place")

    def _make(self) -> None:
        options = {"repl-diskless-sync-delay": "0", "repl-ping-replica-period": "1", **self._options}
        if self._password:
            options["masterauth"] = self._password
        for _ in range(1 + self._replicas):
            server = ValkeyProcess(tcp=True, persistent=True, password=self._password, options=options)
            self.servers.append(server)
            self._add(server)
        primary, *others = self.servers
        for server in others:
            server.command("REPLICAOF", "127.0.0.1", str(primary.port))
        _wait(lambda: _replicas(primary) == self._replicas, 15, "the replicas do not follow")
        for _ in range(3):
            sentinel = SentinelProcess(primary, 2, self._down_milliseconds)
            self.sentinels.append(sentinel)
            self._add(sentinel)
        for sentinel in self.sentinels:
            _wait(lambda s=sentinel: _known(s) == (2, self._replicas), 20, "the sentinels do not meet")


class ClusterGroup(Group):
    """Three primaries that share the slots, each with a replica if ``replicas``."""

    def __init__(self, *, replicas: bool = False, down_milliseconds: int = DOWN_MILLISECONDS) -> None:
        super().__init__()
        self._down_milliseconds = down_milliseconds
        self._with_replicas = replicas
        self.primaries: list[ValkeyProcess] = []
        self.replicas: list[ValkeyProcess] = []

    @property
    def url(self) -> str:
        """For ``open_broker``."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.primaries)

    def owner(self, channel: str) -> ValkeyProcess:
        """The primary that has ``channel`` as the cluster was made."""
        slot = slot_of(channel)
        return next(
            node for node, (low, high) in zip(self.primaries, _shares(), strict=True) if low <= slot <= high
        )

    def _make(self) -> None:
        for _ in range(6 if self._with_replicas else 3):
            options = {
                "cluster-enabled": "yes",
                "cluster-port": str(_free_port()),
                "cluster-node-timeout": str(2 * self._down_milliseconds),
                "repl-diskless-sync-delay": "0",
            }
            node = ValkeyProcess(tcp=True, persistent=True, options=options)
            (self.primaries if len(self.primaries) < 3 else self.replicas).append(node)
            self._add(node)
        first = self.primaries[0]
        for node, (low, high) in zip(self.primaries, _shares(), strict=True):
            node.command("CLUSTER", "ADDSLOTSRANGE", low, high)
        for number, node in enumerate(self.processes, start=1):
            node.command("CLUSTER", "SET-CONFIG-EPOCH", number)
            if node is not first:
                bus = node._options["cluster-port"]
                first.command("CLUSTER", "MEET", "127.0.0.1", node.port, bus)
        for node in self.processes:
            _wait(lambda n=node: _nodes(n) == len(self.processes), 15, "the nodes do not meet")
        for replica, primary in zip(self.replicas, self.primaries, strict=False):
            name = primary.command("CLUSTER", "MYID").split(b"\r\n")[1]
            _wait(
                lambda r=replica, name=name: r.command("CLUSTER", "REPLICATE", name).startswith(b"+"),
                15,
                "a replica does not follow",
            )
        for node in self.processes:
            _wait(
                lambda n=node: b"cluster_state:ok" in n.command("CLUSTER", "INFO"),
                15,
                "the cluster is not ok",
            )
        if self.replicas:
            for primary in self.primaries:
                _wait(lambda p=primary: _replicas(p) == 1, 15, "the replicas do not follow")


def installed_redis() -> Path | None:
    """A Redis server that the system has, if it is one and not Valkey."""
    import shutil

    found = shutil.which("redis-server")
    return Path(found) if found else None


def _shares() -> list[tuple[int, int]]:
    third = SLOTS // 3
    return [(0, third - 1), (third, 2 * third - 1), (2 * third, SLOTS - 1)]


def _replicas(server: ValkeyProcess) -> int:
    return server.command("INFO", "replication").count(b"state=online")


def _known(sentinel: ValkeyProcess) -> tuple[int, int]:
    words = sentinel.command("SENTINEL", "MASTER", NAME).split(b"\r\n")
    facts = dict(zip(words[2::4], words[4::4], strict=False))
    return int(facts[b"num-other-sentinels"]), int(facts[b"num-slaves"])


def _nodes(node: ValkeyProcess) -> int:
    return node.command("CLUSTER", "NODES").count(b"connected\n") + node.command("CLUSTER", "NODES").count(
        b"connected "
    )


def _wait(condition, seconds: float, text: str):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, KeyError, IndexError):
            if answer := condition():
                return answer
        time.sleep(0.03)
    raise AssertionError(text)
