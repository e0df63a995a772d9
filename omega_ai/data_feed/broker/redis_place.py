"""Which server takes the writes: the one that was named, or the one that Sentinel or the cluster points to.

=============================================  ===========================================================
``redis://host:6379/0``                        that server
``redis+sentinel://h1:26379,h2:26379/name/0``  the primary that Sentinel knows as ``name``
``redis+cluster://h1:6379,h2:6379``            each channel at the node that has its hash slot
=============================================  ===========================================================

``rediss+sentinel://`` and ``rediss+cluster://`` are the same with TLS. User and password are those of the
data servers; those of the sentinels are the options ``sentinel_username`` and ``sentinel_password``.

Sources: "Guidelines for Redis clients with support for Redis Sentinel", "Redis cluster specification"
(redis.io/docs).
"""

from __future__ import annotations

import asyncio
import binascii
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit

import hiredis

from omega_ai.data_feed.broker.base import BrokerUnreachable
from omega_ai.data_feed.broker.redis_address import InvalidAddress, RedisAddress, parse_address
from omega_ai.data_feed.broker.redis_connection import ConnectionLost, open_connection

SLOTS = 16384
_SENTINEL_PORT = 26379
_REDIS_PORT = 6379


class Place(Protocol):
    """Where the server that takes the writes is now."""

    @property
    def address(self) -> RedisAddress:
        """The last one found; for texts."""
        ...

    async def find(self, timeout: float) -> RedisAddress:  # noqa: ASYNC109 - of each question
        """Ask.

        Raises:
            BrokerUnreachable: nobody who knows answers.
        """
        ...

    async def moved(self, address: RedisAddress, timeout: float) -> bool:  # noqa: ASYNC109 - of each question
        """Whether it seems to be another than ``address``; costs little. Never raises."""
        ...


class Fixed:
    """One server."""

    def __init__(self, address: RedisAddress) -> None:
        self.address = address

    async def find(self, timeout: float) -> RedisAddress:  # noqa: ARG002, ASYNC109 - nobody is asked
        """It."""
        return self.address

    async def moved(self, address: RedisAddress, timeout: float) -> bool:  # noqa: ARG002, ASYNC109
        """Never."""
        return False


class Sentinels:
    """The primary of ``name``, as a majority of ``sentinels`` tells, the newest configuration first."""

    def __init__(
        self, name: str, sentinels: Sequence[RedisAddress], template: RedisAddress, rng: random.Random
    ) -> None:
        self._name = name
        self._sentinels = sentinels
        self._rng = rng
        self.address = template

    async def find(self, timeout: float) -> RedisAddress:  # noqa: ASYNC109 - of each question
        """See ``Place``."""
        asking = {asyncio.ensure_future(self._ask(sentinel, timeout)) for sentinel in self._sentinels}
        answers: list[tuple[int, str, int]] = []
        errors: list[str] = []
        try:
            while asking and len(answers) <= len(self._sentinels) // 2:
                done, asking = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    if (error := task.exception()) is None:
                        answers.append(task.result())
                    elif isinstance(error, (BrokerUnreachable, ConnectionLost, hiredis.ReplyError)):
                        errors.append(str(error))
                    else:
                        raise error
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        if not answers:
            raise BrokerUnreachable(
                f"no sentinel can tell the primary {self._name!r}: {errors[0]}. Check the names in the URL, "
                "redis+sentinel://HOST:PORT,HOST:PORT/NAME"
            )
        _, host, port = max(answers)
        self.address = replace(self.address, host=host, port=port)
        return self.address

    async def moved(self, address: RedisAddress, timeout: float) -> bool:  # noqa: ASYNC109 - of each question
        """Ask one of them."""
        try:
            _, host, port = await self._ask(self._rng.choice(list(self._sentinels)), timeout)
        except (BrokerUnreachable, ConnectionLost, hiredis.ReplyError):
            return False
        return (host, port) != (address.host, address.port)

    async def _ask(self, sentinel: RedisAddress, timeout: float) -> tuple[int, str, int]:  # noqa: ASYNC109
        reply = await _question(sentinel, timeout, "SENTINEL", "MASTER", self._name)
        facts = {key.decode(): value.decode() for key, value in zip(reply[::2], reply[1::2], strict=False)}
        return int(facts.get("config-epoch", "0")), facts["ip"], int(facts["port"])


class Cluster:
    """The nodes of a cluster, as far as they are known: it begins with those named, and learns the others."""

    def __init__(self, seeds: Sequence[RedisAddress], rng: random.Random) -> None:
        self.seeds = list(seeds)
        self._nodes = list(seeds)
        self._rng = rng

    async def slots(self, timeout: float) -> list[tuple[int, int, RedisAddress]]:  # noqa: ASYNC109
        """First and last slot, and the primary that has them; from a node chosen at random, or the next.

        Raises:
            BrokerUnreachable: no node answers.
        """
        errors: list[str] = []
        for node in [*self._rng.sample(self._nodes, len(self._nodes)), *self.seeds]:
            try:
                reply = await _question(node, timeout, "CLUSTER", "SLOTS")
            except (BrokerUnreachable, ConnectionLost) as error:
                errors.append(str(error))
                continue
            except hiredis.ReplyError as error:
                if "cluster support disabled" in str(error):
                    raise BrokerUnreachable(
                        f"Redis at {node} is no node of a cluster: use redis://{node.host}:{node.port}"
                    ) from None
                errors.append(str(error))
                continue
            ranges = [(int(low), int(high), _node(node, first)) for low, high, first, *_ in reply]
            known = {_node(node, entry): None for _, _, *entries in reply for entry in entries}
            if ranges:
                self._nodes = list(known)
                return ranges
            errors.append(f"Redis at {node} has no slots: is the cluster made?")
        raise BrokerUnreachable(f"no node of the cluster answers: {errors[0]}")


