"""HTTP header values of a WebSocket handshake, parsed strictly (RFC 6455 section 9.1, RFC 9110)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

_TCHARS: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_IS_TOKEN: Final = re.compile(_TCHARS)
_NAME: Final = re.compile(rf"[ \t]*({_TCHARS})[ \t]*")
_PARAM: Final = re.compile(
    rf'[ \t]*({_TCHARS})[ \t]*(?:=[ \t]*(?:({_TCHARS})|"((?:[^"\\\x00-\x1f\x7f]|\\[\t\x20-\x7e])*)")[ \t]*)?'
)
_EMPTY: Final = re.compile(r"[ \t]*")


class Extension(NamedTuple):
    """One offered or chosen extension: its name and its parameters in order; a flag's value is None."""

    name: str
    params: tuple[tuple[str, str | None], ...] = ()


def is_token(text: str) -> bool:
    """Whether ``text`` is an HTTP token: what header names, subprotocols and extensions are made of."""
    return _IS_TOKEN.fullmatch(text) is not None


def tokens(values: Iterable[str]) -> list[str]:
    """The members of a comma-separated list, over all the lines of a header; empty members are left out."""
    return [item for value in values for part in value.split(",") if (item := part.strip(" \t"))]


def parse_extensions(values: Iterable[str]) -> list[Extension]:
    """Parse Sec-WebSocket-Extensions over all its lines.

    Raises ``ValueError`` where it does not follow the grammar: the connection has to be refused then.
    """
    found: list[Extension] = []
    for value in values:
        position = 0
        while True:
            empty = _EMPTY.match(value, position)
            if empty and (empty.end() == len(value) or value[empty.end()] == ","):
                position = empty.end()
            else:
                extension, position = _parse_extension(value, position)
                found.append(extension)
            if position == len(value):
                break
            position += 1  # the comma
    return found


def _parse_extension(value: str, position: int) -> tuple[Extension, int]:
    match = _NAME.match(value, position)
    if match is None:
        raise ValueError(f"expected an extension's name at character {position + 1} of {value!r}")
    name, position = match[1], match.end()
    params: list[tuple[str, str | None]] = []
    while position < len(value) and value[position] == ";":
        match = _PARAM.match(value, position + 1)
        if match is None:
            raise ValueError(f"expected a parameter at character {position + 2} of {value!r}")
        argument: str | None = match[2]
        if argument is None and match[3] is not None:
            argument = re.sub(r"\\(.)", r"\1", match[3])
            if not is_token(argument):  # section 9.1: unquoted, it must be a token
                raise ValueError(f"the quoted value of {match[1]!r} is not a token in {value!r}")
        params.append((match[1], argument))
        position = match.end()
    if position < len(value) and value[position] != ",":
        raise ValueError(f"unexpected {value[position]!r} at character {position + 1} of {value!r}")
    return Extension(name, tuple(params)), position
