"""What a case does with a client: wait for it, answer it, and then as with a server, the roles changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from omega_ai.core.websocket.headers import parse_extensions
from omega_ai.testkit.case import NotApplicable, Undecided
from omega_ai.testkit.conformance.clients.arrivals import NoClient
from omega_ai.testkit.conformance.clients.caller import Caller, faults_of_request, response, right_answer
from omega_ai.testkit.conformance.exchange import LINGER, Exchange
from omega_ai.testkit.conformance.frames import Agreed
from omega_ai.testkit.conformance.wire import Wire

if TYPE_CHECKING:
    from omega_ai.testkit.connection import Address
    from omega_ai.testkit.context import Context

ARRIVAL_S: Final = 30.0
"""Seconds for a client to come: a process may have to start first."""
DEFLATE: Final = "permessage-deflate"


class ClientExchange(Exchange):
    """One case at work on a client."""

    peer = "client"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        clients = context.target.clients
        assert clients is not None  # noqa: S101 - Need.CLIENT
        self.clients = clients

    def mask(self) -> bytes | None:
        """A server does not mask."""
        return None

    async def connect(self, name: str = "client", address: Address | None = None) -> Caller:
        """The next client, its request judged and not answered.

        Raises:
            Undecided: none comes.
        """
        del address
        try:
            caller = await self.clients.next(ARRIVAL_S)
        except NoClient as error:
            raise Undecided(str(error)) from error
        caller.adopt(name, self.context, self.log)
        self.wires.append(caller)
        self.context.cleanup.append(lambda: self.clients.release(caller))
        for text in faults_of_request(caller):
            self.wrong("request", text)
        return caller

    async def greet(
        self, name: str = "client", *, extensions: Sequence[str] = (), address: Address | None = None
    ) -> Caller:
        """The next client, answered; of its offers of compression we take what ``extensions`` asks for.

        Raises:
            NotApplicable: it does not offer that.
        """
        caller = await self.connect(name, address)
        headers = right_answer(caller)
        if extensions:
            line, caller.reader.agreed = agree(caller.offers, extensions[0])
            headers.append(("Sec-WebSocket-Extensions", line))
            self.saw(f"agreed: {line}")
        caller.answer(response(headers))
        return caller

    async def open(
        self, name: str = "client", *, extensions: Sequence[str] = (), address: Address | None = None
    ) -> Caller:
        """As ``greet``: it is open once we have answered."""
        return await self.greet(name, extensions=extensions, address=address)

    async def bystander(self) -> None:
        """One client harms no other."""

    async def unharmed(self) -> None:
        """See ``bystander``."""

    async def end_of_tcp(self, wire: Wire) -> bool:
        """A client leaves the end of TCP to us, and then ends its own side (section 7.1.1)."""
        if wire.ended is None:
            wire.half_close()
        return await wire.until(lambda: wire.ended, LINGER)


def agree(offers: str, wanted: str) -> tuple[str, Agreed]:
    """Our answer to a client's offers, with what ``wanted`` (an offer, the roles changed) asks for.

    In what is agreed, ``server`` is the one that is judged: the client.

    Raises:
        NotApplicable: the client does not offer what that needs.
    """
    try:
        offered = next((one for one in parse_extensions([offers]) if one.name == DEFLATE), None)
    except ValueError:
        offered = None
    if offered is None:
        raise NotApplicable("it offers no compression")
    theirs = dict(offered.params)
    asked = dict(parse_extensions([wanted])[0].params)
    answer: dict[str, str | None] = {}
    if "server_no_context_takeover" in asked:  # the judged one is to forget
        answer["client_no_context_takeover"] = None
    if "client_no_context_takeover" in asked or "server_no_context_takeover" in theirs:
        answer["server_no_context_takeover"] = None
    bits = asked.get("server_max_window_bits")
    if bits is not None:
        limit = theirs.get("client_max_window_bits", "missing")
        if limit == "missing" or (limit is not None and int(limit) < int(bits)):
            raise NotApplicable(f"it does not offer to compress with a window of {bits} bits")
        answer["client_max_window_bits"] = bits
    ours = asked.get("client_max_window_bits") or theirs.get("server_max_window_bits")
    if ours is not None:
        answer["server_max_window_bits"] = str(
            min(int(ours), int(theirs.get("server_max_window_bits") or 15))
        )
    line = "; ".join([DEFLATE, *(n if v is None else f"{n}={v}" for n, v in answer.items())])
    return line, Agreed(
        server_takeover="client_no_context_takeover" not in answer,
        client_takeover="server_no_context_takeover" not in answer,
        server_bits=int(answer.get("client_max_window_bits") or 15),
        client_bits=int(answer.get("server_max_window_bits") or 15),
    )
