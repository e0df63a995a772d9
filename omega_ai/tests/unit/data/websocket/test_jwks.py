"""Published keys: fetched at intervals, sooner when needed, kept through failures, but not for ever."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from omega_ai.core.clock import ManualClock
from omega_ai.data_feed.websocket.auth import Authenticator, AuthError, make_token
from omega_ai.data_feed.websocket.jwks import BACKOFF_S, EARLY_S, KEEP_S, REFRESH_S, JwksCache, jwks_fetch
from omega_ai.data_feed.websocket.token_keys import KeyConfigError, signing_key
from omega_ai.tests.certificates import key_pem, new_key

OLD, NEW = new_key(), new_key()


def document(**keys: ec.EllipticCurvePrivateKey) -> bytes:
    entries = [ECAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": kid} for kid, key in keys.items()]
    return json.dumps({"keys": entries}).encode()


class Provider:
    """An identity provider in memory."""

    def __init__(self) -> None:
        self.answer: bytes | Exception = document(old=OLD)
        self.fetches = 0

    async def __call__(self) -> bytes:
        self.fetches += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class World:
    """A cache, its provider and their time."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.provider = Provider()
        self.cache = JwksCache(self.provider, clock=self.clock, rng=random.Random(1))

    async def run(self, seconds: float) -> None:
        """Let the cache's own loop live for that long."""
        end = self.clock.monotonic() + seconds

        async def sleep(delay: float) -> None:
            if self.clock.monotonic() >= end:
                raise asyncio.CancelledError
            self.clock.advance(max(delay, 0.001))

        with pytest.raises(asyncio.CancelledError):
            await self.cache.run(sleep)

    def verify(self, kid: str) -> str:
        now = self.clock.time_ns()
        key = signing_key(key_pem({"old": OLD, "new": NEW}[kid]), kid=kid)
        return (
            Authenticator(self.cache)
            .verify(make_token(key, subject="x", now_ns=now, lifetime_s=60), now)
            .subject
        )


@pytest.fixture
def world() -> World:
    return World()


async def test_before_the_first_fetch_it_is_our_fault(world: World) -> None:
    """Temporary, not the token's; after the fetch the token is good."""
    with pytest.raises(AuthError) as caught:
        world.verify("old")
    assert caught.value.temporary
    assert await world.cache.refresh()
    assert world.verify("old") == "x"


async def test_fetched_at_intervals(world: World) -> None:
    """Nine to ten tenths of the interval apart, so that many servers do not ask in step."""
    await world.run(REFRESH_S * 10)
    assert 10 <= world.provider.fetches <= 13


async def test_an_unknown_key_brings_the_next_fetch_forward_but_not_often(world: World) -> None:
    """A rotated key works within half a minute; made-up names cause no more than one fetch in that time."""
    await world.run(1)
    world.provider.answer = document(old=OLD, new=NEW)
    with pytest.raises(AuthError) as caught:
        world.verify("new")
    assert not caught.value.temporary
    await world.run(EARLY_S + 2)
    assert world.provider.fetches == 2
    assert world.verify("new") == "x"
    for _ in range(90):  # seconds
        world.cache.candidates("ES256", "made-up")
        await world.run(1)
    assert 2 + 2 <= world.provider.fetches <= 2 + 90 / EARLY_S + 1


async def test_a_withdrawn_key_is_refused_after_the_next_fetch(world: World) -> None:
    """What the provider no longer publishes no longer counts."""
    await world.run(1)
    world.provider.answer = document(new=NEW)
    await world.run(REFRESH_S + 1)
    assert world.verify("new") == "x"
    with pytest.raises(AuthError):
        world.verify("old")


@pytest.mark.parametrize("answer", [OSError("no route"), TimeoutError(), b"<html>", b'{"keys":[]}'])
async def test_failures_keep_the_keys_and_back_off(world: World, answer: bytes | Exception) -> None:
    """Tokens go on being verified; the retries get rarer, up to one a minute; the error is told."""
    await world.run(1)
    world.provider.answer = answer
    await world.run(REFRESH_S + 3600)
    assert world.verify("old") == "x"
    assert world.cache.error is not None
    assert 3600 / BACKOFF_S[1] <= world.provider.fetches <= 2 * 3600 / BACKOFF_S[1] + 12
    world.provider.answer = document(new=NEW)
    await world.run(BACKOFF_S[1] + 1)
    assert world.verify("new") == "x"
    assert world.cache.error is None


async def test_keys_that_are_too_old_do_not_count(world: World) -> None:
    """After a day without the provider nobody knows whether they were withdrawn."""
    await world.run(1)
    world.provider.answer = OSError("no route")
    world.clock.advance(KEEP_S)
    with pytest.raises(AuthError) as caught:
        world.verify("old")
    assert caught.value.temporary


async def test_while_it_fails_unknown_keys_do_not_break_the_back_off(world: World) -> None:
    """Whoever sends made-up names cannot make us hammer a provider that is down."""
    await world.run(1)
    world.provider.answer = OSError("no route")
    await world.run(REFRESH_S + 600)
    due = world.cache.due_in
    world.cache.candidates("ES256", "made-up")
    assert world.cache.due_in == due


class TestFetch:
    """Over HTTP and from a file."""

    async def test_from_a_file(self, tmp_path: Path) -> None:
        """Read anew each time."""
        path = tmp_path / "keys.json"
        fetch = jwks_fetch(str(path))
        with pytest.raises(FileNotFoundError):
            await fetch()
        path.write_bytes(document(old=OLD))
        assert await fetch() == document(old=OLD)

    async def test_plain_http_elsewhere_is_refused(self) -> None:
        """Anybody on the way could put in a key of theirs."""
        for url in ("http://id.example.com/keys", "http://localhost.example.com/", "http://10.0.0.1/"):
            with pytest.raises(KeyConfigError, match="https://"):
                jwks_fetch(url)

    async def test_over_http_with_bounds(self) -> None:
        """A good answer is returned; another status, a redirect and an endless answer are not followed."""

        async def endless(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            try:
                while True:
                    await response.write(b"x" * 65536)
            except ConnectionError:
                return response

        async def keys(_: web.Request) -> web.Response:
            return web.Response(body=document(old=OLD))

        async def moved(_: web.Request) -> web.Response:
            raise web.HTTPFound("/keys")

        app = web.Application()
        app.add_routes([web.get("/keys", keys), web.get("/moved", moved), web.get("/endless", endless)])
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            base = f"http://127.0.0.1:{runner.addresses[0][1]}"
            assert await jwks_fetch(f"{base}/keys")() == document(old=OLD)
            for path, status in (("moved", 302), ("none", 404)):
                with pytest.raises(KeyConfigError, match=str(status)):
                    await jwks_fetch(f"{base}/{path}")()
            assert len(await jwks_fetch(f"{base}/endless")()) < 1_000_000
        finally:
            await runner.cleanup()
