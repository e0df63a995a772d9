"""A conversation by steps, held against the contract: what is wrong with it, or nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from omega_ai.testkit.case import Undecided
from omega_ai.testkit.connection import ConnectFailed, Connection, is_data
from omega_ai.testkit.contract.document import Contract, MessageType
from omega_ai.testkit.contract.step import Step
from omega_ai.testkit.history import Received
from omega_ai.testkit.profile import matches

if TYPE_CHECKING:
    from omega_ai.testkit.context import Context

ANSWER_S: Final = 5.0
"""Seconds for an answer that the contract promises."""
IMPATIENT_S: Final = 1.0
QUIET_S: Final = 0.05
"""Seconds given to an answer behind the pong that shows that a message was read."""


class Wrong(Exception):
    """The server broke the contract; ``steps`` led there."""

    def __init__(self, kind: str, text: str, steps: Sequence[Step]) -> None:
        super().__init__(text)
        self.kind = kind
        self.steps = tuple(steps)


class Talk:
    """One client's conversations, each on its own connection, beside a bystander that must not notice."""

    def __init__(self, context: Context, contract: Contract) -> None:
        self.context = context
        self.contract = contract
        self.done = 0
        self.refused: dict[str, int] = {}
        """Right messages that were answered by an error, by kind."""
        self.sent: dict[str, int] = {}
        self.patience = ANSWER_S
        """Seconds for an answer; less while a fault that was found is made smaller."""
        self._bystander: Connection | None = None
        self._places: dict[Connection, int] = {}

    async def hold(self, steps: Sequence[Step]) -> None:
        """Say them one after the other.

        Raises:
            Wrong: the server broke the contract.
            Undecided: there is no connection.
        """
        bystander = await self._beside()
        try:
            client = await self.context.connect("client", must=False, within=15.0)
        except ConnectFailed as error:
            raise Undecided(f"no connection any more: {error}") from error
        self._places[client] = len(client.history.received)
        try:
            for number, step in enumerate(steps):
                await self._say(client, step, steps[: number + 1])
            if not all(self._promised(step) for step in steps):
                await asyncio.sleep(QUIET_S)
            self._judge(self._new(client), steps)
            self._overheard(bystander, steps)
        finally:
            self._places.pop(client, None)
            if not client.over:
                client.abort()
        self.done += 1

    def _promised(self, step: Step) -> bool:
        """Whether the contract promises an answer, for which we waited."""
        return not step.valid or bool(self._replies(step))

    def _replies(self, step: Step) -> tuple[str, ...]:
        kind = next((one for one in self.contract.takes if one.name == step.kind), None)
        return kind.replies if kind is not None and step.valid else ()

    async def _beside(self) -> Connection:
        if self._bystander is None or not self._bystander.open:
            self._bystander = await self.context.connect("bystander", listen=True)
            self._places[self._bystander] = len(self._bystander.history.received)
        return self._bystander

    async def _say(self, client: Connection, step: Step, so_far: Sequence[Step]) -> None:
        if not client.open:
            raise self._ended(client, so_far[:-1])
        client.send(step.text)
        replies = self._replies(step)
        answered = False
        if not step.valid or replies:
            answered = await self._answer(client, step, replies, so_far)
        mark = self.context.rng.randbytes(6)
        if await client.ping(mark, ANSWER_S) is None:
            raise self._ended(client, so_far)
        if step.valid:
            if not answered:
                await asyncio.sleep(QUIET_S)
            self.sent[step.kind] = self.sent.get(step.kind, 0) + 1
            messages = self._judge(self._new(client), so_far)
            if any(self._is_error(message) for message in messages):
                self.refused[step.kind] = self.refused.get(step.kind, 0) + 1

    async def _answer(
        self, client: Connection, step: Step, replies: Sequence[str], so_far: Sequence[Step]
    ) -> bool:
        """Wait for what the contract promises: an error, or a reply."""

        def fits(item: Received) -> bool:
            message = decoded(item)
            kind = self.contract.sent(message)
            if kind is None:  # enough seen: it is judged below
                return True
            return self._is_error(message) or (step.valid and kind.name in replies)

        place = self._places[client]
        found = any(fits(item) for item in client.history.received[place:] if is_data(item))
        if not found:
            client.rewind()
            seen = place

            def later(item: Received) -> bool:
                nonlocal seen
                return client.history.received.index(item) >= seen and is_data(item) and fits(item)

            found = await client.receive(later, within=self.patience) is not None
        if client.over and not found:
            raise self._ended(client, so_far)
        if not found:
            self._judge(self._new(client), so_far)  # a wrong answer says more than none
            what = "an error" if not step.valid else " or ".join(replies)
            raise Wrong(
                "accepted" if not step.valid else "no answer",
                f"{step.text[:200]} was not answered by {what} within {self.patience:g} s"
                + (", though it breaks the contract" if not step.valid else ""),
                so_far,
            )
        return True

    def _is_error(self, message: Any) -> bool:
        errors = self.context.profile.errors
        return self.contract.is_error(message) or (errors is not None and matches(message, errors.answer))

    def _ended(self, client: Connection, so_far: Sequence[Step]) -> Wrong:
        last = so_far[-1].text[:200] if so_far else "nothing"
        if client.over:
            return Wrong("ended", f"the connection ended ({client.ended}) after {last}", so_far)
        return Wrong("hangs", f"no pong within {ANSWER_S:g} s after {last}", so_far)

    def _new(self, client: Connection) -> list[Received]:
        """Messages not looked at yet."""
        place = self._places[client]
        found = [item for item in client.history.received[place:] if is_data(item)]
        self._places[client] = len(client.history.received)
        return found

    def _judge(self, items: Sequence[Received], so_far: Sequence[Step]) -> list[Any]:
        """Everything that the server sends must be in the contract; the messages, decoded."""
        messages = []
        for item in items:
            message = decoded(item)
            if self.contract.sent(message) is None:
                shown = item.data[:200].decode("utf-8", "backslashreplace")
                why = "it is no JSON" if message is NO_JSON else self.contract.breach(message)
                raise Wrong("answer", f"the server sent {shown}, and {why}", so_far)
            messages.append(message)
        return messages

    def _overheard(self, bystander: Connection, steps: Sequence[Step]) -> None:
        """Nobody else may see what was wrong."""
        wrong = [decoded_text(step.text) for step in steps if not step.valid]
        for item in self._new(bystander):
            message = decoded(item)
            if message is not NO_JSON and message in wrong:
                shown = item.data[:200].decode("utf-8", "backslashreplace")
                raise Wrong("relayed", f"another client was sent {shown}", steps)


NO_JSON: Final = object()


def decoded(item: Received) -> Any:
    """The message, or ``NO_JSON``."""
    return decoded_text(item.data)


def decoded_text(text: bytes | str) -> Any:
    """As ``decoded``."""
    try:
        return json.loads(text)
    except (ValueError, UnicodeDecodeError, RecursionError):
        return NO_JSON


def kinds_to_try(contract: Contract, without: Sequence[str]) -> list[MessageType]:
    """What is generated: everything that the server takes but what the profile leaves out."""
    return [kind for kind in contract.takes if kind.name not in without]
