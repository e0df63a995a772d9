"""TLS at an end of a connection: terminated towards the client, spoken towards the server, bytes between."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from omega_ai.core.certificates import CertificateError
from omega_ai.core.client_tls import client_context, explain
from omega_ai.testkit.proxy.pipes import Pipes
from omega_ai.testkit.proxy.wire import READ_SIZE, Owner, SocketWire, Wire
from omega_ai.testkit.zoo.certificates import DAY, Authority


@dataclass(frozen=True, slots=True)
class ProxyTls:
    """How a proxy terminates TLS. Without it, TLS passes through as bytes.

    The client's side is TLS then; the server's is, if the server's URL says so (``wss``, ``https``, ``tls``).
    """

    certificate: Path | None = None
    """PEM file with the chain to show; None: one of the proxy's own authority, which ``FaultProxy.ca``
    names."""
    key: Path | None = None
    """PEM file with its key, if that is not in the same file."""
    names: tuple[str, ...] = ("localhost", "127.0.0.1", "::1")
    """For whom the proxy's own certificate is."""
    ca: Path | None = None
    """PEM file with the authorities that the server's certificate is checked against; None: the system's."""
    verify: bool = True
    """Whether the server's certificate is checked."""


class Certificates:
    """The contexts that a proxy shows to clients, made when they are wanted, and the one it connects with."""

    def __init__(self, settings: ProxyTls) -> None:
        self._settings = settings
        self._directory = tempfile.TemporaryDirectory(prefix="omega-proxy-")
        self._authority = Authority(Path(self._directory.name), "authority of a fault proxy")
        self._made: dict[str | None, ssl.SSLContext] = {}
        self.ca = self._authority.ca

    def close(self) -> None:
        """Remove the authority."""
        self._directory.cleanup()

    def server(self, kind: str | None = None) -> ssl.SSLContext:
        """What a client is shown: the right certificate, or the wrong one that ``tls_certificate`` names.

        Raises:
            CertificateError: the certificate given cannot be used.
        """
        if kind not in self._made:
            self._made[kind] = context = self._make(kind)
            context.set_alpn_protocols(["http/1.1"])
        return self._made[kind]

    def client(self, host: str) -> ssl.SSLContext:
        """What the server is connected to with.

        Raises:
            CertificateError: the authorities given cannot be used.
        """
        return client_context(self._settings.ca, self._settings.verify, host=host)

    def _make(self, kind: str | None) -> ssl.SSLContext:
        settings, authority = self._settings, self._authority
        names = settings.names
        if kind == "expired":
            return authority.context(names=names, begin=-30 * DAY, end=-DAY)
        if kind == "not_yet_valid":
            return authority.context(names=names, begin=DAY, end=30 * DAY)
        if kind == "wrong_name":
            return authority.context(names=("wrong.invalid",))
        if kind == "self_signed":
            return authority.context(names=names, self_signed=True)
        if kind == "unknown_authority":
            # Whoever was told to trust this proxy's authority was not told of that one.
            with tempfile.TemporaryDirectory(prefix="omega-proxy-") as directory:
                other = Authority(Path(directory), "authority that nobody knows")
                return other.context(names=names)
        if kind == "weak_key":
            return authority.context(names=names, key=rsa.generate_private_key(65_537, 1024))  # noqa: S505 - weak
        if settings.certificate is None:
            return authority.context(names=names)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(settings.certificate, settings.key)
        except (OSError, ssl.SSLError) as error:
            text = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
            raise CertificateError(
                f"{settings.certificate} cannot be used with its key: {text}; give a PEM chain and its key"
            ) from None
        return context


