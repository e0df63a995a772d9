"""Faults in what is delivered: lost, doubled, swapped, damaged, late, to the wrong one."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from omega_ai.core.websocket.close import POLICY_VIOLATION
from omega_ai.core.websocket.frames import BINARY, TEXT
from omega_ai.testkit.zoo.site import EchoSite, Site, Visitor


class _Counting(Site):
    """Counts what it delivers to each visitor of the broadcast."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.counts: dict[Visitor, int] = {}

    def count(self, visitor: Visitor, data: bytes) -> int:
        """How many messages of the broadcast it was given before this one; -1 for one of the feed."""
        if b'"news"' not in data[:20]:
            return -1
        number = self.counts.get(visitor, 0)
        self.counts[visitor] = number + 1
        return number


class LosesForOne(_Counting):
    """Loses one message in 60, for one listener only."""

    def deliver(self, visitor: Visitor, data: bytes) -> None:
        """See the class."""
        if self.count(visitor, data) % 60 != 41 or visitor is not self.listeners[-1]:
            super().deliver(visitor, data)


class RarelyForOne(_Counting):
    """Loses one message in 10,000, for one listener only."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.which = self.rng.randrange(10_000)

    def deliver(self, visitor: Visitor, data: bytes) -> None:
        """See the class."""
        if self.count(visitor, data) % 10_000 != self.which or visitor is not self.listeners[-1]:
            super().deliver(visitor, data)


class LosesForAll(Site):
    """Loses one published message in 50 for everybody, before it is numbered."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.published = 0

    def publish(self, message: dict[str, Any]) -> None:
        """See the class."""
        self.published += 1
        if self.published % 50 != 17:
            super().publish(message)


class LosesTail(_Counting):
    """Holds back the newest message until the next one comes, so that the last never comes."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.held: dict[Visitor, bytes] = {}

    def deliver(self, visitor: Visitor, data: bytes) -> None:
        """See the class."""
        if self.count(visitor, data) < 0:
            super().deliver(visitor, data)
            return
        held = self.held.pop(visitor, None)
        self.held[visitor] = data
        if held is not None:
            super().deliver(visitor, held)


class LosesEcho(EchoSite):
    """Answers all but one message in 30."""

    class visitor(Visitor):  # noqa: N801 - it is the attribute that makes connections
        """See the class."""

        answered = 0

        def reply(self, opcode: int, data: bytes) -> None:
            """See the class."""
            self.answered += 1
            if self.answered % 30 != 12:
                super().reply(opcode, data)


class SkipsNumbers(Site):
    """Loses a number now and then: the numbering has holes, although every message comes."""

    def next_sequence(self) -> int:
        """See the class."""
        number = super().next_sequence()
        return super().next_sequence() if number % 40 == 20 else number


class Doubles(_Counting):
    """Delivers one message in 40 twice."""

    def deliver(self, visitor: Visitor, data: bytes) -> None:
        """See the class."""
        super().deliver(visitor, data)
        if self.count(visitor, data) % 40 == 11:
            super().deliver(visitor, data)


class Swaps(_Counting):
    """Delivers two neighbours in the wrong order, one time in 30."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.held: dict[Visitor, bytes] = {}

    def deliver(self, visitor: Visitor, data: bytes) -> None:
        """See the class."""
        number = self.count(visitor, data)
        if number >= 0 and number % 30 == 9:
            self.held[visitor] = data
            return
        super().deliver(visitor, data)
        if number >= 0 and visitor in self.held:
            super().deliver(visitor, self.held.pop(visitor))


class FlipsBit(_Counting):
    """Changes one bit in one message in 40."""

    def deliver(self, visitor: Visitor, data: bytes) -> None:
        """See the class."""
        place = data.find(b"o1:") + 15
        if self.count(visitor, data) % 40 == 7 and place > 15:
            data = data[:place] + bytes([data[place] ^ 0x01]) + data[place + 1 :]
        super().deliver(visitor, data)


class CutsLong(EchoSite):
    """Cuts messages after 65,535 bytes."""

    class visitor(Visitor):  # noqa: N801
        """See the class."""

        def reply(self, opcode: int, data: bytes) -> None:
            """See the class."""
            super().reply(opcode, data[:65_535])


class Astray(Site):
    """Sends one answer in 15 to the visitor who came last, whoever asked."""

    class visitor(Visitor):  # noqa: N801
        """See the class."""

        answered = 0

        def reply(self, opcode: int, data: bytes) -> None:
            """See the class."""
            self.answered += 1
            if b'"echo"' in data and self.answered % 15 == 7:
                Visitor.reply(self.site.visitors[-1], opcode, data)
            else:
                super().reply(opcode, data)


