"""Who may come in and what they may do, put together from the settings."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

import structlog

from omega_ai.core.clock import Clock
from omega_ai.core.websocket.handshake import Refusal, Request
from omega_ai.data_feed.broker.base import Broker
from omega_ai.data_feed.settings import FeedSettings, SettingsError
from omega_ai.data_feed.websocket import admission
from omega_ai.data_feed.websocket.admission_limits import FORWARDING
from omega_ai.data_feed.websocket.auth import Authenticator, AuthError, Identity, PublishPolicy
from omega_ai.data_feed.websocket.connection import Admitted
from omega_ai.data_feed.websocket.context import Identity as SessionIdentity
from omega_ai.data_feed.websocket.development_certificate import CertificatePaths, development_certificate
from omega_ai.data_feed.websocket.errors import ErrorCode, MessageError
from omega_ai.data_feed.websocket.hub import Hub
from omega_ai.data_feed.websocket.jwks import JwksCache, jwks_fetch
from omega_ai.data_feed.websocket.looking_back import HistoryBound
from omega_ai.data_feed.websocket.messages import CHANNELS, DEFAULT_CHANNELS
from omega_ai.data_feed.websocket.tls import ReloadableContext
from omega_ai.data_feed.websocket.token_keys import StaticKeys, public_key, read_key_file, secret_key

_log = structlog.get_logger(__name__)


class Context:
    """What all sessions of a server share; see ``session.Context``."""

    def __init__(
        self,
        settings: FeedSettings,
        hub: Hub,
        broker: Broker,
        authenticator: Authenticator | None,
        *,
        clock: Clock,
        publish: Callable[[str, bytes], None] | None = None,
    ) -> None:
        self.clock = clock
        self.channels = hub
        self.strict = settings.strict
        self.errors: dict[str, int] = {}
        self.resumes: dict[str, int] = {}
        self.publish: Callable[[str, bytes], None] = publish or broker.publish
        self._authenticator = authenticator
        self.reconfigure(settings)

    def reconfigure(self, settings: FeedSettings) -> None:
        """Go by ``settings`` from now on, for sessions that stand as well; as far as they are reloadable."""
        self.rate_limit = settings.effective_rate_limit
        rate = settings.effective_history_rate
        self.history_bound = None if rate is None else HistoryBound(rate, settings.history_burst)
        self._policy = PublishPolicy.default(
            loopback_only=settings.loopback_only,
            live_source=settings.source == "live",
            proxied=settings.proxied,
        )

    def authenticate(self, token: str, now_ns: int) -> Identity:
        """See ``session.Context``."""
        if self._authenticator is None:
            raise MessageError(ErrorCode.UNAUTHORIZED, "this server takes no tokens", field="token")
        try:
            return self._authenticator.verify(token, now_ns)
        except AuthError as error:
            code = ErrorCode.INTERNAL if error.temporary else ErrorCode.UNAUTHORIZED
            raise MessageError(code, error.reason, field="token") from None

    def may_publish(self, identity: SessionIdentity, channel: str) -> MessageError | None:
        """See ``session.Context``."""
        assert isinstance(identity, Identity)  # noqa: S101 - admission and authenticate give no other
        if self._policy.allows(identity, channel, self.clock.time_ns()):
            return None
        if identity.subject == "anonymous":
            text = f"publishing to '{channel}' needs a token that allows it: send an auth message first"
            return MessageError(ErrorCode.UNAUTHORIZED, text)
        return MessageError(ErrorCode.FORBIDDEN, f"your token does not allow publishing to '{channel}'")


class Gate:
    """Admission as the server asks for it: grants, or raises the engine's ``Refusal``."""

    def __init__(
        self, settings: FeedSettings, authenticator: Authenticator | None, *, clock: Clock, rng: random.Random
    ) -> None:
        wanted = _admission_settings(settings)
        self.refusals: dict[str, int] = {}
        """Counts by ``admission.Kind``."""
        self._told_of_proxy = False
        try:
            self._admission = admission.Admission(wanted, clock=clock, rng=rng, authenticator=authenticator)
        except ValueError as error:
            # An origin, a host or a proxy that is none: the user's mistake, not a defect.
            raise SettingsError(str(error)) from None

    def reconfigure(self, settings: FeedSettings) -> None:
        """Decide by ``settings`` from now on; who is in stays in.

        Raises:
            SettingsError: an origin or a proxy is none; nothing has changed.
        """
        try:
            self._admission.reconfigure(_admission_settings(settings))
        except ValueError as error:
            raise SettingsError(str(error)) from None
        self._told_of_proxy = False

    def admit(self, request: Request, peer: str, *, secure: bool) -> admission.Admitted:
        """See ``server.Admit``."""
        asked = admission.UpgradeRequest.build(request.target, request.headers, peer, secure=secure)
        decision = self._admission.decide(asked)
        if isinstance(decision, admission.Refusal):
            self.refusals[decision.kind] = self.refusals.get(decision.kind, 0) + 1
            raise Refusal(decision.status, decision.reason, decision.headers)
        if not decision.local and not self._told_of_proxy:
            self._told_of_proxy = True
            _log.warning(
                "proxy_not_trusted",
                peer=peer,
                headers=sorted(FORWARDING.intersection(asked.headers)),
                advice="a proxy on this machine passes clients on: name it (--trusted-proxy), and limits per "
                "address hold for them; until then they may read, and publish with a token alone",
            )
        return decision

    def identify(self, admitted: Admitted, identity: SessionIdentity) -> Identity | None:
        """See ``server.Gate``."""
        assert isinstance(admitted, admission.Admitted)  # noqa: S101 - admit gives no other
        assert isinstance(identity, Identity)  # noqa: S101 - authenticate gives no other
        return self._admission.identify(admitted, identity)

    def release(self, admitted: Admitted) -> None:
        """A connection is over: its place is free again."""
        assert isinstance(admitted, admission.Admitted)  # noqa: S101 - admit gives no other
        self._admission.release(admitted)


