"""The suite ``client``: what a WebSocket client must do, and must not take from a server."""

from __future__ import annotations

from typing import Final

from omega_ai.testkit.case import Suite
from omega_ai.testkit.conformance import closing, compression, control, fragmentation, framing, limits, utf8
from omega_ai.testkit.conformance.clients import answers, conduct
from omega_ai.testkit.conformance.clients.family import NAME, turned_round

SUITE: Final = Suite(
    name=NAME,
    title="RFC 6455 and RFC 7692 for clients: we are the server",
    quick=False,
    cases=[
        *turned_round(limits.FAMILY),
        *answers.FAMILY.cases,
        *conduct.MASKING.cases,
        *turned_round(framing.FAMILY),
        *turned_round(framing.LENGTHS),
        *turned_round(control.PINGS),
        *turned_round(control.RESERVED),
        *turned_round(control.OPCODES),
        *turned_round(fragmentation.FAMILY),
        *turned_round(utf8.FAMILY),
        *turned_round(closing.FAMILY, without=("gone-", "server-ends-tcp", "half-close")),
        *conduct.GOING.cases,
        *answers.EXTENSIONS.cases,
        *turned_round(compression.PACKED, without=("window-8",)),
    ],
)
