"""The suite ``conformance``: every family of cases, the slow ones first so that the rest runs beside them."""

from __future__ import annotations

from typing import Final

from omega_ai.testkit.case import Suite
from omega_ai.testkit.conformance import (
    closing,
    compression,
    control,
    fragmentation,
    framing,
    handshake,
    limits,
    offers,
    utf8,
)
from omega_ai.testkit.conformance.family import NAME, Family

FAMILIES: Final[tuple[Family, ...]] = (
    handshake.SLOW,
    limits.FAMILY,
    framing.FAMILY,
    framing.LENGTHS,
    framing.MASKING,
    control.PINGS,
    control.RESERVED,
    control.OPCODES,
    fragmentation.FAMILY,
    utf8.FAMILY,
    closing.FAMILY,
    handshake.FAMILY,
    offers.OFFERS,
    compression.PACKED,
)

SUITE: Final = Suite(
    name=NAME,
    title="RFC 6455 and RFC 7692, frame by frame",
    cases=[case for family in FAMILIES for case in family.cases],
)
