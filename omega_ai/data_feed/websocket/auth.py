"""Who a client is and what it may do: JSON Web Tokens (RFC 7519), verified strictly (RFC 8725).

A token is a compact JWS with these claims::

    {"sub": "desk-7", "exp": 1796119200, "publish": ["btc_price"], "channels": ["btc_price", "trades"]}

``sub`` and ``exp`` are required. ``publish``: the channels it may publish to, or ``true`` for all; none by
default. ``channels``: those it may read; all by default. ``nbf`` and ``iat`` are heeded, ``aud`` and ``iss``
when configured.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jwt
import msgspec

from omega_ai.data_feed.websocket.token_keys import KeySource, SigningKey, VerificationKey

MAX_TOKEN_BYTES = 8192
LEEWAY_S = 30
MAX_LIFETIME_S = 30 * 86_400
MAX_SUBJECT_CHARACTERS = 255
MAX_CHANNELS = 100
MAX_CHANNEL_CHARACTERS = 64
_MAX_CANDIDATES = 8  # keys tried for a token that does not name its own

_NS = 1_000_000_000


class Everything(enum.Enum):
    """The set of all channels, those to come included."""

    ALL = "all"


ALL = Everything.ALL
ChannelSet = frozenset[str] | Everything


class AuthError(Exception):
    """A token is refused. ``code`` is the wire's error code, ``reason`` a sentence that never quotes it."""

    def __init__(self, reason: str, *, code: str = "unauthorized", temporary: bool = False) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.temporary = temporary
        """The fault is ours (keys not at hand): the same token may do later."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a client is, and what that allows until ``expires_at_ns`` (Unix epoch, UTC; None: no end)."""

    subject: str
    publish: ChannelSet
    channels: ChannelSet
    expires_at_ns: int | None = None
    local: bool = True
    """Nothing says that it came from another machine than ours, by way of a proxy here."""

    def may_read(self, channel: str) -> bool:
        """Whether it may subscribe to ``channel`` and read its history."""
        return self.channels is ALL or channel in self.channels

    def may_publish(self, channel: str) -> bool:
        """Whether its token lets it publish to ``channel``; ``PublishPolicy`` has the last word."""
        return self.publish is ALL or channel in self.publish

    def expired(self, now_ns: int) -> bool:
        """Whether its time is over: the connection is then closed (4500)."""
        return self.expires_at_ns is not None and now_ns >= self.expires_at_ns


ANONYMOUS = Identity("anonymous", publish=frozenset(), channels=ALL)
"""Who connects without a token, where none is required."""

FORWARDED = Identity("anonymous", publish=frozenset(), channels=ALL, local=False)
"""Who connects without a token through a proxy on this machine that nobody has told us of."""

UNPROVEN = Identity("anonymous", publish=frozenset(), channels=frozenset())
"""A browser that has yet to show the token which is required: by an ``auth`` message, since it cannot send it
before."""


@dataclass(frozen=True, slots=True)
class PublishPolicy:
    """Who may publish: everybody, or only those whose token says so."""

    open_to_all: bool = False

    @classmethod
    def default(cls, *, loopback_only: bool, live_source: bool, proxied: bool = False) -> PublishPolicy:
        """Everybody, only on a server that this machine alone can reach and whose prices are not real.

        ``proxied``: the settings name proxies or host names, so others do reach it, by way of a proxy here.
        A client that comes through one unannounced is not ``local``, and takes a token all the same.
        """
        return cls(open_to_all=loopback_only and not live_source and not proxied)

    def allows(self, identity: Identity, channel: str, now_ns: int) -> bool:
        """Whether ``identity`` may publish to ``channel`` now."""
        if identity is UNPROVEN:
            return False
        if self.open_to_all and identity.local:
            return True
        return identity.may_publish(channel) and not identity.expired(now_ns)


class _Header(msgspec.Struct):
    alg: str
    kid: str | None = None
    typ: str | None = None
    crit: Any = msgspec.UNSET


