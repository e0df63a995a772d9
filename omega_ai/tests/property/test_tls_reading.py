"""Whatever a stranger sends in a TLS handshake is read, or refused in words, wherever it is cut."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st

from omega_ai.testkit.tls.certificate import readable
from omega_ai.testkit.tls.chain import judge_chain
from omega_ai.testkit.tls.flight import Flight
from omega_ai.testkit.tls.flight13 import Flight13, read_entries
from omega_ai.testkit.tls.hello import EXTENDED_MASTER_SECRET, RENEGOTIATION_INFO, STATUS_REQUEST
from omega_ai.testkit.tls.renegotiation import Wire
from omega_ai.testkit.tls.staple import judge_staple
from omega_ai.testkit.tls.wire import Malformed, message, record, vector
from omega_ai.testkit.zoo.certificates import Authority
from omega_ai.testkit.zoo.showing import Showing, read_offer

RANDOM = bytes(range(32))
ASKED = {STATUS_REQUEST: b"", RENEGOTIATION_INFO: b"", EXTENDED_MASTER_SECRET: b""}


@functools.cache
def world() -> tuple[Authority, x509.Certificate, bytes, bytes]:
    """An authority, a server's certificate, its DER, a good answer about it."""
    with tempfile.TemporaryDirectory() as directory:
        authority = Authority(Path(directory))
    own = authority.issue().certificate
    return authority, own, own.public_bytes(serialization.Encoding.DER), authority.staple(own)


def mutated(data: bytes) -> st.SearchStrategy[bytes]:
    """``data`` with some bytes changed, and perhaps cut off."""
    changes = st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)), max_size=4)

    def change(given: tuple[list[tuple[int, int]], int]) -> bytes:
        altered = bytearray(data)
        for at, value in given[0]:
            altered[at] = value
        return bytes(altered[: given[1]])

    return st.tuples(changes, st.integers(len(data) // 2, len(data))).map(change)


def streams() -> st.SearchStrategy[bytes]:
    """Anything; anything in records; a right flight with a few bytes changed."""
    _, _, der, staple = world()
    right = Showing((der,), staple).flight(RANDOM, ASKED)
    framed = st.lists(
        st.builds(record, st.integers(20, 23), st.binary(min_size=1, max_size=60))
        | st.builds(
            lambda kind, body: record(22, message(kind, body)), st.integers(0, 24), st.binary(max_size=60)
        ),
        max_size=6,
    ).map(b"".join)
    return st.binary(max_size=200) | framed | mutated(right)


def outcome(make: Callable[[], Any], pieces: list[bytes]) -> object:
    """What a reader has seen in the end."""
    reader = make()
    refused = ""
    handed_out: list[object] = []
    try:
        for piece in pieces:
            handed_out += reader.feed(piece) or ()
    except Malformed as error:
        refused = str(error)
    seen = [getattr(reader, name, None) for name in ("hello", "certificates", "staple", "alert", "done")]
    return refused, handed_out, seen


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_a_flight_is_read_or_refused_wherever_it_is_cut(data: st.DataObject) -> None:
    """The same is seen in the end."""
    stream = data.draw(streams())
    size = data.draw(st.integers(1, 50))
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    for make in (Flight, Wire):
        assert outcome(make, pieces) == outcome(make, [stream])


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_no_flight_of_tls_1_3_makes_it_stumble(data: st.DataObject) -> None:
    """It has no keys for what others made up."""
    reader = Flight13(RANDOM, "localhost")
    try:
        reader.feed(data.draw(streams()))
    except Malformed:
        return
    assert not reader.certificates


@settings(deadline=None, max_examples=150)
@given(data=st.binary(max_size=120) | st.binary(max_size=80).map(lambda body: b"\0" + vector(3, body)))
def test_lists_of_certificates_and_client_hellos_are_read_or_refused(data: bytes) -> None:
    """With nothing but our own exception."""
    for read in (read_entries, read_offer):
        with contextlib.suppress(Malformed):
            read(data)


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_certificates_and_answers_are_judged_or_refused(data: st.DataObject) -> None:
    """Whatever stands in them; a changed answer is never a right one."""
    authority, own, der, staple = world()
    altered = data.draw(mutated(staple))
    text, found = judge_staple(altered, own, [authority.certificate], authority.now)
    assert text
    assert found or altered == staple
    try:
        certificate = readable(data.draw(mutated(der)))
    except Malformed:
        return
    judge_chain([certificate, authority.certificate], anchored=True, authority_named=True, now=authority.now)
    judge_staple(staple, certificate, [authority.certificate], authority.now)