def _admission_settings(settings: FeedSettings) -> admission.AdmissionSettings:
    per_address = settings.effective_connections_per_address
    return admission.AdmissionSettings(
        known_channels=frozenset(CHANNELS),
        default_channels=DEFAULT_CHANNELS,
        loopback_only=settings.loopback_only,
        require_token=settings.require_token,
        origins=settings.origins,
        hosts=settings.hostnames,
        trusted_proxies=settings.trusted_proxies,
        max_connections=settings.max_connections,
        max_per_address=per_address,
        max_per_user=per_address,
        attempts_per_s=settings.connection_rate or None,
        attempts_burst=settings.connection_burst,
    )


class Keys(NamedTuple):
    """What tokens are verified with; ``cache`` is to be run while the server lives, where there is one."""

    authenticator: Authenticator | None
    cache: JwksCache | None = None


def token_keys(settings: FeedSettings, *, clock: Clock, rng: random.Random) -> Keys:
    """Read the keys that the settings name.

    Raises:
        SettingsError: more than one kind is named, or none though tokens are required.
        KeyConfigError: a key file is missing or unusable.
    """
    given = [settings.token_secret, settings.token_public_key, settings.token_jwks]
    if sum(item is not None for item in given) > 1:
        raise SettingsError("give only one of --token-secret, --token-public-key and --token-jwks")
    if settings.token_secret is not None:
        path = settings.token_secret
        return Keys(Authenticator(StaticKeys([secret_key(read_key_file(path), str(path))])))
    if settings.token_public_key is not None:
        path = settings.token_public_key
        return Keys(Authenticator(StaticKeys([public_key(read_key_file(path), str(path))])))
    if settings.token_jwks is not None:
        cache = JwksCache(jwks_fetch(settings.token_jwks), clock=clock, rng=rng)
        return Keys(Authenticator(cache), cache)
    if settings.require_token:
        raise SettingsError("--require-token needs --token-secret, --token-public-key or --token-jwks")
    return Keys(None)


class Certificate(NamedTuple):
    """The certificate that is served, and where its parts lie."""

    tls: ReloadableContext
    paths: CertificatePaths


def certificate(settings: FeedSettings, *, clock: Clock) -> Certificate | None:
    """Load the certificate that the settings name, or make a development one; None without TLS.

    Raises:
        CertificateError: it cannot be used; says why and what to do.
    """
    if settings.tls_port is None:
        return None
    now = utc(clock)
    if settings.cert is None:
        paths = development_certificate(now=now)
        return Certificate(ReloadableContext(paths.certificate, paths.key, now=now), paths)
    tls = ReloadableContext(settings.cert, settings.key, now=now)
    return Certificate(tls, tls.paths)


def utc(clock: Clock) -> datetime:
    """The clock's UTC time as certificates are judged by."""
    return datetime.fromtimestamp(clock.time_ns() / 1e9, tz=UTC)