class TellsStrangers(Site):
    """Delivers to everybody, subscribed or not."""

    @property
    def listeners(self) -> list[Visitor]:
        """See the class."""
        return list(self.visitors)


class Late(Site):
    """Stops for 5 seconds after each 40 answers, and then gives all that waited."""

    class visitor(Visitor):  # noqa: N801
        """See the class."""

        answered = 0

        def __init__(self, site: Site) -> None:
            super().__init__(site)
            self.waiting: list[tuple[int, bytes]] = []
            self.stopped = False

        def reply(self, opcode: int, data: bytes) -> None:
            """See the class."""
            if b'"echo"' not in data:
                super().reply(opcode, data)
                return
            self.answered += 1
            if self.answered % 40 == 0 and not self.stopped:
                self.stopped = True
                asyncio.get_running_loop().call_later(5.0, self.go_on)
            if self.stopped:
                self.waiting.append((opcode, data))
            else:
                super().reply(opcode, data)

        def go_on(self) -> None:
            """See the class."""
            self.stopped = False
            for opcode, data in self.waiting:
                super().reply(opcode, data)
            self.waiting.clear()


class SlowForSome(_Counting):
    """Serves every fifth listener 300 ms late."""

    def deliver(self, visitor: Visitor, data: bytes) -> None:
        """See the class."""
        if self.listeners.index(visitor) % 5 == 4:
            asyncio.get_running_loop().call_later(0.3, super().deliver, visitor, data)
        else:
            super().deliver(visitor, data)


class Unequal(Site):
    """Shows one listener another content under the same number, one time in 30."""

    def deliver(self, visitor: Visitor, data: bytes) -> None:
        """See the class."""
        if b'"news"' in data and self.sequence % 30 == 13 and visitor is self.listeners[0]:
            data = data.replace(b'"time":"2', b'"time":"1')
        super().deliver(visitor, data)


class NoCommonOrder(Site):
    """Numbers messages for each listener by itself: two listeners see two orders."""

    def broadcast(self, data: bytes) -> None:
        """See the class."""
        listeners = self.listeners
        for place, visitor in enumerate(listeners):
            if b'"news"' in data and place % 2 and self.sequence % 10 == 5:
                asyncio.get_running_loop().call_later(0.05, self.deliver, visitor, data)
            else:
                self.deliver(visitor, data)


class HeldUpByOne(Site):
    """Waits for the slowest listener before it sends anything to anybody."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.waiting: list[bytes] = []

    def broadcast(self, data: bytes) -> None:
        """See the class."""
        self.waiting.append(data)
        if not any(visitor.blocked for visitor in self.listeners):
            for item in self.waiting:
                super().broadcast(item)
            self.waiting.clear()

    def deliver(self, visitor: Visitor, data: bytes) -> None:
        """See the class."""
        visitor.reply(TEXT, data)


class BinaryAsText(EchoSite):
    """Sends binary messages back as text."""

    class visitor(Visitor):  # noqa: N801
        """See the class."""

        def on_binary(self, data: bytes) -> None:
            """See the class."""
            self.reply(TEXT, data.decode("latin-1").encode())


class NotUnicode(EchoSite):
    """Replaces what is not ASCII by question marks."""

    class visitor(Visitor):  # noqa: N801
        """See the class."""

        def on_text(self, data: bytes) -> None:
            """See the class."""
            self.reply(TEXT, data.decode().encode("ascii", "replace"))


class Mute(Site):
    """Says nothing to what is wrong."""

    class visitor(Visitor):  # noqa: N801
        """See the class."""

        def complain(self, text: str) -> None:
            """See the class."""


class Touchy(Site):
    """Closes the connection at the first mistake."""

    class visitor(Visitor):  # noqa: N801
        """See the class."""

        def complain(self, text: str) -> None:
            """See the class."""
            super().complain(text)
            self.close(POLICY_VIOLATION, text)


class RelaysAnything(Site):
    """Passes on whatever a client sends that it does not understand."""

    class visitor(Visitor):  # noqa: N801
        """See the class."""

        def on_text(self, data: bytes) -> None:
            """See the class."""
            try:
                known = json.loads(data).get("type") in ("echo", "publish", "subscribe")
            except (ValueError, AttributeError):
                known = False
            if known:
                super().on_text(data)
            else:
                self.site.broadcast(data)


class Chatty(EchoSite):
    """Sends a message that nobody asked for, after one answer in 20."""

    class visitor(Visitor):  # noqa: N801
        """See the class."""

        answered = 0

        def reply(self, opcode: int, data: bytes) -> None:
            """See the class."""
            super().reply(opcode, data)
            self.answered += 1
            if self.answered % 20 == 10:
                super().reply(BINARY if opcode == BINARY else TEXT, b"by the way")