class Slot:
    """The node that has one hash slot of a cluster."""

    def __init__(self, cluster: Cluster, slot: int) -> None:
        self._cluster = cluster
        self._slot = slot
        self.address = cluster.seeds[0]

    async def find(self, timeout: float) -> RedisAddress:  # noqa: ASYNC109 - of each question
        """See ``Place``."""
        for low, high, address in await self._cluster.slots(timeout):
            if low <= self._slot <= high:
                self.address = address
                return address
        raise BrokerUnreachable(
            f"no node of the cluster has slot {self._slot}: some of its primaries are down"
        )

    async def moved(self, address: RedisAddress, timeout: float) -> bool:  # noqa: ASYNC109 - of each question
        """Ask some node."""
        try:
            slots = await self._cluster.slots(timeout)
        except BrokerUnreachable:
            return False
        return not any(low <= self._slot <= high and node == address for low, high, node in slots)


def slot_of(tag: str) -> int:
    """The hash slot of keys with hash tag ``tag``: CRC16 (XMODEM) modulo 16384."""
    return binascii.crc_hqx(tag.encode(), 0) % SLOTS


def place_of(url: str, rng: random.Random) -> Place:
    """What a URL of one server or of sentinels names.

    Raises:
        InvalidAddress: it names nothing; the text never repeats the password.
    """
    scheme = url.partition("://")[0]
    if scheme not in ("redis+sentinel", "rediss+sentinel"):
        return Fixed(parse_address(url))
    base, hosts, path, options = _parts(url)
    name, _, db = path.partition("/")
    if not name:
        raise InvalidAddress(f"a {scheme}:// URL names the primary: {scheme}://HOST:PORT,HOST:PORT/NAME")
    username, password = options.pop("sentinel_username", None), options.pop("sentinel_password", None)
    template = parse_address(f"{base}localhost/{db}?{urlencode(options)}")
    sentinels = [
        replace(template, host=host, port=port or _SENTINEL_PORT, db=0, username=username, password=password)
        for host, port in hosts
    ]
    return Sentinels(name, sentinels, template, rng)


def cluster_of(url: str, rng: random.Random) -> Cluster:
    """What a ``redis+cluster://`` URL names.

    Raises:
        InvalidAddress: it names nothing; the text never repeats the password.
    """
    base, hosts, path, options = _parts(url)
    if path not in ("", "0"):
        raise InvalidAddress("a cluster has one database: leave the path of the URL out")
    template = parse_address(f"{base}localhost?{urlencode(options)}")
    return Cluster([replace(template, host=host, port=port or _REDIS_PORT) for host, port in hosts], rng)


async def find_server(url: str, timeout: float) -> RedisAddress:  # noqa: ASYNC109 - of each question
    """A server that takes writes, whatever kind of URL leads to it: to look whether there is one.

    Raises:
        InvalidAddress: the URL names nothing. BrokerUnreachable: nobody who knows answers.
    """
    rng = random.Random()
    if url.partition("://")[0].endswith("+cluster"):
        return (await cluster_of(url, rng).slots(timeout))[0][2]
    return await place_of(url, rng).find(timeout)


def _parts(url: str) -> tuple[str, list[tuple[str, int | None]], str, dict[str, str]]:
    """Scheme and user as a URL begins with them, the hosts, the path, the options."""
    try:
        parts = urlsplit(url)
        user, at, names = parts.netloc.rpartition("@")
        hosts = []
        for name in names.split(","):
            one = urlsplit(f"//{name}")
            if not one.hostname:
                raise InvalidAddress(f"the Redis URL names an empty host: {names!r}")
            hosts.append((one.hostname, one.port))
    except ValueError as error:
        if isinstance(error, InvalidAddress):
            raise
        raise InvalidAddress(f"the Redis URL cannot be read: {error}") from None
    base = f"{parts.scheme.partition('+')[0]}://{user}{at}"
    return base, hosts, parts.path.strip("/"), dict(parse_qsl(parts.query, keep_blank_values=True))


async def _question(address: RedisAddress, timeout: float, *words: str) -> Any:  # noqa: ASYNC109
    connection = await open_connection(address, timeout=timeout, name="omega-finder")
    try:
        async with asyncio.timeout(timeout):
            return await connection.call(*words)
    except TimeoutError:
        raise BrokerUnreachable(f"{address} did not answer within {timeout:g} s") from None
    finally:
        connection.abort()


def _node(asked: RedisAddress, entry: Sequence[Any]) -> RedisAddress:
    # A node that does not know its own name leaves it out: it is then the one that was asked.
    host = entry[0].decode() if entry[0] else asked.host
    return replace(asked, host=host if host != "?" else asked.host, port=int(entry[1]))
