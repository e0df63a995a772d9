"""Masking without an extension in C (RFC 6455 section 5.3)."""

from __future__ import annotations


def xor(payload: bytes, mask: bytes) -> bytes:
    """``payload`` with its byte i changed by byte i mod 4 of ``mask``."""
    size = len(payload)
    # One XOR of two big integers runs at memory speed; a loop over bytes is a hundred times slower.
    key = int.from_bytes(mask * (size // 4) + mask[: size & 3], "little")
    return (int.from_bytes(payload, "little") ^ key).to_bytes(size, "little")
