"""What a message that is not one of our whole stamps means, by the profile. Slow, and seldom needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

import msgspec

from omega_ai.core.timestamps import format_utc
from omega_ai.testkit.profile import Match, Profile, field_of, matches
from omega_ai.testkit.reading import read_time
from omega_ai.testkit.stamp import Damaged, Stamp, read_stamp

Meaning = Literal["ignored", "corrupted", "unexpected", "feed", "confirmed"]

NOTHING: Final[Any] = None


class Said(NamedTuple):
    """What a message means. ``stream``, ``epoch``, ``sequence`` and ``time_ns`` are for the meaning
    ``feed``."""

    meaning: Meaning
    stream: str = ""
    epoch: str = ""
    sequence: int | None = None
    time_ns: int | None = None


class Wording:
    """One profile's."""

    def __init__(self, profile: Profile, run: str) -> None:
        self.profile = profile
        self._run = run.encode("ascii")
        self._json = profile.format == "json"
        answers = [
            None if profile.errors is None else profile.errors.answer,
            None if profile.resume is None else profile.resume.answer,
        ]
        self._answers: list[Match] = [answer for answer in answers if answer]
        ours = [
            None if profile.echo is None else profile.echo.answer,
            None if profile.publish is None else profile.publish.delivered,
        ]
        self._ours: list[Match] = [match for match in ours if match]

    def values(self, number: int, utc_ns: int) -> Mapping[str, object]:
        """What placeholders stand for in a text without a stamp."""
        return {"id": number, "utc": format_utc(utc_ns), "utc_ms": utc_ns // 1_000_000, "price": "60000.00"}

    def whole(self, payload: bytes) -> bool:
        """Whether a message with a whole stamp is whole around it: JSON, where the profile says so."""
        if not self._json:
            return True
        try:
            msgspec.json.decode(payload, type=msgspec.Raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return False
        return True

    def understand(self, payload: bytes) -> Said:
        """A message without a whole stamp of this run."""
        stamp = read_stamp(payload)
        if isinstance(stamp, Damaged) or (stamp is None and (self._run in payload or b"o2:" in payload)):
            return Said("corrupted")  # of one damaged character, at least one of the two is left
        message: Any = None
        if self._json:
            try:
                message = msgspec.json.decode(payload)
            except (msgspec.DecodeError, UnicodeDecodeError):
                return Said("corrupted")
        if isinstance(stamp, Stamp):  # whole, and of another run: somebody else's test on the same channel
            return Said("ignored")
        profile, feed = self.profile, self.profile.feed
        if message is not None:
            if any(matches(message, match) for match in profile.ignore):
                return Said("ignored")
            confirmed = profile.subscribe.confirmed
            if confirmed is not None and matches(message, confirmed):
                return Said("confirmed")
            if feed is not None and (not feed.data or any(matches(message, match) for match in feed.data)):
                return self._feed(message)
            if any(matches(message, match) for match in self._ours):
                return Said("corrupted")  # it is what ours come as, and has no stamp: that must be damaged
            if any(matches(message, match) for match in self._answers):
                return Said("unexpected")
        elif feed is not None and feed.own:
            return Said("feed")
        return Said("ignored" if profile.speaks_first else "unexpected")

    def _feed(self, message: Any) -> Said:
        feed = self.profile.feed
        assert feed is not None  # noqa: S101 - the caller looked
        sequence = field_of(message, feed.sequence)
        if isinstance(sequence, str) and sequence.isdecimal() and len(sequence) < 20:
            sequence = int(sequence)
        if not isinstance(sequence, int) or isinstance(sequence, bool):
            sequence = None
        epoch = field_of(message, feed.epoch)
        return Said(
            "feed",
            str(field_of(message, feed.stream) or ""),
            "" if epoch is None else str(epoch),
            sequence,
            read_time(field_of(message, feed.time), feed.time_format) if feed.time else None,
        )
