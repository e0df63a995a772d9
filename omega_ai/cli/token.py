"""``omega token``: make the secret that signs tokens, and tokens."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Annotated

import platformdirs
from cyclopts import Parameter

from omega_ai.cli.durations import format_duration, parse_duration
from omega_ai.cli.exit_codes import UsageError
from omega_ai.cli.terminal import say
from omega_ai.core.client_tls import APPLICATION
from omega_ai.data_feed.websocket.auth import MAX_LIFETIME_S, make_token
from omega_ai.data_feed.websocket.messages import CHANNELS, CLIENT_PUBLISHED
from omega_ai.data_feed.websocket.token_keys import (
    KeyConfigError,
    create_secret,
    read_key_file,
    signing_key,
)

EVERY = "all"


def token(
    *,
    init: Annotated[bool, Parameter(negative="")] = False,
    subject: str | None = None,
    publish: tuple[str, ...] = (),
    channel: tuple[str, ...] = (),
    lifetime: str = "24h",
    token_secret: Path | None = None,
    kid: str | None = None,
    audience: str | None = None,
    issuer: str | None = None,
    config: Path | None = None,
) -> int:
    """Make a token, and print it on standard output.

    First make the secret: omega token --init. Then serve with it: omega serve --token-secret FILE.

    Args:
        init: Make the secret file (mode 0600; never over an existing one), and no token.
        subject: Who the token is for; it stands in the server's logs.
        publish: A channel that it may publish to (repeatable), or 'all'. None by default.
        channel: A channel that it may read (repeatable). All by default.
        lifetime: How long it is valid: 90s, 15m, 12h, at most 30d.
        token_secret: File with the secret (HS256), or with a private key in PEM (RS256, ES256). By default a
            file of its own in the user's state directory.
        kid: The key's name, where the server has several.
        audience: For whom it is meant (aud), where the server asks.
        issuer: From whom it is (iss), where the server asks.
        config: TOML file with a [token] table of options.
    """
    del config  # read while the options were gathered
    path = token_secret.expanduser() if token_secret is not None else default_secret()
    try:
        if init:
            create_secret(path)
            say(f"Made the secret {path}. Whoever can read it can make tokens.")
            say(f"Serve with it:   omega serve --token-secret {shlex.quote(str(path))}")
            say(f"Make a token:    omega token --subject NAME{_secret_option(token_secret)}")
            return 0
        key = signing_key(read_key_file(path, warn=lambda text: say(f"Warning: {text}.")), str(path), kid=kid)
    except KeyConfigError as error:
        raise UsageError(f"{error}.") from None
    if subject is None:
        raise UsageError(
            "--subject is required: who is the token for?", "Example: omega token --subject desk-7"
        )
    seconds = _lifetime(lifetime)
    try:
        made = make_token(
            key,
            subject=subject,
            now_ns=time.time_ns(),
            lifetime_s=seconds,
            publish=_channels(publish, "--publish", CLIENT_PUBLISHED, default=False),
            channels=_channels(channel, "--channel", CHANNELS, default=True),
            audience=audience,
            issuer=issuer,
        )
    except ValueError as error:
        raise UsageError(f"{error}.") from None
    say(f"A token for {subject}, valid for {format_duration(seconds)}. Send it in the Authorization header:")
    say('  Authorization: Bearer TOKEN    or as a message    {"type":"auth","token":"TOKEN"}')
    print(made)
    return 0


def default_secret() -> Path:
    """Where the secret lies if nobody says otherwise."""
    return Path(platformdirs.user_state_dir(APPLICATION, appauthor=False)) / "token.secret"


def _secret_option(path: Path | None) -> str:
    return "" if path is None else f" --token-secret {shlex.quote(str(path))}"


def _lifetime(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--lifetime {error}.") from None
    if not 1 <= seconds <= MAX_LIFETIME_S:
        raise UsageError(f"--lifetime must be 1s to {MAX_LIFETIME_S // 86_400}d, not {text}.")
    return seconds


def _channels(
    names: tuple[str, ...], option: str, known: tuple[str, ...], *, default: bool
) -> tuple[str, ...] | bool:
    if not names:
        return default
    if EVERY in names:
        return True
    for name in names:
        if name not in known:
            raise UsageError(f"{option} takes no {name!r}.", f"It takes: {', '.join(known)}, {EVERY}")
    return names
