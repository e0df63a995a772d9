"""Our side of permessage-deflate: what was agreed to, read strictly, and compressing as agreed (RFC 7692)."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import Final

from omega_ai.core.websocket.headers import Extension, parse_extensions
from omega_ai.testkit.case import NotApplicable
from omega_ai.testkit.conformance.exchange import Exchange
from omega_ai.testkit.conformance.frames import Agreed
from omega_ai.testkit.conformance.wire import Wire

NAME: Final = "permessage-deflate"
TAIL: Final = b"\x00\x00\xff\xff"
_BITS: Final = tuple(str(bits) for bits in range(8, 16))


class WrongAnswer(Exception):
    """The server's answer is not allowed; says why."""


def read_answer(offers: Sequence[str], answer: str | None) -> Agreed | None:
    """What ``answer`` agrees to; None if it declines.

    Raises:
        WrongAnswer: it is not an answer to any of ``offers`` (RFC 7692 sections 5.1 and 7.1).
    """
    if answer is None:
        return None
    try:
        chosen = parse_extensions([answer])
    except ValueError as error:
        raise WrongAnswer(f"its Sec-WebSocket-Extensions is malformed: {error}") from None
    if not chosen:
        raise WrongAnswer("its Sec-WebSocket-Extensions is empty (section 9.1 of RFC 6455)")
    if len(chosen) > 1 or chosen[0].name != NAME:
        raise WrongAnswer(f"it chose {', '.join(one.name for one in chosen)} of an offer of {NAME} alone")
    params = _params(chosen[0])
    reasons = [_unfit(params, offer) for offer in _valid_offers(offers)]
    if not reasons:
        raise WrongAnswer(f"it accepted an offer that it must decline: {answer!r} (RFC 7692 section 7.1)")
    if all(reason is not None for reason in reasons):
        raise WrongAnswer(f"{reasons[0]}: {answer!r}")
    return Agreed(
        server_takeover="server_no_context_takeover" not in params,
        client_takeover="client_no_context_takeover" not in params,
        server_bits=int(params.get("server_max_window_bits") or 15),
        client_bits=int(params.get("client_max_window_bits") or 15),
    )


def _params(answer: Extension) -> dict[str, str | None]:
    params: dict[str, str | None] = {}
    for name, value in answer.params:
        if name in params:
            raise WrongAnswer(f"its answer repeats {name} (RFC 7692 section 7.1)")
        if name in ("server_no_context_takeover", "client_no_context_takeover"):
            right = value is None
        else:
            right = name in ("server_max_window_bits", "client_max_window_bits") and value in _BITS
        if not right:
            shown = name if value is None else f"{name}={value}"
            raise WrongAnswer(f"its answer has {shown}, which is not allowed there (RFC 7692 section 7.1)")
        params[name] = value
    return params


def _valid_offers(offers: Iterable[str]) -> list[dict[str, str | None]]:
    """Those offers that a server may accept."""
    found = []
    for line in offers:
        try:
            extensions = parse_extensions([line])
        except ValueError:
            continue
        for one in extensions:
            params = dict(one.params)
            if one.name == NAME and len(params) == len(one.params) and _is_offer(params):
                found.append(params)
    return found


def _is_offer(params: dict[str, str | None]) -> bool:
    for name, value in params.items():
        if name in ("server_no_context_takeover", "client_no_context_takeover"):
            right = value is None
        elif name == "server_max_window_bits":
            right = value in _BITS
        else:
            right = name == "client_max_window_bits" and (value is None or value in _BITS)
        if not right:
            return False
    return True


def _unfit(answer: dict[str, str | None], offer: dict[str, str | None]) -> str | None:
    """Why ``answer`` does not fit ``offer``; None if it does."""
    if "server_no_context_takeover" in offer and "server_no_context_takeover" not in answer:
        return "it agrees without the server_no_context_takeover that was asked for (section 7.1.1.1)"
    asked, given = offer.get("server_max_window_bits"), answer.get("server_max_window_bits")
    # 15 bits are what a missing parameter means, so that then nothing can go wrong.
    if asked is not None and int(given or 15) > int(asked):
        return f"it agrees without a server_max_window_bits of {asked} or less (section 7.1.2.1)"
    bits = answer.get("client_max_window_bits")
    if bits is not None:
        if "client_max_window_bits" not in offer:
            return "it answers with client_max_window_bits, which was not offered (section 7.1.2.2)"
        limit = offer["client_max_window_bits"]
        if limit is not None and int(bits) > int(limit):
            return f"it answers with a client_max_window_bits above the offered {limit} (section 7.1.2.2)"
    return None


class Packer:
    """Compresses our messages as agreed."""

    def __init__(self, agreed: Agreed, level: int = 6) -> None:
        self._agreed = agreed
        self._level = level
        self._deflater = self._new()

    def _new(self) -> zlib._Compress:
        # zlib cannot write a window of 256 bytes (8 bits).
        return zlib.compressobj(self._level, zlib.DEFLATED, -max(9, self._agreed.client_bits))

    @property
    def can_send(self) -> bool:
        """Whether zlib can write for the window agreed on."""
        return self._agreed.client_bits >= 9

    def pack(self, data: bytes) -> bytes:
        """The payload of one compressed message."""
        if not self._agreed.client_takeover:
            self._deflater = self._new()
        packed = self._deflater.compress(data) + self._deflater.flush(zlib.Z_SYNC_FLUSH)
        return packed.removesuffix(TAIL)


async def open_deflated(x: Exchange, offer: str = NAME, name: str = "client") -> tuple[Wire, Agreed]:
    """A connection with compression.

    Raises:
        NotApplicable: the server declines.
    """
    wire = await x.open(name, extensions=[offer])
    agreed = wire.reader.agreed if x.peer == "client" else judge_answer(x, wire, [offer])
    if agreed is None:
        raise NotApplicable(f"it declines to compress when it is offered {offer!r}")
    return wire, agreed


def judge_answer(x: Exchange, wire: Wire, offers: Sequence[str]) -> Agreed | None:
    """What the server agreed to; a wrong answer ends the case."""
    response = wire.response
    answer = None if response is None else response.header("sec-websocket-extensions")
    try:
        agreed = read_answer(offers, answer)
    except WrongAnswer as error:
        x.broken("negotiation", str(error))
    x.examined += 1
    if (
        agreed is not None
        and "server_max_window_bits" not in (answer or "")
        and any("server_max_window_bits=15" in offer for offer in offers)
    ):
        x.should("it agrees without repeating server_max_window_bits=15 (section 7.1.2.1)")
    wire.reader.agreed = agreed
    x.saw("compression declined" if agreed is None else f"agreed: {answer}")
    return agreed
