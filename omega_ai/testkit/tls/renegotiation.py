"""A client's wish to negotiate anew within a TLS 1.2 connection, which ``ssl`` cannot utter.

The first handshake is OpenSSL's. It tells us its master secret (``keylog_filename``), from which the keys of
the records follow; so the second ClientHello, and what the server says to it, are ours to write and to read.
Sans I/O.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Final

from omega_ai.testkit.tls.flight import FATAL, SERVER_HELLO, ServerHello, alert_name
from omega_ai.testkit.tls.hello import client_hello
from omega_ai.testkit.tls.protection import Protection12, Scheme, prf
from omega_ai.testkit.tls.wire import (
    ALERT,
    CHANGE_CIPHER_SPEC,
    HANDSHAKE,
    Cursor,
    Malformed,
    Messages,
    Record,
    Records,
)

FINISHED: Final = 20
_NO_RENEGOTIATION: Final = 100
FINISHED_BYTES: Final = 12
"""Of verify_data in TLS 1.2 (RFC 5246 section 7.4.9)."""


class Answer(Enum):
    """What the server did with the wish."""

    ACCEPTED = "it begins a new handshake"
    REFUSED = "it refuses"


def read_key_log(text: str) -> tuple[bytes, bytes]:
    """The client's random and the master secret, from a file in the format of NSS.

    Raises:
        Malformed: they are not in it.
    """
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3 and words[0] == "CLIENT_RANDOM":
            try:
                return bytes.fromhex(words[1]), bytes.fromhex(words[2])
            except ValueError:
                break
    raise Malformed("OpenSSL wrote no master secret")


class Wire:
    """What the server sends in a first handshake: its ServerHello, and the records that are encrypted."""

    def __init__(self) -> None:
        self.hello: ServerHello | None = None
        self._records = Records()
        self._messages = Messages()
        self._encrypted = False

    def feed(self, data: bytes) -> Iterator[Record]:
        """The encrypted records in what arrived, each read when it is its turn.

        Raises:
            Malformed: this is no handshake of TLS 1.2.
        """
        for record in self._records.feed(data):
            if self._encrypted:
                yield record
            elif record.kind == CHANGE_CIPHER_SPEC:
                self._encrypted = True
            elif record.kind == HANDSHAKE:
                for message in self._messages.feed(record.data):
                    if message.kind == SERVER_HELLO and self.hello is None:
                        self.hello = ServerHello.read(message.body)


class Renegotiation:
    """The keys of a finished TLS 1.2 connection, and what is said under them after its handshake.

    Args:
        scheme: of its cipher suite.
        master: its master secret.
        client, server: the randoms of its hellos.
    """

    def __init__(self, scheme: Scheme, master: bytes, client: bytes, server: bytes) -> None:
        key, prefix = scheme.key_bytes, scheme.prefix_bytes
        block = Cursor(prf(scheme.digest, master, b"key expansion", server + client, 2 * (key + prefix)))
        ours, theirs = block.take(key), block.take(key)
        self._ours = Protection12(scheme, ours, block.take(prefix))
        self._theirs = Protection12(scheme, theirs, block.take(prefix))
        self._ours.sequence = 1  # our Finished was the first
        self._messages = Messages()
        self._finished = False
        self.answer: Answer | None = None
        self.how = ""
        """How it was refused."""
        self.ended = False
        """It was refused by nothing but the connection's end, which may have come for another reason."""

    def ask(self, random: bytes, name: str, finished: bytes | None) -> bytes:
        """The record that asks for a new handshake.

        Args:
            random: 32 bytes.
            name: the server's.
            finished: verify_data of our Finished, which binds the new handshake to the old one (RFC 5746);
                None for a server that does not know of it.
        """
        return self._ours.seal(HANDSHAKE, client_hello(random, name, renegotiated=finished))

    def take(self, record: Record) -> None:
        """Take the next encrypted record of the server, its Finished being the first.

        Raises:
            Malformed: it is not under the keys, or not what a server may say.
        """
        content = self._theirs.open(record)
        if not self._finished:
            if record.kind != HANDSHAKE or content[:1] != bytes([FINISHED]):
                raise Malformed("the server's Finished is not where it must be")
            self._finished = True
        elif record.kind == HANDSHAKE:
            for message in self._messages.feed(content):
                if message.kind == SERVER_HELLO:
                    self.answer = self.answer or Answer.ACCEPTED
        elif record.kind == ALERT and self.answer is None:
            cursor = Cursor(content)
            level, number = cursor.number(1), cursor.number(1)
            if number == 0:
                self.end("alert close_notify")
            elif level == FATAL or number == _NO_RENEGOTIATION:
                self.answer, self.how = Answer.REFUSED, f"alert {alert_name(number)}"

    def end(self, how: str) -> None:
        """The server ended the connection."""
        if self.answer is None:
            self.answer, self.how, self.ended = Answer.REFUSED, how, True
