"""How a payload of our choice comes back from a target: as it is, or inside of a message of its own."""

from __future__ import annotations

import json
import string
from typing import TYPE_CHECKING, Any

import msgspec

from omega_ai.testkit.case import NotApplicable
from omega_ai.testkit.conformance.frames import BINARY, TEXT, Message
from omega_ai.testkit.profile import matches

if TYPE_CHECKING:
    from omega_ai.testkit.context import Context


class Speech:
    """Wraps and finds payloads as the target's profile says."""

    def __init__(self, context: Context) -> None:
        self._echo = context.profile.echo
        self._json = context.profile.format == "json"
        self._values = context.values()

    @property
    def identical(self) -> bool:
        """Whether any message comes back byte by byte."""
        return self._echo is not None and self._echo.identical and self._echo.send == "${stamp}"

    def text(self, text: str) -> bytes:
        """A text message whose answer will hold ``text``."""
        if self._echo is None or self.identical:
            return text.encode()
        inside = json.dumps(text, ensure_ascii=False)[1:-1] if self._json else text
        return string.Template(self._echo.send).substitute({**self._values, "stamp": inside}).encode()

    def sized(self, size: int, filler: str = "*") -> bytes:
        """A text message of exactly ``size`` bytes, made of one-byte characters.

        Raises:
            NotApplicable: the target's messages cannot be that short.
        """
        least = len(self.text(""))
        if size < least:
            raise NotApplicable(f"the shortest message that this target echoes has {least} bytes")
        return self.text((filler * (size // len(filler) + 1))[: size - least])

    def payload(self, opcode: int, size: int) -> bytes:
        """A message of ``size`` bytes: text, or binary that holds every byte value.

        Raises:
            NotApplicable: the target does not echo that.
        """
        if opcode == TEXT:
            return self.sized(size)
        if not self.identical:
            raise NotApplicable("it is not known to echo binary messages")
        return (bytes(range(256)) * (size // 256 + 1))[:size]

    def is_answer(self, opcode: int, payload: bytes, got: Message) -> bool:
        """Whether ``got`` is the answer to what was sent."""
        if self.identical:
            return got.opcode == opcode and got.data == payload
        if got.opcode != TEXT:
            return False
        if not self._json or self._echo is None:
            return payload in got.data
        try:
            sent, answer = msgspec.json.decode(payload), msgspec.json.decode(got.data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return False
        if not matches(answer, self._echo.answer):
            return False
        return all(text in _strings(answer) for text in _strings(sent))

    def is_notice(self, got: Message) -> bool:
        """Whether ``got`` may be something of the target's own, and no answer at all."""
        return not self.identical and got.opcode in (TEXT, BINARY)


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in value.values() for text in _strings(item)]
    if isinstance(value, list):
        return [text for item in value for text in _strings(item)]
    return []
