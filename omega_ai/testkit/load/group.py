"""One worker's part of a group: who comes when, what is due when, who gets it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final

from omega_ai.testkit.load.clients import Client, EchoClient, PublishClient
from omega_ai.testkit.load.listeners import ListenClient, Marks
from omega_ai.testkit.load.plan import Group, PlanError, Role
from omega_ai.testkit.load.shapes import Constant, times
from omega_ai.testkit.load.stamps import WIDTH, Maker, Template, lead_of, padding_of
from omega_ai.testkit.load.tally import Accounts, Delivery
from omega_ai.testkit.load.wire import CLOSING, IDLE, OPEN

if TYPE_CHECKING:
    from omega_ai.testkit.load.room import Room

NEVER: Final = 1 << 62
CHUNK: Final = 256
TURN: Final = 2000
"""Messages that are sent before what has come is looked at again."""
CONNECTS: Final = 64
"""Connections that are begun before what has come is looked at again."""
BATCHES: Final = 200_000
"""Writes of all clients of a group that are remembered until they are answered."""
MAKERS: Final = {Role.ECHO: EchoClient, Role.PUBLISH: PublishClient, Role.LISTEN: ListenClient}


class GroupRun:
    """Made before the clock runs; ``turn`` does what is due."""

    def __init__(self, room: Room, plan: Group, offset: int) -> None:
        """``offset`` is the number of its first client in the run."""
        self.room, self.plan = room, plan
        self.accounts = Accounts()
        self.clients: list[Client] = []
        """Of this worker, those that have come, in turn."""
        self.pause_ns = round(plan.read_pause_s * 1e9)
        self.corrupted = 0
        self.feed_due = self.feed_lost = self.feed_delivered = 0
        self.reads: dict[bytes, Marks] = {}
        self.over = False
        """Nothing more is to be sent and nobody more to come."""
        part, parts = room.part, room.parts
        self._numbers = iter(range(offset + part, offset + plan.clients, parts))
        self._mine = len(range(part, plan.clients, parts))
        self.batches_limit = max(16, min(2000, BATCHES // max(1, self._mine)))
        end = room.plan.duration_s
        rng = random.Random(f"{room.plan.seed}:{offset}:{part}")
        self._think_rng = random.Random(f"{room.plan.seed}:{offset}:{part}:think")
        self._arrivals = self._arrival_times(end, rng)
        self._next_arrival = next(self._arrivals, NEVER)
        self._messages: Iterator[int] = iter(())
        self._messages_base = round(plan.messages_start_s * 1e9)
        self.messages_end = round((end if plan.messages_end_s is None else plan.messages_end_s) * 1e9)
        if plan.messages is not None and self._mine:
            self._messages = times(
                plan.messages,
                self.messages_end / 1e9 - plan.messages_start_s,
                take=range(part, plan.clients, parts),
                stride=plan.clients,
                rng=random.Random(rng.random()) if plan.random_messages else None,
            )
        self._chunk: list[int] = []
        self._place = 0
        self._turn = 0
        self._churn_turn = 0
        self.next_message = NEVER
        self._advance()
        self._churns = times(
            Constant(plan.churn), end, take=range(part, plan.clients, parts), stride=plan.clients
        )
        self._next_churn = next(self._churns, NEVER)
        self._leave = NEVER if plan.leave_s is None else round(plan.leave_s * 1e9)
        self._wording()

    def _wording(self) -> None:
        """What its clients send."""
        room, plan = self.room, self.plan
        profile = room.plan.profile
        self.exact = self.identical = self.repeatable = False
        if plan.role is Role.LISTEN:
            return
        said = profile.echo if plan.role is Role.ECHO else profile.publish
        if said is None:
            raise PlanError(f"the profile {profile.name} has nothing to {plan.role}: it has no [{plan.role}]")
        self.template = Template(said.send, room.clock, room.rng)
        self.identical = profile.echo is not None and profile.echo.identical and plan.role is Role.ECHO
        self.exact = self.identical and self.template.bare
        """A message is the stamp and nothing else, and comes back as it is."""
        self.repeatable = self.identical and not self.template.timed
        """What comes back can be made again from its stamp."""
        self.stamp_size = max(WIDTH, plan.size)
        self.padding = padding_of(plan.size)
        self.client_head, self.server_head = _heads(self.stamp_size)
        self.leads: dict[int, bytes] = {}

    def maker(self, number: int) -> Maker:
        """Makes what the client ``number`` sends."""
        if self.exact:
            self.leads[number] = lead_of(self.room.run, number)
        return self.template.maker(self.room.run, number, self.plan.size)

    def _arrival_times(self, end: float, rng: random.Random) -> Iterator[int]:
        plan, part, parts = self.plan, self.room.part, self.room.parts
        start = round(plan.start_s * 1e9)
        shape = plan.arrivals
        if shape is None:
            if plan.ramp_s <= 0:
                return iter([start] * self._mine)
            shape = Constant(plan.clients / plan.ramp_s)
            end = plan.start_s + plan.ramp_s + 1.0
        found = times(
            shape,
            end - plan.start_s,
            take=range(part, plan.clients, parts),
            stride=plan.clients,
            rng=random.Random(rng.random()) if plan.random_arrivals else None,
        )
        return (start + at for at in islice(found, self._mine))

    # In time.

    @property
    def next_due(self) -> int:
        """When the next thing is due: ns since the start."""
        return min(self._next_arrival, self.next_message, self._next_churn, self._leave)

    def turn(self, now: int) -> None:
        """Do what is due."""
        if self._next_arrival <= now:
            self._arrive(now)
        if self.next_message <= now:
            self._send(now)
        while self._next_churn <= now:
            self._churn_one(now)
            self._next_churn = next(self._churns, NEVER)
        if self._leave <= now:
            self._leave = NEVER
            self.stop()
            for client in self.clients:
                client.closing = True
                client.close(now)

    def stop(self) -> None:
        """Nothing more is to be sent, and nobody more to come."""
        self.over = True
        self._next_arrival = self.next_message = self._next_churn = NEVER
        self._chunk, self._messages = [], iter(())

    def overdue(self, now: int) -> int:
        """Messages that were due by ``now`` and have not been sent yet."""
        left = self._chunk[self._place :]
        return sum(self._messages_base + at <= now for at in left) + sum(
            1 for at in self._messages if self._messages_base + at <= now
        )

    def _advance(self) -> None:
        self._chunk = list(islice(self._messages, CHUNK))
        self._place = 0
        self.next_message = self._messages_base + self._chunk[0] if self._chunk else NEVER

    def _arrive(self, now: int) -> None:
        room, plan = self.room, self.plan
        for _ in range(CONNECTS):
            if self._next_arrival > now:
                return
            number = next(self._numbers, None)
            if number is None:
                self._next_arrival = NEVER
                return
            client = MAKERS[plan.role](self, number)
            if isinstance(client, PublishClient):
                room.publishers[number] = client
            self.clients.append(client)
            self._connect(client, self._next_arrival, now)
            self._next_arrival = next(self._arrivals, NEVER)

    def _connect(self, client: Client, intended: int, now: int) -> None:
        room = self.room
        room.recorder.counts.connects_intended += 1
        client.connect(room.door(client.number, self.plan.role), room.source(client.number), intended, now)
        if client.state != IDLE:
            room.connecting(client)

    def _send(self, now: int) -> None:
        """Give what is due to the clients in turn, then let each send all that is its own in one write."""
        recorder, clients, base = self.room.recorder, self.clients, self._messages_base
        number = len(clients)
        lags = recorder.send_lags
        touched: list[Client] = []
        chunk, place, turn, done = self._chunk, self._place, self._turn, 0
        late = now - base
        while chunk and chunk[place] <= late and done < TURN:
            at = chunk[place]
            place += 1
            done += 1
            lags[(late - at) >> 13] += 1
            if number:
                if turn >= number:
                    turn = 0
                client = clients[turn]
                turn += 1
                if not client.due:
                    touched.append(client)
                client.due.append(base + at)
            if place == len(chunk):
                self._advance()
                chunk, place = self._chunk, 0
        self._place, self._turn = place, turn
        self.next_message = base + chunk[place] if chunk else NEVER
        recorder.counts.intended += done
        if not number:
            recorder.counts.unsent += done
        now_ = self.room.now
        for client in touched:
            client.send_due(now_())

    def think(self, client: EchoClient, now: int, awaited: int) -> None:
        """The client was answered (or begins): it thinks, and sends. ``awaited``: what it had sent until
        then."""
        think = self.plan.think_s or 0.0
        pause = self._think_rng.expovariate(1 / think) if self.plan.random_think and think else think
        due = now + round(pause * 1e9)
        limit = round(self.plan.answer_timeout_s * 1e9)

        def send(late: int) -> None:
            if client.sent != awaited or client.state != OPEN or due >= self.messages_end or self.over:
                return
            recorder = self.room.recorder
            recorder.counts.intended += 1
            recorder.send_lags[(late - due) >> 13] += 1
            client.due.append(due)
            client.send_due(late)
            sent = client.sent
            self.room.at(late + limit, lambda then: self._give_up(client, sent, then))

        self.room.at(due, send)

    def _give_up(self, client: EchoClient, sent: int, now: int) -> None:
        if client.sent == sent and client.stream.next < sent and client.state == OPEN:
            self.room.recorder.error("timeout: no answer")
            self.think(client, now, sent)

    def _churn_one(self, now: int) -> None:
        for _ in range(len(self.clients)):
            self._churn_turn = (self._churn_turn + 1) % len(self.clients)
            client = self.clients[self._churn_turn]
            if client.state == OPEN:
                client.churn(now)
                return

    def left(self, client: Client, now: int, *, churned: bool) -> None:
        """The client's connection is over, or was not to be had."""
        if self.over or self.room.ending:
            return
        if churned:
            client.closing = False
            self.room.at(now, lambda late: self._return(client, now, late))
        elif self.plan.reconnect_s is not None:
            due = now + round(self.plan.reconnect_s * 1e9)
            self.room.at(due, lambda late: self._return(client, due, late))
        else:
            client.closing = True

    def _return(self, client: Client, intended: int, now: int) -> None:
        if client.state == IDLE and not self.over and not self.room.ending:
            self._connect(client, intended, now)

    # At the end.

    def in_flight(self) -> int:
        """Messages that have not come back yet, of those that do, or wait for a connection that is made."""
        return sum(
            client.sent - client.stream.next
            if client.state in (OPEN, CLOSING)
            else len(client.waiting or ()) * (client.state != IDLE)
            for client in self.clients
            if isinstance(client, EchoClient)
        )

    def behind(self) -> bool:
        """Whether a listener has yet to see what the publishers of this process have sent."""
        return any(isinstance(client, ListenClient) and client.behind() for client in self.clients)

    def settle(self) -> Accounts:
        """Close its accounts."""
        accounts = self.accounts
        due = lost = unknown = damaged = 0
        for client in self.clients:
            if client.waiting:
                self.room.recorder.counts.unsent += len(client.waiting)
                client.waiting = None
            if isinstance(client, EchoClient):
                parts = client.settle()
                due += client.sent
                lost, unknown, damaged = lost + parts[0], unknown + parts[1], damaged + parts[2]
            elif isinstance(client, PublishClient):
                accounts.sent_by[client.number] = client.sent
                if client.uncertain:
                    accounts.uncertain[client.number] = client.uncertain
            elif isinstance(client, ListenClient) and client.state == OPEN:
                client.settle(accounts)
        accounts.echo = Delivery(
            due=due,
            delivered=max(0, due - lost - unknown - damaged),
            lost=lost,
            unknown=unknown,
            corrupted=damaged,
        )
        fed = self.feed_due + self.feed_delivered
        accounts.feed = Delivery(due=fed, delivered=max(0, fed - self.feed_lost), lost=self.feed_lost)
        accounts.corrupted = self.corrupted
        return accounts


def _heads(size: int) -> tuple[bytes, bytes]:
    """A text frame's head up to the payload, or the mask: of a client, of a server."""
    if size < 126:
        return bytes((0x81, 0x80 | size)), bytes((0x81, size))
    if size < 0x10000:
        return b"\x81\xfe" + size.to_bytes(2, "big"), b"\x81\x7e" + size.to_bytes(2, "big")
    return b"\x81\xff" + size.to_bytes(8, "big"), b"\x81\x7f" + size.to_bytes(8, "big")