class TlsWire:
    """TLS over a ``SocketWire``. What is written before the handshake is done, waits.

    ``note`` is told why a handshake failed. ``cut`` resets once so many bytes of our handshake were sent.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        owner: Owner,
        pipes: Pipes,
        context: ssl.SSLContext,
        *,
        host: str | None,
        note: Callable[[str], None],
        cut: int | None = None,
    ) -> None:
        """``host`` is the server's name, where we are the client; None where we are the server."""
        self._owner = owner
        self._host = host
        self._note = note
        self._cut = cut
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._in, self._out, server_side=host is None, server_hostname=host or None
        )
        self._raw = SocketWire(loop, sock, self, pipes)
        self._established = False
        self._early: list[bytes] = []
        self._wanted = False
        self._finishing = False
        self._closing = False
        self._at_end = False
        self._raw.read(True)
        if host is not None:
            self._handshake()

    @property
    def closed(self) -> bool:
        """Whether it is gone."""
        return self._raw.closed

    @property
    def pending(self) -> int:
        """Bytes that wait for the peer to take them."""
        return self._raw.pending + sum(map(len, self._early))

    def read(self, on: bool) -> None:
        """Whether to read from the peer; the handshake is always read."""
        self._wanted = on
        self._raw.read((on or not self._established) and not self._at_end)

    def write(self, data: bytes) -> None:
        """Encrypt and send."""
        if self.closed or self._finishing:
            return
        if not self._established:
            self._early.append(data)
            return
        try:
            self._tls.write(data)
        except ssl.SSLError as error:
            self._fail(error)
            return
        self._flush()

    def finish(self) -> None:
        """Say that no more follows (close_notify, then FIN); the peer may go on sending."""
        if self._finishing or self.closed:
            return
        self._finishing = True
        if self._established:
            self._say_goodbye()

    def close(self) -> None:
        """Close in order."""
        if self._closing or self.closed:
            return
        self._closing = True
        self.finish()
        if self._established:
            self._raw.close()
        else:
            self._raw.drop()
            self._owner.drained(self)

    def reset(self) -> None:
        """Close by RST, at once."""
        self._raw.reset()

    def drop(self) -> None:
        """Close at once."""
        self._raw.drop()

    def received(self, wire: Wire, data: bytes) -> None:
        """Ciphertext came."""
        self._in.write(data)
        self._established = self._established or self._handshake()
        if self._established:
            self._decrypt()

    def ended(self, wire: Wire) -> None:
        """The peer's FIN."""
        self._at_end = True
        self._in.write_eof()
        if self._established:
            self._decrypt()
        else:
            self._note("the peer went away during the TLS handshake")
            self._break_off()

    def lost(self, wire: Wire) -> None:
        """The peer is gone."""
        if not self._established:
            self._note("the peer broke off the TLS handshake")
        self._owner.lost(self)

    def drained(self, wire: Wire) -> None:
        """All was taken."""
        self._owner.drained(self)

    def _handshake(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except ssl.SSLError as error:
            self._fail(error)
            return False
        self._flush()
        if self.closed:
            return False
        self._established = True
        self._raw.read(self._wanted)
        early, self._early = self._early, []
        for data in early:
            self._tls.write(data)
        self._flush()
        if self._finishing:
            self._say_goodbye()
        return True

    def _decrypt(self) -> None:
        while not self.closed and not self._closing:
            try:
                data = self._tls.read(READ_SIZE)
            except ssl.SSLWantReadError:
                break
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                data = b""
            except ssl.SSLError as error:
                self._fail(error)
                return
            if not data:
                self._at_end = True
                self._raw.read(False)
                self._owner.ended(self)
                return
            self._owner.received(self, data)
        self._flush()

    def _say_goodbye(self) -> None:
        # Asks for the peer's farewell, too, which comes later or not.
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        self._flush()
        self._raw.finish()

    def _fail(self, error: ssl.SSLError) -> None:
        who = self._host or "this proxy"
        self._note(explain(error, who) if self._host else f"TLS with the client: {error.reason or error}")
        self._flush()  # the alert, which tells the peer
        self._break_off()

    def _break_off(self) -> None:
        if not self.closed:
            self._raw.close()
            if not self._closing:
                self._closing = True
                self._owner.lost(self)

    def _flush(self) -> None:
        if not self._out.pending:
            return
        data = self._out.read()
        if self._cut is not None and not self._established:
            data, self._cut = data[: self._cut], self._cut - len(data)
            if self._cut <= 0:
                if data:
                    self._raw.write(data)
                self._note("the TLS handshake was cut")
                self._raw.reset()
                self._closing = True
                self._owner.lost(self)
                return
        self._raw.write(data)
