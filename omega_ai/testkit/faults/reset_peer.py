"""Reset: the connection breaks off."""

from __future__ import annotations

from omega_ai.testkit.faults.model import Context, Item, Milliseconds, Signal, Stage, StreamFault


class ResetPeer(StreamFault, frozen=True, kw_only=True):
    """The connection is reset (RST) ``timeout`` milliseconds after the first byte, which is swallowed.

    Happens over TCP: a process that was killed, a host that restarted, a firewall that rejects. As in
    Toxiproxy it is the sender that sets it off: by its first bytes after the toxic was added, or by its end.
    """

    kind = "reset_peer"
    ends = True

    timeout: Milliseconds = 0

    def stage(self, context: Context) -> Stage:
        """Waits for the first byte."""
        return _ResetStage(self.timeout / 1000)


class _ResetStage(Stage):
    __slots__ = ("_due", "_timeout")

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._due: float | None = None

    def feed(self, data: bytes, now: float) -> list[Item]:
        if self._due is None:
            self._due = now + self._timeout
        return self.tick(now)

    def finish(self, signal: Signal, now: float) -> list[Item]:
        if signal is Signal.RESET:
            return [signal]
        return self.feed(b"", now)

    def tick(self, now: float) -> list[Item]:
        return [Signal.RESET] if self._due is not None and now >= self._due else []

    def next_wake(self) -> float | None:
        return self._due

    def stop(self, now: float) -> list[Item]:
        # Bytes have been swallowed, so the connection cannot go on.
        return [] if self._due is None else [Signal.RESET]
