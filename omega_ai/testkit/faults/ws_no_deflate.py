"""No compression: the offer of permessage-deflate does not arrive."""

from __future__ import annotations

from omega_ai.testkit.faults.frame import HEAD_LIMIT, is_upgrade
from omega_ai.testkit.faults.model import Context, Item, Signal, Stage, StreamFault

_END = b"\r\n\r\n"
_HEADER = b"sec-websocket-extensions"


class WsNoDeflate(StreamFault, frozen=True, kw_only=True):
    """A client's offer to compress messages is taken out of its WebSocket handshake.

    Happens over TCP: intermediaries that know no extensions do it. It is also what makes the faults of frames
    exact: where permessage-deflate keeps its context from message to message, losing, repeating, swapping or
    changing one makes all that follow undecipherable. Works on the client's direction wherever it is placed,
    on connections that are opened while it is there.
    """

    kind = "ws_no_deflate"
    both = True

    def stage(self, context: Context) -> Stage:
        """Rewrites the head of the client's request."""
        if context.stream != "upstream" or not context.fresh:
            return Stage()
        return _HeadStage()


class _HeadStage(Stage):
    __slots__ = ("_head", "_passed")

    def __init__(self) -> None:
        self._head = b""
        self._passed = False

    def feed(self, data: bytes, now: float) -> list[Item]:
        if self._passed:
            return [data]
        self._head += data
        end = self._head.find(_END)
        if end < 0:
            return self._give_up(now) if len(self._head) > HEAD_LIMIT else []
        self._passed = True
        head, rest = self._head[: end + len(_END)], self._head[end + len(_END) :]
        self._head = b""
        if is_upgrade(head[:end], "upstream"):
            head = _without_offer(head)
        return [head + rest]

    def finish(self, signal: Signal, now: float) -> list[Item]:
        return [*self._give_up(now), signal]

    def stop(self, now: float) -> list[Item]:
        return self._give_up(now)

    @property
    def held(self) -> int:
        return len(self._head)

    @property
    def full(self) -> bool:
        return False  # the rest of a head must come, and what is no head is given up

    def _give_up(self, now: float) -> list[Item]:
        self._passed = True
        head, self._head = self._head, b""
        return [head] if head else []


def _without_offer(head: bytes) -> bytes:
    lines = head.split(b"\r\n")
    return b"\r\n".join(line for line in lines if line.partition(b":")[0].strip().lower() != _HEADER)
