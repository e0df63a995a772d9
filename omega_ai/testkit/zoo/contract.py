"""A server with a contract, right, and siblings that break it in one way each."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, Final, NamedTuple

import msgspec

from omega_ai.core.websocket.frames import TEXT
from omega_ai.testkit.contract.document import Contract, parse_contract
from omega_ai.testkit.profile import Profile
from omega_ai.testkit.zoo.site import Site, Visitor

LARGEST: Final = 1000
LONGEST: Final = 20


def _message(kind: str, required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {
        "name": kind,
        "payload": {
            "type": "object",
            "properties": {"type": {"const": kind}, **properties},
            "required": ["type", *required],
        },
    }


def _operation(action: str, takes: str, *replies: str) -> dict[str, Any]:
    channel = {"$ref": "#/channels/main"}
    link = "#/channels/main/messages/"
    return {
        "action": action,
        "channel": channel,
        "messages": [{"$ref": link + takes}],
        "reply": {"channel": channel, "messages": [{"$ref": link + name} for name in replies]},
    }


def document() -> dict[str, Any]:
    """AsyncAPI 3.0."""
    count = {"type": "integer", "minimum": 0}
    messages = {
        "add": _message("add", ("value",), value={"type": "integer", "minimum": 0, "maximum": LARGEST}),
        "sum": _message("sum", ("total",), total=count),
        "label": _message("label", ("text",), text={"type": "string", "maxLength": LONGEST}),
        "labelled": _message("labelled", ("length",), length={**count, "maximum": LONGEST}),
        "reset": _message("reset"),
        "done": _message("done"),
        "error": _message("error", ("message",), message={"type": "string"}),
    }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Sums and labels", "version": "1"},
        "channels": {"main": {"address": "/", "messages": messages}},
        "operations": {
            "add": _operation("receive", "add", "sum", "error"),
            "label": _operation("receive", "label", "labelled", "error"),
            "reset": _operation("receive", "reset", "done"),
        },
    }


class ContractVisitor(Visitor):
    """One client."""

    total = 0
    last = ""

    def on_text(self, data: bytes) -> None:
        """Do what is asked, and remember what it was."""
        try:
            message = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            message = None
        kind = message.get("type") if isinstance(message, dict) else None
        self.say(self.answer(message if isinstance(message, dict) else {}, kind))
        self.last = kind if isinstance(kind, str) else ""

    def say(self, message: dict[str, Any]) -> None:
        """Send it."""
        self.reply(TEXT, msgspec.json.encode(message))

    def answer(self, message: dict[str, Any], kind: Any) -> dict[str, Any]:
        """What is said to a message."""
        if kind == "add" and _is_count(message.get("value")):
            self.total += message["value"]
            return {"type": "sum", "total": self.total}
        if kind == "label" and self.is_label(message.get("text")):
            return {"type": "labelled", "length": len(message["text"])}
        if kind == "reset":
            self.total = 0
            return {"type": "done"}
        return {"type": "error", "message": "that is not in the contract"}

    def is_label(self, text: Any) -> bool:
        """Whether it may be a label."""
        return isinstance(text, str) and len(text) <= LONGEST


def _is_count(value: Any) -> bool:
    # 5.0 is an integer to JSON Schema.
    return not isinstance(value, bool) and isinstance(value, int | float) and value == int(value) and (
        0 <= value <= LARGEST
    )  # fmt: skip


class ContractSite(Site):
    """The right server."""

    visitor: ClassVar[type[Visitor]] = ContractVisitor

    @property
    def profile(self) -> Profile:
        """What it says is in its contract."""
        return Profile(name="contract")

    async def _tick(self) -> None:
        await asyncio.Event().wait()  # no feed


class CrashesAtTheBound(ContractSite):
    """Falls over the greatest number that the contract allows."""

    class visitor(ContractVisitor):  # noqa: N801 - it is the attribute that makes connections
        """See the class."""

        def answer(self, message: dict[str, Any], kind: Any) -> dict[str, Any]:
            """See the class."""
            if kind == "add" and message.get("value") == LARGEST:
                self.abort()
            return super().answer(message, kind)


class BreaksItsAnswer(ContractSite):
    """Answers with a total that is text, once it has more than three digits."""

    class visitor(ContractVisitor):  # noqa: N801
        """See the class."""

        def answer(self, message: dict[str, Any], kind: Any) -> dict[str, Any]:
            """See the class."""
            said = super().answer(message, kind)
            return {**said, "total": f"{said['total']}"} if said.get("total", 0) > 999 else said


class TakesWhatIsTooLong(ContractSite):
    """Takes labels of any length."""

    class visitor(ContractVisitor):  # noqa: N801
        """See the class."""

        def is_label(self, text: Any) -> bool:
            """See the class."""
            return isinstance(text, str)

        def say(self, message: dict[str, Any]) -> None:
            """See the class."""
            if message.get("length", 0) > LONGEST:
                message = {"type": "labelled", "length": LONGEST}
            super().say(message)


class FailsAfterTwo(ContractSite):
    """Falls over a label that comes right after a reset."""

    class visitor(ContractVisitor):  # noqa: N801
        """See the class."""

        def answer(self, message: dict[str, Any], kind: Any) -> dict[str, Any]:
            """See the class."""
            if kind == "label" and self.last == "reset":
                self.abort()
            return super().answer(message, kind)


class ShowsOthersWhatIsWrong(ContractSite):
    """Passes on to everybody what it does not understand."""

    class visitor(ContractVisitor):  # noqa: N801
        """See the class."""

        def on_text(self, data: bytes) -> None:
            """See the class."""
            super().on_text(data)
            if b'"add"' in data:
                for other in self.site.visitors:
                    if other is not self:
                        other.reply(TEXT, data)


class ContractExhibit(NamedTuple):
    """A server that breaks its contract; the case that finds it, what it finds, in how many messages."""

    name: str
    site: type[ContractSite]
    case: str
    kind: str
    steps: int

    @property
    def fault(self) -> str:
        """In a sentence."""
        return (self.site.__doc__ or "").strip().partition("\n")[0]


CONTRACT_EXHIBITS: Final = (
    ContractExhibit("crashes-at-the-bound", CrashesAtTheBound, "contract.valid", "ended", 1),
    ContractExhibit("breaks-its-answer", BreaksItsAnswer, "contract.valid", "answer", 1),
    ContractExhibit("takes-what-is-too-long", TakesWhatIsTooLong, "contract.invalid", "accepted", 1),
    ContractExhibit("fails-after-two", FailsAfterTwo, "contract.sequences", "ended", 2),
    ContractExhibit("shows-others-what-is-wrong", ShowsOthersWhatIsWrong, "contract.invalid", "relayed", 1),
)


def zoo_contract() -> Contract:
    """The contract of these servers."""
    return parse_contract(document(), "zoo-contract.json")
