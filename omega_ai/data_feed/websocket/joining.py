"""How one client comes into a channel: at once, or after it has been given what it missed.

Taking the position, sending what was missed and joining happen in one turn, so replay and live messages meet
without gap or double.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from omega_ai.data_feed.broker.base import History, Position
from omega_ai.data_feed.websocket import messages as wire
from omega_ai.data_feed.websocket.backlog import Backlog
from omega_ai.data_feed.websocket.close_codes import CloseCode
from omega_ai.data_feed.websocket.errors import ErrorCode, MessageError
from omega_ai.data_feed.websocket.replays import Replay

if TYPE_CHECKING:
    from omega_ai.data_feed.websocket.context import Context, Subscription
    from omega_ai.data_feed.websocket.session import Session


class _Asked(NamedTuple):
    """A subscription that waits for the broker's history."""

    subscription: Subscription
    request_id: wire.RequestId | None


class Joining:
    """See the module's text. Belongs to one session, and is made with its first ``subscribe``."""

    __slots__ = ("_context", "_session", "outbox", "under_way")

    def __init__(self, session: Session, context: Context) -> None:
        self._session = session
        self._context = context
        self.outbox = session.outbox
        self.under_way: dict[str, Replay | _Asked] = {}
        """The channels that it is being brought up to date in, before it joins them."""

    def join(
        self, subscription: Subscription, since: Position | None, request_id: wire.RequestId | None
    ) -> None:
        """Subscribe to one channel and resume from ``since``: at once from memory, or after a look back.

        Raises:
            MessageError: too many look backs are under way.
        """
        name = subscription.channel
        # Leave first: what is under way to the old subscription is sent before the answer, and nothing after
        # it.
        self._session.leave(name)
        if self._session.closed:
            return
        if name == "heartbeat":
            self._answer(subscription, None, request_id, recovered=False)
            self._session.subscribe_to(self._session.subscriptions | {subscription})
            return
        position = self._context.channels.position(name)
        if since is None:
            frames = self._state_of(subscription, always=False)
            self._joined(subscription, position, request_id, recovered=False, frames=frames)
        elif not self._resume(subscription, since, request_id, None):
            # Older than the tail; or unknown here, which proves nothing: another server may have been ahead
            # of this one. The broker knows.
            self._resume_from_history(subscription, since, request_id)

    def give_up(self, channel: str) -> None:
        """What is under way to bring the client up to date is not wanted any more."""
        given_up = self.under_way.pop(channel, None)
        if isinstance(given_up, Replay):
            self._context.channels.replays.cancel(given_up)
        elif given_up is not None:
            # It is owed an answer all the same; an end comes next, or another beginning.
            position = self._context.channels.position(channel)
            self._answer(given_up.subscription, position, given_up.request_id, recovered=False)

    def give_up_unless(self, may_read: Callable[[str], bool]) -> None:
        """Its rights have changed."""
        for name in [name for name in self.under_way if not may_read(name)]:
            self.give_up(name)

    def wake(self) -> None:
        """The client reads again."""
        for replay in list(self.under_way.values()):
            if isinstance(replay, Replay):
                self._context.channels.replays.wake(replay)

    def end(self) -> None:
        """The connection is over: nobody is owed anything."""
        for given_up in self.under_way.values():
            if isinstance(given_up, Replay):
                self._context.channels.replays.cancel(given_up)
        self.under_way.clear()

    # What a replay calls

    def caught_up(self, replay: Replay) -> None:
        """It has had all that was missed: live from here on."""
        self.under_way.pop(replay.subscription.channel, None)
        self._session.subscribe_to(self._session.subscriptions | {replay.subscription})

    def continuity_lost(self, replay: Replay) -> None:
        """It has had all that there was before its channel broke: that is told, and live from here on."""
        subscription = replay.subscription
        self.under_way.pop(subscription.channel, None)
        state = self._state_of(subscription, always=True)
        position = self._context.channels.position(subscription.channel)
        self._joined(subscription, position, None, recovered=False, frames=state)

    def too_slow(self) -> None:
        """What it has missed cannot be kept for it any longer; when it comes again, it may be had anew."""
        self._session.close(
            CloseCode.SLOW_CONSUMER, "what you have missed waits for you too long: read faster, connect again"
        )

    # Parts

    def _resume(
        self,
        subscription: Subscription,
        since: Position,
        request_id: wire.RequestId | None,
        history: History | None,
    ) -> bool:
        """Give what was missed, then join; False if it cannot be had whole from memory and ``history``."""
        name = subscription.channel
        channels = self._context.channels
        position = channels.position(name)
        backlog: Backlog | None = None
        if since != position:
            backlog = channels.backlog(name, since, history)
            if backlog is None:
                return False
        self._count("recovered")
        if backlog is None or subscription.mode == "latest":
            frames = [] if backlog is None else self._state_of(subscription, always=True)
            self._joined(subscription, position, request_id, recovered=True, frames=frames)
        else:
            self._answer(subscription, position, request_id, recovered=True)
            self._session.flush()
            if not self._session.closed:
                channels.replay(self, subscription, since, backlog)
        return True

    def _resume_from_history(
        self, subscription: Subscription, since: Position, request_id: wire.RequestId | None
    ) -> None:
        session = self._session
        session.begin_lookback()
        name = subscription.channel
        asked = self.under_way[name] = _Asked(subscription, request_id)

        def done(history: History | None) -> None:
            session.end_lookback()
            if session.closed or self.under_way.get(name) is not asked:
                return
            del self.under_way[name]
            position = self._context.channels.position(name)
            if history is None or not _has_reached(position, history.position):
                # Nothing is known about the past, so nothing is said about it: whoever comes again may yet be
                # served whole.
                text = f"what was missed of '{name}' cannot be read now: subscribe again"
                session.refuse(MessageError(ErrorCode.INTERNAL, text), request_id)
            elif not history.whole or not self._resume(subscription, since, request_id, history):
                self._count("unrecovered")
                state = self._state_of(subscription, always=True)
                self._joined(subscription, position, request_id, recovered=False, frames=state)
            session.flush()

        self._context.channels.look_back_to_resume(name, since, done)

    def _joined(
        self,
        subscription: Subscription,
        position: Position,
        request_id: wire.RequestId | None,
        *,
        recovered: bool,
        frames: list[bytes],
    ) -> None:
        self._answer(subscription, position, request_id, recovered=recovered)
        self._session.reply_frames(frames)
        self._session.subscribe_to(self._session.subscriptions | {subscription})

    def _answer(
        self,
        subscription: Subscription,
        position: Position | None,
        request_id: wire.RequestId | None,
        *,
        recovered: bool,
    ) -> None:
        name, mode, interval_ms = subscription
        self._session.reply(wire.encode_subscribed(request_id, name, position, mode, interval_ms, recovered))

    def _state_of(self, subscription: Subscription, *, always: bool) -> list[bytes]:
        """The latest state, for those who have no continuity: ``latest`` subscribers and failed resumes."""
        if not always and subscription.mode != "latest":
            return []
        newest = self._context.channels.newest(subscription.channel)
        return [] if newest is None else [newest]

    def _count(self, outcome: str) -> None:
        resumes = self._context.resumes
        resumes[outcome] = resumes.get(outcome, 0) + 1


def _has_reached(position: Position, top: Position) -> bool:
    return position.epoch == top.epoch and position.seq >= top.seq
