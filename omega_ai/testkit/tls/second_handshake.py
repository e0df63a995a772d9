"""Asks a real server for a second handshake within a connection, by means of ``renegotiation``."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import tempfile
from pathlib import Path
from typing import Final

from omega_ai.testkit.context import Context
from omega_ai.testkit.tls.handshakes import READ_BYTES, WAIT_S, NotShown, anything, secure_address, tcp
from omega_ai.testkit.tls.protection import scheme_of
from omega_ai.testkit.tls.renegotiation import FINISHED_BYTES, Renegotiation, Wire, read_key_log
from omega_ai.testkit.tls.wire import Malformed, Record

CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20:RSA+AESGCM:@SECLEVEL=0"
"""Those whose records we can write."""
STAYS_S: Final = 1.0
"""For so long a connection must go on to count as one that does."""
_LEGACY_SERVER_CONNECT: Final = 0x4
"""OpenSSL's SSL_OP_LEGACY_SERVER_CONNECT, which Python names from 3.12 on."""


async def ask_again(context: Context, *, bound: bool) -> Renegotiation:
    """Finish a TLS 1.2 handshake, ask for another one within it, and return when the server answered.

    ``bound``: the second is bound to the first, as RFC 5746 wants it.

    Raises:
        NotShown: it could not be asked, or did not answer.
    """
    # The master secret is that of this one connection, over which nothing is sent.
    with tempfile.TemporaryDirectory(prefix="omega-") as directory:
        log = Path(directory) / "keys"
        tls = anything(_change)
        try:
            tls.keylog_filename = str(log)
        except (AttributeError, NotImplementedError):
            raise NotShown("this Python does not tell the keys of a connection") from None
        try:
            async with asyncio.timeout(WAIT_S):
                again = await _ask(context, tls, log, bound)
                if again.ended and not await _stays(context, tls):
                    raise NotShown("it ends every connection, whether it is asked or not")
                return again
        except TimeoutError:
            raise NotShown(f"no answer within {WAIT_S:g} s") from None
        except ssl.SSLError as error:
            raise NotShown(f"no handshake with AES-GCM or ChaCha20: {error.reason or error}") from None
        except OSError as error:
            raise NotShown(error.strerror or str(error)) from None
        except Malformed as error:
            raise NotShown(f"its answer cannot be read: {error}") from None


def _change(tls: ssl.SSLContext) -> None:
    tls.minimum_version = tls.maximum_version = ssl.TLSVersion.TLSv1_2
    tls.options |= _LEGACY_SERVER_CONNECT
    tls.set_ciphers(CIPHERS)


async def _ask(context: Context, tls: ssl.SSLContext, log: Path, bound: bool) -> Renegotiation:
    address = secure_address(context)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    first = tls.wrap_bio(incoming, outgoing, server_hostname=address.host)
    wire = Wire()
    encrypted: list[Record] = []
    async with tcp(address) as (reader, writer):
        while not _shaken(first):
            writer.write(outgoing.read())
            data = await reader.read(READ_BYTES)
            if not data:
                raise NotShown("it ended the connection within the first handshake")
            encrypted += wire.feed(data)
            incoming.write(data)
        writer.write(outgoing.read())
        again = _take_over(first, wire, log)
        for record in encrypted:
            again.take(record)
        finished = (first.get_channel_binding("tls-unique") or b"") if bound else None
        if finished is not None and len(finished) != FINISHED_BYTES:
            raise NotShown("OpenSSL does not tell the Finished of the first handshake")
        writer.write(again.ask(context.rng.randbytes(32), address.host, finished))
        while again.answer is None:
            try:
                data = await reader.read(READ_BYTES)
            except OSError as error:
                again.end(f"it ended the connection: {error.strerror or error}")
                break
            if not data:
                again.end("it ended the connection")
            records = wire.feed(data)
            while again.answer is None and (next_one := next(records, None)) is not None:
                again.take(next_one)
    return again


async def _stays(context: Context, tls: ssl.SSLContext) -> bool:
    """Whether a connection on which nothing is asked goes on."""
    address = secure_address(context)
    reader, writer = await asyncio.open_connection(
        address.host, address.port, ssl=tls, server_hostname=address.host
    )
    try:
        async with asyncio.timeout(STAYS_S):
            return bool(await reader.read(1))
    except TimeoutError:
        return True
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _shaken(tls: ssl.SSLObject) -> bool:
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def _take_over(first: ssl.SSLObject, wire: Wire, log: Path) -> Renegotiation:
    cipher = first.cipher()
    scheme = None if cipher is None else scheme_of(cipher[0])
    if scheme is None or wire.hello is None:
        raise NotShown(f"the cipher {cipher[0] if cipher else 'none'} is not one that we can go on in")
    client, master = read_key_log(log.read_text(encoding="ascii"))
    return Renegotiation(scheme, master, client, wire.hello.random)
