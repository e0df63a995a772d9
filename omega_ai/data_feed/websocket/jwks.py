"""Keys that an identity provider publishes (JWKS), kept fresh in the background.

Verifying a token never waits for the network: it takes the keys that are here. ``run`` fetches them at
intervals, earlier when a token names a key that is not known (keys were rotated), and backs off when fetching
fails.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import structlog

from omega_ai.core.client_tls import is_loopback
from omega_ai.core.clock import Clock
from omega_ai.data_feed.websocket.token_keys import (
    MAX_JWKS_BYTES,
    KeyConfigError,
    VerificationKey,
    parse_jwks,
    select,
)

Fetch = Callable[[], Awaitable[bytes]]

REFRESH_S = 300.0
"""How long a key that was withdrawn is still taken, at most, while its provider answers."""
EARLY_S = 30.0
"""Unknown key names cause no more than one fetch in this time: anybody can send one."""
KEEP_S = 86_400.0
"""How long the keys are used while their provider does not answer."""
BACKOFF_S = (1.0, 60.0)
FETCH_TIMEOUT_S = 10.0
_POLL_S = 1.0

_log = structlog.get_logger(__name__)


class JwksCache:
    """A ``KeySource`` whose keys come from ``fetch``; ``run`` it for as long as the server lives."""

    def __init__(self, fetch: Fetch, *, clock: Clock, rng: random.Random) -> None:
        self._fetch = fetch
        self._clock = clock
        self._rng = rng
        self._keys: tuple[VerificationKey, ...] = ()
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._due = clock.monotonic()
        self._failures = 0
        self.error: str | None = None
        """Why the last fetch failed, for health pages; None after one that succeeded."""

    def candidates(self, algorithm: str, kid: str | None) -> Sequence[VerificationKey]:
        """The keys for a token's header; an unknown name brings the next fetch forward."""
        if not self.available():
            return ()
        found = select(self._keys, algorithm, kid)
        if not found and self._failures == 0 and self._tried_at is not None:
            self._due = min(self._due, self._tried_at + EARLY_S)
        return found

    def available(self) -> bool:
        """Whether there are keys, and they are not too old to go by."""
        return self._fetched_at is not None and self._clock.monotonic() - self._fetched_at < KEEP_S

    @property
    def due_in(self) -> float:
        """Seconds until the next fetch; 0 when it is due."""
        return max(0.0, self._due - self._clock.monotonic())

    async def refresh(self) -> bool:
        """Fetch once, now; whether it succeeded. A failure leaves the keys alone and is in ``error``."""
        self._tried_at = self._clock.monotonic()
        self._due = self._tried_at + BACKOFF_S[1]  # nobody else starts one meanwhile
        try:
            keys = parse_jwks(await self._fetch())
        except Exception as error:  # whatever an injected fetch may raise: the loop must go on
            self._failures += 1
            self.error = f"the key set could not be fetched: {error or type(error).__name__}"
            ceiling = min(BACKOFF_S[1], BACKOFF_S[0] * 2 ** min(self._failures - 1, 10))
            self._due = self._clock.monotonic() + self._rng.uniform(ceiling / 2, ceiling)
            _log.warning(self.error, failures=self._failures, retry_in_s=round(self.due_in, 1))
            return False
        self._keys, self._failures, self.error = keys, 0, None
        self._fetched_at = self._clock.monotonic()
        self._due = self._fetched_at + REFRESH_S * self._rng.uniform(0.9, 1.0)
        return True

    async def run(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> NoReturn:
        """Keep the keys fresh until cancelled."""
        while True:
            if self.due_in == 0.0:
                await self.refresh()
            await sleep(min(self.due_in, _POLL_S))  # a token may bring the next fetch forward meanwhile


def jwks_fetch(source: str) -> Fetch:
    """How to fetch ``source``: an ``https://`` URL (``http://`` on this machine alone), or a file's path.

    Raises:
        KeyConfigError: an ``http://`` URL elsewhere, where anybody on the way could put in a key of theirs.
    """
    if source.startswith(("https://", "http://")):
        parts = urlsplit(source)
        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            raise KeyConfigError("the key set must come over https://, so that nobody can exchange the keys")
        return lambda: _fetch_url(source)
    return lambda: asyncio.to_thread(_read, Path(source))


async def _fetch_url(url: str) -> bytes:
    import aiohttp  # a third of a second that servers without JWKS need not spend

    timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT_S)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.get(url, allow_redirects=False) as response,
    ):
        if response.status != 200:
            raise KeyConfigError(f"its server answered {response.status}")
        document = await response.content.read(MAX_JWKS_BYTES + 1)
        while len(document) <= MAX_JWKS_BYTES and (more := await response.content.read(MAX_JWKS_BYTES)):
            document += more
        return document


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_JWKS_BYTES + 1)
