"""Faults of TLS: certificates, versions and handshakes that must not be."""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Callable
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from omega_ai.testkit.zoo.certificates import DAY, Authority, Issued
from omega_ai.testkit.zoo.showing import Showing

Make = Callable[[Authority], ssl.SSLContext | Showing]

_MUST_STAPLE = x509.TLSFeature([x509.TLSFeatureType.status_request])
_RESPONDER = x509.AuthorityInformationAccess(
    [
        x509.AccessDescription(
            AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier("http://ocsp.invalid/")
        )
    ]
)
_ALLOW_CLIENT_RENEGOTIATION = 1 << 8
"""OpenSSL 3's SSL_OP_ALLOW_CLIENT_RENEGOTIATION, which Python has no name for; before, it was the rule."""


# Certificates and versions.


def right(authority: Authority) -> ssl.SSLContext:
    """A right certificate, TLS 1.2 and 1.3."""
    return authority.context()


def expired(authority: Authority) -> ssl.SSLContext:
    """Expired an hour ago."""
    return authority.context(begin=-3 * DAY, end=-timedelta(hours=1))


def not_yet_valid(authority: Authority) -> ssl.SSLContext:
    """Valid from tomorrow on."""
    return authority.context(begin=DAY, end=20 * DAY)


def wrong_name(authority: Authority) -> ssl.SSLContext:
    """For another name than that of the server."""
    return authority.context(names=("elsewhere.invalid",))


def no_name(authority: Authority) -> ssl.SSLContext:
    """With its name in the subject alone, where nobody looks any more."""
    return authority.context(names=())


def self_signed(authority: Authority) -> ssl.SSLContext:
    """Signed by itself."""
    return authority.context(self_signed=True)


def short_key(authority: Authority) -> ssl.SSLContext:
    """With an RSA key of 1024 bits."""
    return authority.context(key=rsa.generate_private_key(public_exponent=65_537, key_size=1024))  # noqa: S505


def old_versions(authority: Authority) -> ssl.SSLContext:
    """Speaks TLS 1.0 and 1.1 too."""
    context = authority.context(key=rsa.generate_private_key(public_exponent=65_537, key_size=2048))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def no_authentication(authority: Authority) -> ssl.SSLContext:
    """Offers ciphers without authentication."""
    context = authority.context()
    context.set_ciphers("ALL:aNULL:@SECLEVEL=0")
    return context


# Handshakes.


def client_renegotiation(authority: Authority) -> ssl.SSLContext:
    """Lets a client begin a second handshake within a connection."""
    context = authority.context()
    context.options &= ~ssl.OP_NO_RENEGOTIATION
    context.options |= _ALLOW_CLIENT_RENEGOTIATION
    return context


def no_secure_renegotiation(authority: Authority) -> Showing:
    """Does not announce secure renegotiation."""
    return Showing((_der(authority.issue().certificate),), secure_renegotiation=False)


# Chains.


def whole_chain(authority: Authority) -> ssl.SSLContext:
    """Sends its certificate and the intermediate one."""
    middle = authority.below("intermediate of the zoo")
    return middle.context(chain=[middle.certificate])


def no_intermediate(authority: Authority) -> ssl.SSLContext:
    """Leaves out the intermediate certificate."""
    return authority.below("intermediate of the zoo").context()


def chain_in_disorder(authority: Authority) -> ssl.SSLContext:
    """Sends the root before the intermediate certificate."""
    middle = authority.below("intermediate of the zoo")
    return middle.context(chain=[authority.certificate, middle.certificate])


# Stapled OCSP answers.


def _stapling(authority: Authority, issued: Issued, staple: bytes | None) -> Showing:
    return Showing((_der(issued.certificate), _der(authority.certificate)), staple)


def good_staple(authority: Authority) -> Showing:
    """Staples a good answer, as its certificate demands."""
    middle = authority.below("intermediate of the zoo")
    issued = middle.issue(extensions=[_MUST_STAPLE, _RESPONDER])
    return _stapling(middle, issued, middle.staple(issued.certificate))


def delegated_staple(authority: Authority) -> Showing:
    """Staples a good answer, signed by whom its authority lets answer."""
    issued = authority.issue(extensions=[_RESPONDER])
    responder = authority.issue(
        names=("ocsp.invalid",), extensions=[x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING])]
    )
    staple = authority.staple(issued.certificate, signer=responder)
    return Showing((_der(issued.certificate),), staple)


def revoked(authority: Authority) -> Showing:
    """Staples that its certificate is revoked."""
    issued = authority.issue()
    staple = authority.staple(issued.certificate, status=ocsp.OCSPCertStatus.REVOKED)
    return _stapling(authority, issued, staple)


def expired_staple(authority: Authority) -> Showing:
    """Staples an answer that held until an hour ago."""
    issued = authority.issue()
    staple = authority.staple(issued.certificate, begin=-2 * DAY, end=-timedelta(hours=1))
    return _stapling(authority, issued, staple)


def no_staple(authority: Authority) -> Showing:
    """Staples nothing, though its certificate demands it."""
    return _stapling(authority, authority.issue(extensions=[_MUST_STAPLE]), None)


def staple_of_another(authority: Authority) -> Showing:
    """Staples an answer about another certificate."""
    return _stapling(authority, authority.issue(), authority.staple(authority.issue().certificate))


def forged_staple(authority: Authority) -> Showing:
    """Staples an answer that is signed by whoever has a certificate of the authority."""
    issued = authority.issue()
    other = authority.issue(names=("elsewhere.invalid",))
    return _stapling(authority, issued, authority.staple(issued.certificate, signer=other))


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)
