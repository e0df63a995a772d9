"""Offers of permessage-deflate, valid and not, and what is agreed to (RFC 7692 section 7.1)."""

from __future__ import annotations

from typing import Final

from omega_ai.testkit.conformance.deflating import NAME, Packer, judge_answer
from omega_ai.testkit.conformance.exchange import Check, Exchange
from omega_ai.testkit.conformance.family import Family
from omega_ai.testkit.conformance.frames import RSV1, TEXT

OFFERS: Final = Family("offer", "negotiation of compression", "RFC 7692 section 7.1")

VALID_OFFERS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("plain", (NAME,)),
    ("server-no-takeover", (f"{NAME}; server_no_context_takeover",)),
    ("client-no-takeover", (f"{NAME}; client_no_context_takeover",)),
    ("no-takeover", (f"{NAME}; client_no_context_takeover; server_no_context_takeover",)),
    *((f"server-bits-{bits}", (f"{NAME}; server_max_window_bits={bits}",)) for bits in range(8, 16)),
    ("client-bits", (f"{NAME}; client_max_window_bits",)),
    *((f"client-bits-{bits}", (f"{NAME}; client_max_window_bits={bits}",)) for bits in range(8, 16)),
    ("bits-both", (f"{NAME}; server_max_window_bits=10; client_max_window_bits=10",)),
    (
        "everything",
        (
            f"{NAME}; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9; "
            "client_max_window_bits",
        ),
    ),
    ("quoted", (f'{NAME}; server_max_window_bits="10"',)),
    ("spaced", (f"{NAME} ;  client_max_window_bits\t",)),
    ("fallback", (f"{NAME}; server_max_window_bits=10, {NAME}",)),
    ("fallback-lines", (f"{NAME}; server_max_window_bits=10", NAME)),
    ("unknown-first", (f"x-unknown; a=b, {NAME}",)),
    ("invalid-first", (f"{NAME}; unknown_parameter, {NAME}",)),
    ("invalid-bits-first", (f"{NAME}; server_max_window_bits=99, {NAME}; server_no_context_takeover",)),
)
INVALID_OFFERS: Final[tuple[tuple[str, str], ...]] = (
    ("unknown-parameter", f"{NAME}; unknown"),
    ("unknown-valued", f"{NAME}; unknown=1"),
    ("repeated", f"{NAME}; server_no_context_takeover; server_no_context_takeover"),
    ("repeated-bits", f"{NAME}; server_max_window_bits=10; server_max_window_bits=11"),
    ("valued-flag", f"{NAME}; server_no_context_takeover=true"),
    ("valued-client-flag", f"{NAME}; client_no_context_takeover=1"),
    ("server-bits-none", f"{NAME}; server_max_window_bits"),
    *((f"server-bits-{bits or 'empty'}", f"{NAME}; server_max_window_bits={bits}")
      for bits in ("0", "7", "16", "99", "010", "1e1", "abc", "-10", "+10", "10.0")),
    *((f"client-bits-{bits}", f"{NAME}; client_max_window_bits={bits}")
      for bits in ("0", "7", "16", "010", "abc", "-10")),
    ("other-case", f"{NAME}; Server_Max_Window_Bits=x"),
)  # fmt: skip


def _valid(offers: tuple[str, ...]) -> Check:
    async def check(x: Exchange) -> None:
        wire = await x.greet(extensions=offers)
        if not wire.upgraded:
            refusal = f"the offer was answered with {_status(wire.response)}"
            if "invalid" in x.context.name and wire.response is not None:
                x.examined += 1
                x.should(
                    f"{refusal}; what is invalid in it is to be declined, and the next taken (section 5.1)"
                )
                return
            x.broken("refused", refusal)
        agreed = judge_answer(x, wire, offers)
        if agreed is not None and x.context.profile.echo is not None:
            packer = Packer(agreed)
            sent = []
            for number in range(6):
                payload = x.speech.text(f"message {number}: " + "over and over " * 20)
                if packer.can_send:
                    x.send(wire, TEXT, packer.pack(payload), rsv=RSV1)
                else:
                    x.send(wire, TEXT, payload)
                sent.append((TEXT, payload))
            await x.answers(wire, sent)
        await x.finish(wire)

    return check


def _status(response: object) -> str:
    return f"HTTP {getattr(response, 'status', '?')}" if response is not None else "nothing"


def _invalid(offer: str) -> Check:
    async def check(x: Exchange) -> None:
        wire = await x.greet(extensions=[offer])
        if wire.upgraded:
            if judge_answer(x, wire, [offer]) is None:
                await x.finish(wire)
            return
        x.examined += 1
        if wire.response is None:
            x.broken("refused", f"no answer to the offer {offer!r}: {x.ending(wire) or 'nothing came'}")
        x.should(f"the whole handshake is refused ({_status(wire.response)}); to decline the offer is enough")

    return check


for _name, _lines in VALID_OFFERS:
    OFFERS.add(
        _name,
        f"The offer {' | '.join(_lines)}",
        _valid(_lines),
        expectation="It is accepted as it may be, or declined; then messages go both ways.",
        destructive=False,
    )
for _name, _line in INVALID_OFFERS:
    OFFERS.add(
        f"invalid-{_name}",
        f"The offer {_line}, which is invalid",
        _invalid(_line),
        expectation="It is declined: the answer names no extension.",
        spec="RFC 7692 sections 5.1 and 7.1",
        destructive=False,
    )
