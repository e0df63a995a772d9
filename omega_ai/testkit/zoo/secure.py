"""Faults of TLS: certificates and versions that must not be."""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Callable
from datetime import timedelta

from cryptography.hazmat.primitives.asymmetric import rsa

from omega_ai.testkit.zoo.certificates import DAY, Authority

Make = Callable[[Authority], ssl.SSLContext]


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
