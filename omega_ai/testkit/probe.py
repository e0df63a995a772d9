"""Finds out how an unknown server is spoken to, by a few harmless messages, and what can be checked."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from omega_ai.testkit.connection import ConnectFailed, Connection
from omega_ai.testkit.context import Context, decode
from omega_ai.testkit.history import Received
from omega_ai.testkit.profile import Echo, Feed, Profile, Publish, TimeFormat, field_of, load_profile, matches
from omega_ai.testkit.reading import read_time
from omega_ai.testkit.target import Target

KNOWN_HOSTS: Final = {
    "ws-feed.exchange.coinbase.com": "coinbase",
    "stream.binance.com": "binance",
    "data-stream.binance.vision": "binance",
    "ws.kraken.com": "kraken",
}
LISTEN_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 1.0
MAX_DEPTH: Final = 4

_JSON_ECHO: Final = '{"type":"test","id":${id},"stamp":"${stamp}"}'


@dataclass(frozen=True, slots=True)
class Probe:
    """What was found."""

    profile: Profile
    facts: tuple[str, ...]
    limits: tuple[str, ...]
    server: str | None = None


async def probe(target: Target, *, seed: int) -> Probe:
    """Find a profile for ``target``, whose own is not looked at.

    Raises:
        ConnectFailed: nobody can be spoken to at all.
    """
    host = urlsplit(target.url).hostname or ""
    if host in KNOWN_HOSTS:
        profile = load_profile(KNOWN_HOSTS[host])
        return Probe(
            profile, (f"{host} is {profile.name}, a public feed: we only listen",), limits_of(profile)
        )
    blank = Target(target.url, Profile(name="unknown", format="text"), ca=target.ca, token=target.token)
    async with Context(blank, seed=seed, name="probe") as context:
        return await _Prober(context).run()


class _Prober:
    def __init__(self, context: Context) -> None:
        self.context = context
        self.facts: list[str] = []

    async def run(self) -> Probe:
        first = await self._connect()
        spoken = await self._listen(first)
        seconds = await first.ping(b"omega", ANSWER_SECONDS)
        self._say("answers a ping" if seconds is not None else "does not answer a ping within a second")
        profile = await self._ask(first, spoken)
        server = first.response.header("server")
        return Probe(profile, tuple(self.facts), limits_of(profile), server)

    def _say(self, fact: str) -> None:
        self.facts.append(fact)

    async def _connect(self) -> Connection:
        context = self.context
        try:
            first = await context.connect("probe", subprotocols=("omega.v2",), compression=True, must=False)
        except ConnectFailed as error:
            if error.stage != "handshake":
                raise
            first = await context.connect("probe, plain", must=False)
            self._say("refuses an offer of a subprotocol or of compression that it does not know")
        else:
            chosen = f"agrees to the subprotocol {first.subprotocol}" if first.subprotocol else None
            self._say(chosen or "has no subprotocol omega.v2")
            self._say("compresses (permessage-deflate)" if first.compressed else "does not compress")
        return first

    async def _listen(self, connection: Connection) -> list[Received]:
        spoken: list[Received] = []
        deadline = self.context.clock.monotonic() + LISTEN_SECONDS
        while (left := deadline - self.context.clock.monotonic()) > 0:
            item = await connection.receive(within=left)
            if item is None:
                break
            spoken.append(item)
        if spoken:
            self._say(f"speaks first: {len(spoken)} messages within a second of connecting")
        else:
            self._say("does not speak first")
        return spoken

    async def _ask(self, first: Connection, spoken: Sequence[Received]) -> Profile:
        context = self.context
        if first.subprotocol == "omega.v2":
            omega = load_profile("omega")
            context.profile = omega
            answer = await context.receive_stamp(first, context.send_echo(first), ANSWER_SECONDS)
            # A server that sends back, or to all, whatever it gets agrees to any subprotocol too.
            if answer is not None and omega.echo is not None and matches(decode(answer), omega.echo.answer):
                self._say("answers as omega.v2 does")
                return omega
        other = await context.connect("probe 2", must=False)
        for text, form in (("${stamp}", "text"), (_JSON_ECHO, "json")):
            found = await self._try_text(first, other, text, form, spoken)
            if found is not None:
                return found
            if not first.open:
                self._say(f"ends the connection when it is sent what it does not know: {first.ended}")
                break
        if spoken:
            return self._feed(spoken)
        self._say("answers neither a text nor a JSON object: how to speak to it is not known")
        return Profile(name="silent", description="A server that answers nothing we know.", format="text")

    async def _try_text(
        self, first: Connection, other: Connection, text: str, form: str, spoken: Sequence[Received]
    ) -> Profile | None:
        context = self.context
        context.profile = Profile(name="try", echo=Echo(send=text))
        if not first.open:
            return None
        sent = context.send_echo(first)
        answer = await context.receive_stamp(first, sent, ANSWER_SECONDS)
        passed_on = await context.receive_stamp(other, sent, 0.3 if answer is not None else 0.1)
        what = "a text" if form == "text" else "a JSON object"
        if passed_on is not None:
            self._say(f"passes {what} on to others" + (" and back to its sender" if answer else ""))
            return Profile(
                name="broadcast (probed)",
                description="A server that passes what one client sends on to all.",
                format="json" if form == "json" else "text",
                speaks_first=bool(spoken),
                publish=Publish(send=text, to_sender=answer is not None),
            )
        if answer is None:
            self._say(f"gives {what} back to nobody")
            return None
        identical = answer.data == sent.data
        self._say(f"answers {what} with {'the same bytes' if identical else 'what was in it'}")
        return Profile(
            name="echo" if identical else "echo (probed)",
            description="A server that sends back what it is sent.",
            format="json" if form == "json" else "text",
            speaks_first=bool(spoken),
            echo=Echo(send=text, identical=identical),
        )

    def _feed(self, spoken: Sequence[Received]) -> Profile:
        messages = [message for item in spoken if isinstance(message := decode(item), dict)]
        if len(messages) < len(spoken):
            self._say("what it sends is not all JSON objects")
            return Profile(name="listener (probed)", format="text", speaks_first=True, feed=Feed(own=True))
        self._say("what it sends is JSON objects")
        sequence, step = numbering(messages)
        if sequence is not None:
            how = "by one" if step == 1 else "by more than one"
            self._say(f"its messages are numbered in {sequence!r}, which grows {how}")
        time, form = time_field(messages, spoken[-1].utc_ns)
        if time is not None:
            self._say(f"its messages say in {time!r} when they were made")
        feed = Feed(own=True, sequence=sequence, step=step, time=time, time_format=form)
        return Profile(name="feed (probed)", format="json", speaks_first=True, read_only=True, feed=feed)


def limits_of(profile: Profile) -> tuple[str, ...]:
    """What cannot be checked with ``profile``, one sentence each."""
    feed = profile.feed
    found = []
    if profile.echo is None and profile.publish is None:
        found.append(
            "no message of ours comes back, so loss is only seen where its own messages are numbered"
        )
    if profile.publish is None:
        found.append("whether what one client sends reaches all others cannot be checked")
    if feed is None or feed.sequence is None:
        found.append("its messages have no known number, so a loss that hits every client alike stays unseen")
    if feed is None or feed.time is None:
        found.append("its messages have no known time, so stale ones stay unseen")
    if profile.resume is None:
        found.append(
            "how a client asks for what it missed is not known, so a gap after a reconnect is not judged"
        )
    return tuple(found)


def numbering(messages: Sequence[dict[str, Any]]) -> tuple[str | None, int]:
    """The field that grows by one from message to message (step 1), or that at least grows (step 0)."""
    if len(messages) < 3:
        return None, 1
    growing = []
    for path in _paths(messages[0]):
        values = [field_of(message, path) for message in messages]
        if not all(isinstance(value, int) and not isinstance(value, bool) for value in values):
            continue
        steps = {b - a for a, b in itertools.pairwise(values)}
        if steps == {1}:
            return path, 1
        # Times grow too, but they are no numbering; nothing else is as large.
        if min(steps) > 0 and max(values) < 10**12:
            growing.append(path)
    return (growing[0], 0) if growing else (None, 1)


def time_field(messages: Sequence[dict[str, Any]], utc_ns: int) -> tuple[str | None, TimeFormat]:
    """The field that holds a time within a day of ``utc_ns`` in every message, and how it is written."""
    forms: tuple[TimeFormat, ...] = ("iso8601", "s", "ms", "us", "ns")
    for path in _paths(messages[0]):
        for form in forms:
            times = [read_time(field_of(message, path), form) for message in messages]
            if all(time is not None and abs(time - utc_ns) < 86_400 * 10**9 for time in times):
                return path, form
    return None, "iso8601"


def _paths(message: Any, prefix: str = "", depth: int = 0) -> list[str]:
    """Dotted paths of all values in a message, the outermost first."""
    if depth >= MAX_DEPTH:
        return []
    items: list[tuple[str, Any]] = []
    if isinstance(message, dict):
        items = list(message.items())
    elif isinstance(message, list):
        items = [(str(place), value) for place, value in enumerate(message[:1])]
    here = [
        f"{prefix}{name}" for name, value in items if not isinstance(value, dict | list) and "." not in name
    ]
    for name, value in items:
        if isinstance(value, dict | list) and "." not in name:
            here += _paths(value, f"{prefix}{name}.", depth + 1)
    return here
