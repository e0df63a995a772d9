"""How to speak to a server under test: a small TOML file, or one of those built in.

Fields of a JSON message are named by dotted paths; a number is a place in an array: ``data.0.price``. A
*match* is a table of such paths and the values they must have; ``"*"`` is any value, if there is one.
``docs/testkit/profiles.md`` has worked examples.
"""

from __future__ import annotations

import string
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

MAX_PROFILE_BYTES: Final = 1 << 20

Match = dict[str, str | int | float | bool]
TimeFormat = Literal["iso8601", "s", "ms", "us", "ns"]

PLACEHOLDERS: Final = ("stamp", "id", "utc", "utc_ms", "price", "stream", "epoch", "sequence")
"""What ``${...}`` in a text to send may name."""


class ProfileError(ValueError):
    """A profile that cannot be used; ``str(error)`` names the file and the field."""


class Connect(Struct, frozen=True, forbid_unknown_fields=True):
    """What every connection asks for."""

    query: str = ""
    """Added to the URL, for clients that do not listen."""
    subprotocols: tuple[str, ...] = ()
    headers: dict[str, str] = {}


class Subscribe(Struct, frozen=True, forbid_unknown_fields=True):
    """How a client comes to see what is published; without anything, by connecting."""

    query: str | None = None
    """Added to the URL, instead of ``connect.query``."""
    send: tuple[str, ...] = ()
    confirmed: Match | None = None
    """The message that confirms it, once for each text sent."""


class Echo(Struct, frozen=True, forbid_unknown_fields=True):
    """A message that is answered to its sender alone; it carries ``${stamp}``."""

    send: str
    answer: Match = {}
    identical: bool = False
    """The answer is the very bytes that were sent."""


class Publish(Struct, frozen=True, forbid_unknown_fields=True):
    """A message that others get to see; it carries ``${stamp}``."""

    send: str
    delivered: Match = {}
    to_sender: bool = True
    """Its sender gets it too."""


class Feed(Struct, frozen=True, forbid_unknown_fields=True):
    """What a published message says of itself. A field that is not named is not checked."""

    own: bool = False
    """The server sends such messages by itself, so that listening is enough to see some."""
    data: tuple[Match, ...] = ()
    """Which messages are data: those that any of these matches; all, if there is none."""
    stream: str | None = None
    """Field that names the stream within which messages are numbered."""
    sequence: str | None = None
    epoch: str | None = None
    step: int = 1
    """By how much the number grows; 0: it grows, by whatever it likes."""
    time: str | None = None
    time_format: TimeFormat = "iso8601"
    max_age_s: float | None = None
    """How old a message may be when it arrives, by its own time."""
    price: str | None = None
    bid: str | None = None
    ask: str | None = None
    max_jump: float | None = None
    """How far one price may be from the one before, as a share of it: 0.1 is ten per cent."""
    max_still_s: float | None = None
    """For how long messages may go on coming with one and the same price."""


class Resume(Struct, frozen=True, forbid_unknown_fields=True):
    """How a client that comes back asks for what it missed: ``${epoch}``, ``${sequence}``, ``${stream}``."""

    send: str
    stream: str
    """The stream that is resumed."""
    answer: Match
    recovered: str | None = None
    """Field of the answer that is true if everything missed is sent; without it, it is taken as promised."""


class Errors(Struct, frozen=True, forbid_unknown_fields=True):
    """How the server says that a message was wrong."""

    answer: Match
    id: str | None = None
    """Field that carries back the ``id`` of what was wrong."""


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """What the server is said to hold."""

    message_bytes: int | None = None
    """Larger messages must be refused (close code 1009); without it, a limit is only advised."""
    max_latency_s: float = 2.0
    """Above this an answer or a delivery is late."""
    rate: float = 200.0
    """Messages per second that one client may send without being limited."""


class Security(Struct, frozen=True, forbid_unknown_fields=True):
    """What the server is said to guard. What is not said is advised, and its absence a warning."""

    checks_origin: bool = False
    """Web pages of other origins are refused."""
    checks_tokens: bool = False
    """A bearer token that is wrong is refused."""
    handshake_timeout_s: float | None = None
    """Who does not finish the handshake is dropped."""


class ContractHints(Struct, frozen=True, forbid_unknown_fields=True):
    """For tests from a contract."""

    skip: tuple[str, ...] = ()
    """Messages that are not generated: what ends a connection by right, such as a wrong token."""
    values: dict[str, tuple[Any, ...]] = {}
    """Name of a field -> values that mean something there: channels that exist, for example."""


