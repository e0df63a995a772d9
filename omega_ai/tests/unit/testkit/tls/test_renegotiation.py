"""A wish for a second handshake, put to OpenSSL in memory: allowed, refused, and bound wrongly."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from omega_ai.testkit.tls.handshakes import only
from omega_ai.testkit.tls.protection import scheme_of
from omega_ai.testkit.tls.renegotiation import Answer, Renegotiation, Wire, read_key_log
from omega_ai.testkit.tls.wire import ALERT, HANDSHAKE, Malformed, Record, message, record
from omega_ai.testkit.zoo.certificates import Authority
from omega_ai.testkit.zoo.secure import client_renegotiation, right
from omega_ai.tests.unit.testkit.tls.server import RANDOM, MemoryServer


class Conversation:
    """A TLS 1.2 connection with a finished handshake, and its keys in our hands."""

    def __init__(self, context: ssl.SSLContext, directory: Path, cipher: str = "ECDHE+AESGCM") -> None:
        self.server = MemoryServer(context)
        self.wire = Wire()
        log = directory / "keys"
        tls = only(ssl.TLSVersion.TLSv1_2)
        tls.set_ciphers(cipher)
        tls.keylog_filename = str(log)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        first = tls.wrap_bio(incoming, outgoing, server_hostname="localhost")
        encrypted: list[Record] = []
        while True:
            try:
                first.do_handshake()
                break
            except ssl.SSLWantReadError:
                answer = self.server.answer(outgoing.read())
                encrypted += self.wire.feed(answer)
                incoming.write(answer)
        self.finished = first.get_channel_binding("tls-unique")
        chosen = first.cipher()
        assert chosen is not None
        scheme = scheme_of(chosen[0])
        assert scheme is not None
        assert self.wire.hello is not None
        client, master = read_key_log(log.read_text(encoding="ascii"))
        self.again = Renegotiation(scheme, master, client, self.wire.hello.random)
        for item in encrypted:
            self.again.take(item)

    def ask(self, finished: bytes | None) -> Renegotiation:
        """Ask, and take in the answer."""
        for item in self.wire.feed(self.server.answer(self.again.ask(RANDOM, "localhost", finished))):
            self.again.take(item)
        return self.again


@pytest.mark.parametrize("cipher", ["ECDHE+AES128+AESGCM", "ECDHE+AES256+AESGCM", "ECDHE+CHACHA20"])
def test_a_server_that_allows_it_is_found_out(authority: Authority, tmp_path: Path, cipher: str) -> None:
    """Under each of the ciphers."""
    asked = Conversation(client_renegotiation(authority), tmp_path, cipher)
    assert asked.finished is not None
    again = asked.ask(asked.finished)
    assert again.answer is Answer.ACCEPTED
    again.end("too late to matter")
    assert again.answer is Answer.ACCEPTED


def test_a_right_server_refuses(authority: Authority, tmp_path: Path) -> None:
    """With the alert that is made for it, or another."""
    asked = Conversation(right(authority), tmp_path)
    again = asked.ask(asked.finished)
    assert again.answer is Answer.REFUSED
    assert again.how == "alert no_renegotiation"
    assert not again.ended


def test_the_wish_must_be_bound_to_the_handshake_before(authority: Authority, tmp_path: Path) -> None:
    """A server that allows it refuses one that is bound to another: so our binding is the right one above."""
    asked = Conversation(client_renegotiation(authority), tmp_path)
    again = asked.ask(b"another one ")
    assert again.answer is Answer.REFUSED
    assert again.how.startswith("alert ")


def test_the_end_of_the_connection_is_told_apart(authority: Authority, tmp_path: Path) -> None:
    """It may have another reason."""
    again = Conversation(right(authority), tmp_path).again
    again.end("it ended the connection")
    assert again.answer is Answer.REFUSED
    assert again.ended


def test_a_record_under_other_keys_is_refused(authority: Authority, tmp_path: Path) -> None:
    """As is one in the clear."""
    again = Conversation(right(authority), tmp_path).again
    (alert,) = Wire().feed(record(20, b"\x01") + record(ALERT, b"\x02\x28" + bytes(30)))
    with pytest.raises(Malformed, match="cannot be decrypted"):
        again.take(alert)


def test_only_what_is_encrypted_is_handed_on() -> None:
    """The handshake's own messages are not."""
    wire = Wire()
    assert list(wire.feed(record(HANDSHAKE, message(14, b"")) + record(20, b"\x01"))) == []
    assert [item.data for item in wire.feed(record(HANDSHAKE, b"sealed"))] == [b"sealed"]


def test_keys_are_found_in_a_file_of_them() -> None:
    """Or it is said that there are none."""
    assert read_key_log("# a comment\nCLIENT_RANDOM 0102 0304\n") == (b"\x01\x02", b"\x03\x04")
    for text in ("", "CLIENT_RANDOM 01", "CLIENT_RANDOM xx yy", "SERVER_TRAFFIC_SECRET_0 01 02"):
        with pytest.raises(Malformed, match="no master secret"):
            read_key_log(text)
