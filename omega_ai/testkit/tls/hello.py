"""Our ClientHello, made by hand: it asks for what ``ssl`` cannot ask for, a stapled OCSP answer above all."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Final

from omega_ai.testkit.tls.wire import HANDSHAKE, TLS_1_0, TLS_1_2, TLS_1_3, message, record, vector

CLIENT_HELLO: Final = 1

# Extensions by the numbers of IANA's registry.
SERVER_NAME: Final = 0
STATUS_REQUEST: Final = 5
SUPPORTED_GROUPS: Final = 10
EC_POINT_FORMATS: Final = 11
SIGNATURE_ALGORITHMS: Final = 13
ALPN: Final = 16
EXTENDED_MASTER_SECRET: Final = 23
SUPPORTED_VERSIONS: Final = 43
KEY_SHARE: Final = 51
RENEGOTIATION_INFO: Final = 0xFF01

X25519: Final = 0x001D
SECP256R1: Final = 0x0017
SECP384R1: Final = 0x0018
_GROUPS: Final = (X25519, SECP256R1, SECP384R1, 0x0019, 0x001E)

# The best first, but old ones too: this is a question, nothing is ever sent under them.
SUITES_1_2: Final = (
    *(0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8),  # ECDHE with AES-GCM, ChaCha20
    *(0x009E, 0x009F, 0xCCAA),  # DHE with the same
    *(0xC023, 0xC027, 0xC024, 0xC028, 0xC009, 0xC013, 0xC00A, 0xC014),  # ECDHE with CBC
    *(0x009C, 0x009D, 0x003C, 0x003D, 0x002F, 0x0035),  # RSA
)
SUITES_1_3: Final = (0x1301, 0x1302, 0x1303)
_SIGNATURES: Final = (
    *(0x0403, 0x0503, 0x0603, 0x0807, 0x0808),  # ECDSA, EdDSA
    *(0x0804, 0x0805, 0x0806, 0x0809, 0x080A, 0x080B),  # RSA-PSS
    *(0x0401, 0x0501, 0x0601, 0x0203, 0x0201),  # RSA, and SHA-1
)


def client_hello(
    random: bytes,
    name: str,
    *,
    renegotiated: bytes | None = b"",
    shares: Mapping[int, bytes] | None = None,
) -> bytes:
    """A ClientHello, as a handshake message.

    Args:
        random: 32 bytes.
        name: the server's; an address is not sent (RFC 6066 section 3).
        renegotiated: what we said last in the handshake before, if this is not the first (RFC 5746 section
            3.5); None leaves the extension out.
        shares: a key share for each group, and TLS 1.3 is offered instead of TLS 1.2.
    """
    extensions = {
        STATUS_REQUEST: b"\x01\x00\x00\x00\x00",  # OCSP, of any responder, no extensions
        SUPPORTED_GROUPS: vector(2, _numbers(_GROUPS if shares is None else tuple(shares))),
        SIGNATURE_ALGORITHMS: vector(2, _numbers(_SIGNATURES)),
        ALPN: vector(2, vector(1, b"http/1.1")),
    }
    if not _is_address(name):
        host = name.rstrip(".").encode("idna" if not name.isascii() else "ascii")
        extensions[SERVER_NAME] = vector(2, b"\x00" + vector(2, host))
    suites: Sequence[int]
    if shares is None:
        suites = SUITES_1_2
        extensions[EC_POINT_FORMATS] = b"\x01\x00"
        extensions[EXTENDED_MASTER_SECRET] = b""
        if renegotiated is not None:
            extensions[RENEGOTIATION_INFO] = vector(1, renegotiated)
    else:
        suites = SUITES_1_3
        extensions[SUPPORTED_VERSIONS] = vector(1, _numbers([TLS_1_3]))
        keys = b"".join(group.to_bytes(2, "big") + vector(2, key) for group, key in shares.items())
        extensions[KEY_SHARE] = vector(2, keys)
    body = (
        TLS_1_2.to_bytes(2, "big")
        + random
        + vector(1, b"")  # no session to resume
        + vector(2, _numbers(suites))
        + vector(1, b"\x00")  # no compression
        + vector(2, b"".join(number.to_bytes(2, "big") + vector(2, of) for number, of in extensions.items()))
    )
    return message(CLIENT_HELLO, body)


def first_record(hello: bytes) -> bytes:
    """The record that opens a connection; old servers want an old version on it (RFC 5246 appendix E.1)."""
    return record(HANDSHAKE, hello, TLS_1_0)


def _numbers(numbers: Sequence[int]) -> bytes:
    return b"".join(number.to_bytes(2, "big") for number in numbers)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True