class Profile(Struct, frozen=True, forbid_unknown_fields=True):
    """How to speak to one kind of server."""

    name: str
    description: str = ""
    format: Literal["json", "text", "binary"] = "json"
    read_only: bool = False
    """A server of others that nobody allowed us to strain: we connect, subscribe and listen."""
    speaks_first: bool = False
    """The server may send something right after the handshake."""
    connect: Connect = Connect()
    subscribe: Subscribe = Subscribe()
    ignore: tuple[Match, ...] = ()
    """Messages that are neither data nor unexpected: heartbeats, notices."""
    echo: Echo | None = None
    publish: Publish | None = None
    feed: Feed | None = None
    resume: Resume | None = None
    errors: Errors | None = None
    limits: Limits = Limits()
    security: Security = Security()
    contract: ContractHints = ContractHints()

    def problems(self) -> list[str]:
        """What is wrong with it, beyond the types of its fields."""
        found = []
        for field, text, needed in self._texts():
            try:
                names = set(string.Template(text).get_identifiers())
                string.Template(text).substitute(dict.fromkeys(names, "0"))
            except ValueError:
                found.append(f"{field}: a $ that begins no ${{name}}; write $$ for a dollar sign")
                continue
            found += [
                f"{field}: no ${{{name}}}; there are {', '.join(PLACEHOLDERS)}"
                for name in sorted(names - set(PLACEHOLDERS))
            ]
            if needed and "stamp" not in names:
                found.append(f"{field}: needs ${{stamp}}, by which the answer is told from others")
        if self.resume is not None and (self.feed is None or self.feed.sequence is None):
            found.append("resume: needs feed.sequence, the position to resume from")
        if self.read_only and (self.echo is not None or self.publish is not None):
            found.append("read_only: and yet it has something to send, in echo or publish")
        return found

    def _texts(self) -> list[tuple[str, str, bool]]:
        texts = [(f"subscribe.send[{n}]", text, False) for n, text in enumerate(self.subscribe.send)]
        if self.echo is not None:
            texts.append(("echo.send", self.echo.send, True))
        if self.publish is not None:
            texts.append(("publish.send", self.publish.send, True))
        if self.resume is not None:
            texts.append(("resume.send", self.resume.send, False))
        return texts


def fill(text: str, values: Mapping[str, object]) -> bytes:
    """A text to send, its placeholders filled."""
    return string.Template(text).substitute(values).encode()


def builtin_names() -> tuple[str, ...]:
    """Profiles that come with the test kit."""
    return tuple(
        sorted(
            entry.name.removesuffix(".toml")
            for entry in resources.files("omega_ai.testkit.profiles").iterdir()
            if entry.name.endswith(".toml")
        )
    )


def load_profile(name: str) -> Profile:
    """The built-in profile ``name``, or the one in the file ``name``.

    Raises:
        ProfileError: neither, or the file is wrong.
    """
    if name in builtin_names():
        text = (resources.files("omega_ai.testkit.profiles") / f"{name}.toml").read_text(encoding="utf-8")
        return parse_profile(text, name)
    path = Path(name).expanduser()
    try:
        with path.open("rb") as file:
            data = file.read(MAX_PROFILE_BYTES + 1)
    except OSError as error:
        raise ProfileError(
            f"no profile {name!r}: it is none of {', '.join(builtin_names())}, "
            f"and as a file it cannot be read ({error.strerror})"
        ) from None
    if len(data) > MAX_PROFILE_BYTES:
        raise ProfileError(f"{name}: more than {MAX_PROFILE_BYTES} bytes, so no profile")
    try:
        return parse_profile(data.decode("utf-8"), name)
    except UnicodeDecodeError:
        raise ProfileError(f"{name}: not UTF-8") from None


def parse_profile(text: str, where: str) -> Profile:
    """A profile from TOML; ``where`` names it in errors.

    Raises:
        ProfileError: not TOML, or a field that is missing, unknown or wrong.
    """
    try:
        profile = msgspec.convert(tomllib.loads(text), Profile)
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{where}: not TOML: {error}") from None
    except msgspec.ValidationError as error:
        raise ProfileError(f"{where}: {error}") from None
    problems = profile.problems()
    if problems:
        raise ProfileError(f"{where}: {'; '.join(problems)}")
    return profile


def field_of(message: Any, path: str | None) -> Any:
    """The value at ``path``; None if there is none."""
    if path is None:
        return None
    for part in path.split("."):
        if isinstance(message, dict):
            message = message.get(part)
        elif isinstance(message, list) and part.isdecimal() and int(part) < len(message):
            message = message[int(part)]
        else:
            return None
    return message


def matches(message: Any, match: Match) -> bool:
    """Whether a decoded message has every value of ``match``."""
    for path, wanted in match.items():
        value = field_of(message, path)
        if value is None or (
            wanted != "*" and (value != wanted or isinstance(value, bool) != isinstance(wanted, bool))
        ):
            return False
    return True
