"""The Redis that the system has, if any: the broker is not for Valkey alone."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import Iterator

import pytest

from omega_ai.data_feed.broker.base import Publication
from omega_ai.tests.integration.broker.support import assert_unbroken, body, numbers, redis_broker, until
from omega_ai.tests.valkey import ValkeyProcess
from omega_ai.tests.valkey_groups import installed_redis

BINARY = installed_redis()

pytestmark = pytest.mark.skipif(
    BINARY is None, reason="no redis-server is installed (apt install redis-server)"
)


@pytest.fixture
def redis() -> Iterator[ValkeyProcess]:
    """Started, its data outliving restarts."""
    with ValkeyProcess(persistent=True, binary=BINARY) as process:
        yield process


def test_it_is_new_enough() -> None:
    """Older than 6.2 is refused by the broker."""
    assert BINARY is not None
    told = subprocess.run([BINARY, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"v=(\d+)\.(\d+)", told)
    assert found is not None
    assert (int(found[1]), int(found[2])) >= (6, 2)


async def test_published_delivered_and_kept_through_a_kill(redis: ValkeyProcess) -> None:
    """One sequence, whatever happens to it in between."""
    seen: list[Publication] = []
    async with redis_broker(redis.url + "?durable=yes") as broker:
        await broker.subscribe(["btc_price"], seen.append)
        for number in range(1, 301):
            broker.publish("btc_price", body(number))
            if number == 100:
                redis.kill()
                redis.start()
            elif number == 200:
                redis.command("CLIENT", "KILL", "TYPE", "normal")
                redis.command("CLIENT", "KILL", "TYPE", "pubsub")
            await asyncio.sleep(0)
        await until(lambda: len(seen) == 300)
        assert numbers(seen) == list(range(1, 301))
        assert_unbroken(seen)
        assert (await broker.history("btc_price")).publications == seen


async def test_the_lease_and_its_tokens(redis: ValkeyProcess) -> None:
    """Its scripts run there as well."""
    async with redis_broker(redis.url) as first, redis_broker(redis.url) as second:
        claim = await first.claim("one", 30)
        assert claim.held
        assert not (await second.claim("two", 30)).held
        await first.fence(["trades"], claim.token + 1)
        deposed: list[int] = []
        first.begin_term(claim.token, lambda: deposed.append(1))
        first.publish("trades", body(1, "trades"))
        await first.flush()
        assert deposed
