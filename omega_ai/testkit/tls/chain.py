"""Judges a chain of certificates as it was sent: its order, what is missing, what is too much. Pure.

RFC 5246 section 7.4.2: the server's own certificate first, and each that follows certifies the one before it;
the root may be left out. RFC 8446 section 4.4.2 tells clients to bear with more, but many old ones do not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import datetime

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID as Access
from cryptography.x509.oid import ObjectIdentifier

from omega_ai.testkit.result import Finding
from omega_ai.testkit.tls.certificate import called, issued, note, undecided, warning, weak_hash, weak_key

ISSUER_UNKNOWN = frozenset({2, 20, 21})
"""OpenSSL's numbers for a chain that ends before an authority that is trusted (x509_vfy.h)."""


def judge_chain(
    sent: Sequence[x509.Certificate], *, anchored: bool | None, authority_named: bool, now: datetime
) -> list[Finding]:
    """What is wrong with a chain.

    Args:
        sent: as it was sent; at least one.
        anchored: whether it leads to an authority that is trusted here; None if that is not known.
        authority_named: that authority was named, and not taken from the system, which may lack it.
        now: an aware time.
    """
    path = path_from(sent)
    top = path[-1]
    found = _order(sent, path)
    if issued(top, top):
        if len(path) > 1:
            found.append(note("root", f"the root itself is sent, which nobody needs: {called(top)}"))
    elif anchored is None:
        found.append(undecided("incomplete", "whether it is complete could not be seen"))
    elif not anchored:
        found.append(_incomplete(top, authority_named))
    for certificate in path[1:]:
        found += _judge_intermediate(certificate, now)
    return found


def path_from(sent: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """The first, its issuer, the issuer's issuer and so on, as far as they are among ``sent``."""
    path = [sent[0]]
    while True:
        last = path[-1]
        above = next((one for one in sent if one not in path and issued(last, one)), None)
        if above is None or issued(last, last):
            return path
        path.append(above)


def access(certificate: x509.Certificate, method: ObjectIdentifier) -> list[str]:
    """The URLs of its authority's information (RFC 5280 section 4.2.2.1) of one kind."""
    with contextlib.suppress(x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        given = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
        return [
            entry.access_location.value
            for entry in given
            if entry.access_method == method
            and isinstance(entry.access_location, x509.UniformResourceIdentifier)
        ]
    return []


def _order(sent: Sequence[x509.Certificate], path: Sequence[x509.Certificate]) -> list[Finding]:
    first = sent[0]
    below = next((one for one in sent[1:] if one != first and issued(one, first)), None)
    if below is not None:
        text = f"it begins with {called(first)}, which signed {called(below)}: the server's own must be first"
        return [Finding(kind="order", text=text)]
    if list(sent[: len(path)]) != list(path):
        text = f"sent as {_names(sent)}, but each must be followed by the one that signed it: {_names(path)}"
        return [Finding(kind="order", text=text)]
    extra = sent[len(path) :]
    if extra:
        return [warning("superfluous", f"sent too, though it signed none of the others: {_names(extra)}")]
    return []


def _incomplete(top: x509.Certificate, authority_named: bool) -> Finding:
    issuer = top.issuer.rfc4514_string()
    text = f"{issuer}, which signed {called(top)}, was not sent, and is no authority that is trusted here"
    where = access(top, Access.CA_ISSUERS)
    if where:
        text += f"; it can be had at {where[0][:200]}"
    if authority_named or where:
        return Finding(kind="incomplete", text=f"an intermediate certificate is missing: {text}")
    return undecided("incomplete", f"{text}: send it along, or name it with --ca if it is the authority")


def _judge_intermediate(certificate: x509.Certificate, now: datetime) -> list[Finding]:
    name = called(certificate)
    found = []
    if certificate.not_valid_after_utc < now:
        until = f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
        found.append(Finding(kind="expired", text=f"{name} expired on {until}"))
    hashed = None if issued(certificate, certificate) else weak_hash(certificate)
    if hashed is not None:
        found.append(Finding(kind="signature", text=f"{name} is signed with {hashed}, which can be forged"))
    weak = weak_key(certificate)
    if weak is not None:
        found.append(Finding(kind="key", text=f"{name} has {weak}"))
    return found


def _names(certificates: Sequence[x509.Certificate]) -> str:
    return ", ".join(map(called, certificates[:6])) + (" and more" if len(certificates) > 6 else "")
