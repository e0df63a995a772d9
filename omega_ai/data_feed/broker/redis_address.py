"""Where a Redis is and how to enter: ``redis://``, ``rediss://`` and ``unix://`` URLs.

The forms and the names of the TLS options are those that redis-py made common::

    redis://user:password@host:6379/0
    rediss://user:password@host:6379/0?ssl_ca_certs=/path/ca.pem
    unix:///path/to/socket?db=0

and ``durable=yes`` says of a server that it never forgets what it acknowledged (see ``redis``).
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

_TLS_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname")
_OPTIONS = ("db", "username", "password", "durable", *_TLS_OPTIONS)


class InvalidAddress(ValueError):
    """The URL says nothing that could be connected to; the text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """One Redis server, one of its databases, and who we are there."""

    host: str = "localhost"
    port: int = 6379
    path: str | None = None
    """Path of the unix socket; instead of host and port."""
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: dict[str, str] | None = None
    """Options of the URL that begin with ``ssl_``; None without TLS."""
    durable: bool | None = None
    """Whether the server never forgets what it acknowledged; None if the URL does not say."""

    def __str__(self) -> str:
        """The address for people: never with the password in it."""
        db = f"/{self.db}" if self.db else ""
        if self.path is not None:
            return f"unix://{self.path}" + (f"?db={self.db}" if self.db else "")
        host = f"[{self.host}]" if ":" in self.host else self.host
        user = f"{self.username}@" if self.username else ""
        return f"{'rediss' if self.tls is not None else 'redis'}://{user}{host}:{self.port}{db}"

    def ssl_context(self) -> ssl.SSLContext | None:
        """What TLS needs, made from the options; None without TLS.

        Raises:
            InvalidAddress: a file is missing or is not what it should be.
        """
        if self.tls is None:
            return None
        options = self.tls
        try:
            context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if options.get("ssl_check_hostname", "true").lower() in ("false", "0", "no"):
                context.check_hostname = False
            if options.get("ssl_cert_reqs", "required") == "none":
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if "ssl_certfile" in options:
                context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"))
        except (OSError, ssl.SSLError) as error:
            files = ", ".join(
                f"{name}={value}" for name, value in options.items() if name.endswith(("s", "e"))
            )
            raise InvalidAddress(f"the TLS files of {self} cannot be used ({files}): {error}") from error
        return context


def parse_address(url: str) -> RedisAddress:
    """Read a URL (see the module's text).

    Raises:
        InvalidAddress: it is none; the text never repeats the password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidAddress(f"the Redis URL cannot be read: {error}") from error
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in options:
        if name not in _OPTIONS:
            raise InvalidAddress(
                f"option {name!r} of the Redis URL is unknown; known are {', '.join(_OPTIONS)}"
            )
    username = unquote(parts.username) if parts.username else options.get("username")
    password = unquote(parts.password) if parts.password else options.get("password")
    if options.get("durable", "no") not in ("yes", "no"):
        raise InvalidAddress("durable is 'yes' or 'no'")
    durable = options["durable"] == "yes" if "durable" in options else None
    if parts.scheme == "unix":
        path = unquote(parts.path)
        if not path or path == "/":
            raise InvalidAddress("a unix:// URL names the socket's path: unix:///run/redis/redis.sock")
        return RedisAddress(
            path=path,
            db=_database(options.get("db", "0")),
            username=username,
            password=password,
            durable=durable,
        )
    if parts.scheme not in ("redis", "rediss"):
        raise InvalidAddress(f"a Redis URL begins with redis://, rediss:// or unix://, not {parts.scheme!r}")
    tls = {name: value for name, value in options.items() if name in _TLS_OPTIONS}
    if tls and parts.scheme == "redis":
        raise InvalidAddress("ssl_ options need rediss:// (with two s); redis:// is without TLS")
    if tls.get("ssl_cert_reqs", "required") not in ("required", "none"):
        raise InvalidAddress("ssl_cert_reqs is 'required' or 'none'")
    for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"):
        if name in tls and not Path(tls[name]).is_file():
            raise InvalidAddress(f"{name} of the Redis URL names no file: {tls[name]}")
    return RedisAddress(
        host=parts.hostname or "localhost",
        port=port if port is not None else 6379,
        db=_database(parts.path.strip("/") or options.get("db", "0")),
        username=username,
        password=password,
        tls=tls if parts.scheme == "rediss" else None,
        durable=durable,
    )


def _database(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 7):
        raise InvalidAddress(
            f"the database of a Redis URL is a number, as in redis://localhost:6379/0, not {text!r}"
        )
    return int(text)
