"""One proxied connection: the client's end, the server's end, and a flow each way."""

from __future__ import annotations

from collections.abc import Callable

from omega_ai.testkit.faults.model import STREAMS, Signal, Stream
from omega_ai.testkit.proxy.flow import Flow
from omega_ai.testkit.proxy.wire import Wire


class Connection:
    """Joins two wires; ``on_end`` is called once, with how it ended."""

    def __init__(self, number: int, on_end: Callable[[Connection, str], None]) -> None:
        self.number = number
        self.flows: dict[Stream, Flow] = {}
        self._on_end = on_end
        self._how: str | None = None
        self._over = False

    def join(self, upstream: Flow, downstream: Flow) -> None:
        """Begin to move bytes."""
        self.flows = {"upstream": upstream, "downstream": downstream}
        if upstream.source.closed or downstream.source.closed:
            self.reset()  # a TLS handshake has failed at its first word
            return
        for flow in (upstream, downstream):
            flow.settle()

    def refresh(self, now: float) -> None:
        """The toxics have changed."""
        for stream in STREAMS:
            if not self._over and self.flows:
                flow = self.flows[stream]
                flow.deliver(flow.chain.refresh(now))

    def received(self, wire: Wire, data: bytes) -> None:
        """A peer sent bytes."""
        self._from(wire).feed(data)

    def ended(self, wire: Wire) -> None:
        """A peer sends no more."""
        self._from(wire).finish(Signal.END)

    def lost(self, wire: Wire) -> None:
        """A peer is gone."""
        if not self.flows:
            return  # before it has begun; ``join`` will see it
        flow = self._from(wire)
        if self._how is not None:
            self._see_whether_over()
            return
        flow.finish(Signal.RESET)
        if not self._over:
            self._to(wire).settle()

    def drained(self, wire: Wire) -> None:
        """A peer has taken all."""
        if self._how is not None:
            self._see_whether_over()
        else:
            self._to(wire).settle()

    def drop(self, how: str) -> None:
        """Close both ends now."""
        self._end(how, lambda wire: wire.drop())

    def reset(self) -> None:
        """Reset both ends."""
        self._end("reset", lambda wire: wire.reset())

    def on_signal(self, flow: Flow, signal: Signal) -> None:
        """What a chain gave beside bytes."""
        if self._how is not None and signal is not Signal.RESET:
            return
        if signal is Signal.END:
            flow.sink.finish()
            if all(each.chain.done for each in self.flows.values()):
                self._end("end", lambda wire: wire.close())
        elif signal is Signal.CLOSE:
            self._end("close", lambda wire: wire.close())
        elif signal is Signal.RESET:
            self._end("reset", lambda wire: wire.reset())
        else:
            flow.source.reset()
            self._other(flow).muted = True
            self._other(flow).settle()

    def _end(self, how: str, end: Callable[[Wire], None]) -> None:
        self._how = self._how or how
        for flow in self.flows.values():
            flow.halt()
            end(flow.source)
        self._see_whether_over()

    def _see_whether_over(self) -> None:
        if not self._over and all(flow.source.closed for flow in self.flows.values()):
            self._over = True
            self._on_end(self, self._how or "end")

    def _from(self, wire: Wire) -> Flow:
        upstream = self.flows["upstream"]
        return upstream if upstream.source is wire else self.flows["downstream"]

    def _to(self, wire: Wire) -> Flow:
        upstream = self.flows["upstream"]
        return upstream if upstream.sink is wire else self.flows["downstream"]

    def _other(self, flow: Flow) -> Flow:
        return self.flows["downstream" if flow is self.flows["upstream"] else "upstream"]
