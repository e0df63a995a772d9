"""Handshakes with a server, for what they show: by OpenSSL, and by ourselves where it tells too little."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from omega_ai.core.client_tls import client_context, explain
from omega_ai.testkit.connection import Address
from omega_ai.testkit.context import Context
from omega_ai.testkit.tls.flight import Flight
from omega_ai.testkit.tls.flight13 import Flight13
from omega_ai.testkit.tls.hello import client_hello, first_record
from omega_ai.testkit.tls.wire import TLS_1_2, TLS_1_3, Malformed

WAIT_S: Final = 5.0
NOT_HERE: Final = frozenset(
    {"NO_PROTOCOLS_AVAILABLE", "NO_CIPHERS_AVAILABLE", "NO_CIPHER_MATCH", "UNSUPPORTED_PROTOCOL"}
)
"""Reasons of OpenSSL by which it is we who cannot, not the server who will not."""
READ_BYTES: Final = 1 << 16
VERSIONS: Final = {0x0301: "TLS 1.0", 0x0302: "TLS 1.1", TLS_1_2: "TLS 1.2", TLS_1_3: "TLS 1.3"}


class Shaken:
    """What a handshake came to."""

    def __init__(self, tls: ssl.SSLObject | None = None, error: str = "", ours: bool = False) -> None:
        self.version = None if tls is None else tls.version()
        self.cipher = None if tls is None else tls.cipher()
        self.alpn = None if tls is None else tls.selected_alpn_protocol()
        self.compression = None if tls is None else tls.compression()
        self.certificate = None if tls is None else tls.getpeercert(binary_form=True)
        self.error = error
        self.ours = ours
        """It failed here, before the server was asked."""
        self.verify_code: int | None = None
        """Why the certificate was refused, by OpenSSL's number, if it was."""

    @property
    def done(self) -> bool:
        """Whether the handshake succeeded."""
        return self.version is not None


def secure_address(context: Context) -> Address:
    """Where the target speaks TLS."""
    assert context.target.secure_url is not None  # noqa: S101 - the suite's cases need it
    return Address.of(context.target.secure_url)


async def shake(context: Context, tls: ssl.SSLContext, *, name: str | None = None) -> Shaken:
    """One TLS handshake with the secure address, and nothing after it."""
    address = secure_address(context)
    try:
        async with asyncio.timeout(WAIT_S):
            _, writer = await asyncio.open_connection(
                address.host, address.port, ssl=tls, server_hostname=name or address.host
            )
    except TimeoutError:
        return Shaken(error=f"no answer within {WAIT_S:g} s")
    except ssl.SSLCertVerificationError as error:
        refused = Shaken(error=explain(error, address.host))
        refused.verify_code = error.verify_code
        return refused
    except ssl.SSLError as error:
        return Shaken(error=error.reason or str(error), ours=error.reason in NOT_HERE)
    except OSError as error:
        return Shaken(error=error.strerror or str(error))
    shaken = Shaken(writer.get_extra_info("ssl_object"))
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return shaken


def anything(change: Callable[[ssl.SSLContext], None]) -> ssl.SSLContext:
    """A context that verifies nothing and refuses no old cipher, changed by ``change``."""
    tls = client_context(verify=False)
    with warnings.catch_warnings():
        # Python warns of the old versions that we ask for on purpose.
        warnings.simplefilter("ignore", DeprecationWarning)
        tls.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        tls.set_ciphers("ALL:@SECLEVEL=0")
        change(tls)
    return tls


def only(version: ssl.TLSVersion) -> ssl.SSLContext:
    """A context for one version."""

    def change(tls: ssl.SSLContext) -> None:
        tls.minimum_version = tls.maximum_version = version

    return anything(change)


# What ssl does not do.


class NotShown(Exception):
    """The server's side of a handshake could not be read; ``str(error)`` says why."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a server showed in its first flight."""

    version: str
    """The one that it chose: an older one than was asked for, if it speaks nothing newer."""
    certificates: tuple[bytes, ...]
    staple: bytes | None
    secure_renegotiation: bool
    extended_master_secret: bool


async def show(context: Context, *, versions: tuple[str, ...] = ("TLS 1.2", "TLS 1.3")) -> Shown:
    """What the server shows in a handshake in the first of ``versions`` that it speaks.

    Raises:
        NotShown: it speaks none of them, or what came could not be read.
    """
    reasons = []
    for version in versions:
        try:
            return await _show(context, version)
        except NotShown as error:
            reasons.append(f"{version}: {error}")
    raise NotShown("; ".join(reasons))


async def _show(context: Context, version: str) -> Shown:
    address = secure_address(context)
    random = context.rng.randbytes(32)
    flight: Flight | Flight13
    if version == "TLS 1.3":
        flight = Flight13(random, address.host)
        opening = flight.opening
    else:
        flight = Flight()
        opening = first_record(client_hello(random, address.host))
    try:
        async with asyncio.timeout(WAIT_S), tcp(address) as (reader, writer):
            writer.write(opening)
            while not flight.over:
                data = await reader.read(READ_BYTES)
                if not data:
                    raise NotShown("it ended the connection")
                flight.feed(data)
    except TimeoutError:
        raise NotShown(f"no answer within {WAIT_S:g} s") from None
    except OSError as error:
        raise NotShown(error.strerror or str(error)) from None
    except Malformed as error:
        raise NotShown(f"its answer cannot be read: {error}") from None
    if not flight.done or flight.hello is None:
        raise NotShown(f"refused with the alert {flight.alert}")
    return Shown(
        VERSIONS.get(flight.hello.version, version),
        flight.certificates,
        flight.staple,
        flight.hello.secure_renegotiation,
        flight.hello.extended_master_secret,
    )


@asynccontextmanager
async def tcp(address: Address) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A TCP connection without anything on it."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