class _Claims(msgspec.Struct):
    exp: float
    sub: str
    nbf: float | None = None
    iat: float | None = None
    aud: str | list[str] | None = None
    iss: str | None = None
    publish: bool | list[str] = False
    channels: bool | list[str] = True


_headers = msgspec.json.Decoder(_Header)
_claims = msgspec.json.Decoder(_Claims)


class Authenticator:
    """Verifies tokens; never waits and never asks the network.

    Args:
        keys: which keys, each with its algorithm (``StaticKeys``, ``JwksCache``).
        audience: what ``aud`` must contain; None heeds no ``aud``.
        issuer: what ``iss`` must be; None heeds no ``iss``.
        leeway_s: how far clocks may differ, in seconds.
        max_lifetime_s: tokens made for longer are refused; they could not be withdrawn.
    """

    def __init__(
        self,
        keys: KeySource,
        *,
        audience: str | None = None,
        issuer: str | None = None,
        leeway_s: float = LEEWAY_S,
        max_lifetime_s: float = MAX_LIFETIME_S,
    ) -> None:
        self._keys = keys
        self._audience = audience
        self._issuer = issuer
        self._leeway_ns = _ns(leeway_s)
        self._max_lifetime_s = max_lifetime_s
        self._jws = jwt.PyJWS(algorithms=["HS256", "RS256", "ES256"])

    def verify(self, token: str, now_ns: int) -> Identity:
        """Whose token this is.

        Raises:
            AuthError: it is not valid (or, ``temporary``, cannot be verified now).
        """
        if len(token) > MAX_TOKEN_BYTES:
            raise AuthError(f"the token is longer than {MAX_TOKEN_BYTES} bytes")
        if not token.isascii() or token.count(".") != 2:
            raise AuthError("the token is not a JSON Web Token: three parts joined by dots")
        header = _decode_header(token)
        claims = _decode_claims(self._verified_payload(token, header))
        expires_at_ns = self._check_times(claims, now_ns)
        self._check_parties(claims)
        return Identity(
            subject=_subject(claims.sub),
            publish=_channels(claims.publish, "publish"),
            channels=_channels(claims.channels, "channels"),
            expires_at_ns=expires_at_ns,
        )

    def _verified_payload(self, token: str, header: _Header) -> bytes:
        if not self._keys.available():
            raise AuthError("the keys to verify tokens with are not at hand: try again later", temporary=True)
        candidates = self._keys.candidates(header.alg, header.kid)[:_MAX_CANDIDATES]
        if not candidates:
            raise AuthError("the token is signed with an algorithm or key that is not accepted here")
        for candidate in candidates:
            payload = self._try(token, candidate)
            if payload is not None:
                return payload
        raise AuthError("the token's signature is wrong: it was made with another key, or altered")

    def _try(self, token: str, key: VerificationKey) -> bytes | None:
        try:
            payload = self._jws.decode_complete(token, key.key, algorithms=[key.algorithm])["payload"]
        except (jwt.PyJWTError, ValueError, RecursionError):
            return None
        return payload if isinstance(payload, bytes) else None

    def _check_times(self, claims: _Claims, now_ns: int) -> int:
        """The last moment, leeway included: whoever was let in within it must not be put out at once."""
        times = [time for time in (claims.exp, claims.nbf, claims.iat) if time is not None]
        if not all(math.isfinite(time) and abs(time) < 1e11 for time in times):
            raise AuthError("a time in the token is out of range: times are seconds since 1970")
        end, late = _ns(claims.exp) + self._leeway_ns, now_ns + self._leeway_ns
        if end <= now_ns:
            raise AuthError("the token has expired: get a new one")
        if claims.nbf is not None and _ns(claims.nbf) > late:
            raise AuthError("the token is not valid yet (nbf): check the clocks")
        if claims.iat is not None and _ns(claims.iat) > late:
            raise AuthError("the token was issued in the future (iat): check the clocks")
        begin = now_ns if claims.iat is None else _ns(claims.iat)
        if end - begin > _ns(self._max_lifetime_s) + 2 * self._leeway_ns:
            raise AuthError(f"the token is made for longer than {self._max_lifetime_s:.0f} seconds")
        return end

    def _check_parties(self, claims: _Claims) -> None:
        if self._audience is not None:
            audiences = [claims.aud] if isinstance(claims.aud, str) else claims.aud or []
            if self._audience not in audiences:
                raise AuthError("the token is not meant for this server (aud)")
        if self._issuer is not None and claims.iss != self._issuer:
            raise AuthError("the token is from an issuer that is not accepted here (iss)")


