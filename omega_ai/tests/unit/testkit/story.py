"""Histories written by hand: what was sent and seen, at times that the test chooses."""

from __future__ import annotations

import json
from typing import Any

from omega_ai.core.timestamps import format_utc
from omega_ai.core.websocket.frames import TEXT
from omega_ai.testkit.history import ClientHistory, Event, Happening, History, Received, Sent
from omega_ai.testkit.profile import Echo, Feed, Profile, Publish, Resume
from omega_ai.testkit.reading import Reading, read
from omega_ai.testkit.result import FaultWindow
from omega_ai.testkit.stamp import make_stamp

MS = 1_000_000
S = 1000 * MS
UTC = 1_767_225_600 * S
RUN = "testrun1"

PROFILE = Profile(
    name="story",
    echo=Echo(send='{"type":"echo","stamp":"${stamp}"}', answer={"type": "echo"}),
    publish=Publish(send='{"type":"publish","stamp":"${stamp}"}', delivered={"type": "news"}),
    feed=Feed(
        data=({"type": "news"},),
        stream="type",
        sequence="seq",
        epoch="epoch",
        time="time",
        max_age_s=5.0,
        price="price",
        bid="bid",
        ask="ask",
        max_jump=0.1,
        max_still_s=2.0,
    ),
    resume=Resume(send="", stream="news", answer={"type": "subscribed"}, recovered="recovered"),
)


class Story:
    """A history under construction. Times are in milliseconds since its start."""

    def __init__(self, *listeners: str, profile: Profile = PROFILE) -> None:
        self.history = History(RUN, 0)
        self.profile = profile
        self.sequence = 0
        for name in listeners:
            self.joins(name, 0)

    def client(self, name: str) -> ClientHistory:
        return self.history.clients.get(name) or self.history.client(name, listens=False)

    def event(self, name: str, ms: float, kind: Happening, life: int = 0, **more: Any) -> None:
        self.client(name).events.append(Event(round(ms * MS), life, kind, **more))

    def joins(self, name: str, ms: float, life: int = 0, text: str = "") -> None:
        self.client(name).listens = True
        self.event(name, ms, Happening.OPEN, life)
        self.event(name, ms, Happening.SUBSCRIBED, life, text=text)

    def opens(self, name: str, ms: float = 0, life: int = 0) -> None:
        self.event(name, ms, Happening.OPEN, life)

    def ends(self, name: str, ms: float, life: int = 0) -> None:
        self.event(name, ms, Happening.END, life)

    def sends(self, name: str, ms: float, number: int, *, published: bool = True, life: int = 0) -> str:
        """Send a stamped message; returns the stamp."""
        client = self.client(name)
        at = round(ms * MS)
        stamp = make_stamp(RUN, client.number, number, at).decode()
        data = json.dumps({"type": "publish" if published else "echo", "stamp": stamp}).encode()
        client.sent.append(Sent(at, at, life, TEXT, data, number, published))
        return stamp

    def sees(self, name: str, ms: float, message: dict[str, Any] | bytes, life: int = 0) -> None:
        """Receive a message; ``time`` in it, if it is a number, is in milliseconds of the story."""
        if isinstance(message, dict):
            moment = message.get("time")
            if isinstance(moment, int | float):
                message = {**message, "time": format_utc(UTC + round(moment * MS))}
            message = json.dumps(message).encode()
        at = round(ms * MS)
        self.client(name).receive(Received(at, UTC + at, life, TEXT, message))

    def news(self, stamp: str | None = None, **more: Any) -> dict[str, Any]:
        """The next numbered message."""
        self.sequence += 1
        return {"type": "news", "epoch": "e1", "seq": self.sequence, "stamp": stamp, **more}

    def fault(self, name: str, begin_ms: float, end_ms: float) -> None:
        self.history.faults.append(FaultWindow(name=name, start_s=begin_ms / 1000, end_s=end_ms / 1000))

    def reading(self, end_ms: float = 60_000) -> Reading:
        return read(self.history, self.profile, end_ns=round(end_ms * MS))