def make_token(
    key: SigningKey,
    *,
    subject: str,
    now_ns: int,
    lifetime_s: float,
    publish: Iterable[str] | bool = False,
    channels: Iterable[str] | bool = True,
    audience: str | None = None,
    issuer: str | None = None,
) -> str:
    """A signed token, valid from now for ``lifetime_s`` seconds.

    Raises:
        ValueError: a claim that ``Authenticator.verify`` would refuse; says which.
    """
    if not 0 < lifetime_s <= 1e9:
        raise ValueError("a token's lifetime is more than 0 seconds")
    publish = publish if isinstance(publish, bool) else sorted(set(publish))
    channels = channels if isinstance(channels, bool) else sorted(set(channels))
    try:
        _subject(subject)
        _channels(publish, "publish")
        _channels(channels, "channels")
    except AuthError as error:
        raise ValueError(error.reason) from error
    issued = now_ns // _NS
    claims: dict[str, object] = {"sub": subject, "iat": issued, "exp": issued + math.ceil(lifetime_s)}
    if publish:
        claims["publish"] = publish
    if channels is not True:
        claims["channels"] = channels
    if audience is not None:
        claims["aud"] = audience
    if issuer is not None:
        claims["iss"] = issuer
    headers = None if key.kid is None else {"kid": key.kid}
    token = jwt.PyJWS().encode(msgspec.json.encode(claims), key.key, algorithm=key.algorithm, headers=headers)
    if len(token) > MAX_TOKEN_BYTES:
        raise ValueError(f"the token would be longer than {MAX_TOKEN_BYTES} bytes: name fewer channels")
    return token


def _ns(seconds: float) -> int:
    whole, part = divmod(seconds, 1)  # a product of floats would be off by hundreds of nanoseconds
    return int(whole) * _NS + round(part * _NS)


def _decode_header(token: str) -> _Header:
    try:
        header = _headers.decode(jwt.utils.base64url_decode(token.partition(".")[0]))
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise AuthError("the token's header cannot be read") from error
    if header.crit is not msgspec.UNSET:
        # RFC 7515 section 4.1.11: an extension that must be understood, and we understand none.
        raise AuthError("the token needs an extension that is not supported (crit)")
    if header.typ is not None and header.typ.lower().removeprefix("application/") not in ("jwt", "at+jwt"):
        raise AuthError("the token is of another type (typ): an access token is needed")
    return header


def _decode_claims(payload: bytes) -> _Claims:
    try:
        return _claims.decode(payload)
    except msgspec.ValidationError as error:
        raise AuthError(f"a claim of the token is missing or of the wrong type: {error}") from error
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise AuthError("the token's claims are not a JSON object") from error


def _subject(subject: str) -> str:
    # It is logged and shown, so it must be one line of bounded length.
    if not 0 < len(subject) <= MAX_SUBJECT_CHARACTERS or not subject.isprintable():
        raise AuthError(f"a subject (sub) has 1 to {MAX_SUBJECT_CHARACTERS} printable characters")
    return subject


def _channels(claim: bool | list[str], name: str) -> ChannelSet:
    if claim is True:
        return ALL
    if claim is False:
        return frozenset()
    if len(claim) > MAX_CHANNELS or not all(0 < len(channel) <= MAX_CHANNEL_CHARACTERS for channel in claim):
        raise AuthError(
            f"the claim '{name}' has at most {MAX_CHANNELS} names of 1 to {MAX_CHANNEL_CHARACTERS} characters"
        )
    return frozenset(claim)
