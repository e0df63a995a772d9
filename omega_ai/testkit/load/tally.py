"""What a load run saw: counted per window and in all, merged over workers and machines without error.

``Window`` is what happened in a stretch of time; ``Tally`` is a run or a part of one. ``merge`` joins the
parts: of the same plan run by several workers and shards. Loss among publishers and listeners in different
processes is only known once both sides are together: ``Tally.delivery`` works it out from what is kept of
each.

Times are nanoseconds unless a name says otherwise; a window's ``start_s`` is seconds since the start of the
run.
"""

from __future__ import annotations

from msgspec import Struct, structs

from omega_ai.core.histogram import Histogram
from omega_ai.testkit.load.detour import DetourCost
from omega_ai.testkit.result import FaultWindow

MAX_WINDOWS = 3600
"""Windows that a tally keeps; when there are more, neighbours are joined, and each is twice as long."""
OFFENDERS = 10
"""Worst clients that are named for each kind of anomaly."""


class Counts(Struct, kw_only=True, omit_defaults=True):
    """How often things happened. All add up over windows, workers and shards."""

    intended: int = 0
    """Messages that were due."""
    sent: int = 0
    """Messages given to the kernel, or to the backlog of a connection that the server does not read from."""
    unsent: int = 0
    """Messages that were due and never sent, as their client had no connection: the server's doing."""
    skipped: int = 0
    """Messages that were due and never sent, as the generator did not get to it: our doing."""
    received: int = 0
    """Data messages that came, of whatever kind."""
    answered: int = 0
    """Of these, those of ours (stamped) that came whole and were timed."""

    missing: int = 0
    """Messages skipped over when a later one came (a gap), less those that came after all. In a window it
    may be negative. What is lost in the end, ``Tally.delivery`` says."""
    duplicated: int = 0
    reordered: int = 0
    corrupted: int = 0
    unexpected: int = 0
    unknown: int = 0
    """On their way when their connection ended: lost or not, it cannot be said."""

    connects_intended: int = 0
    connected: int = 0
    """Handshakes that were completed, again after a loss or churn too."""
    refused: int = 0
    """Attempts to connect that failed; why is in ``Window.errors``."""
    churned: int = 0
    """Connections closed by us on purpose, to be opened anew."""
    dropped: int = 0
    """Connections that ended and not by our doing; how is in ``Window.closes``."""

    bytes_sent: int = 0
    """On the wire, frames and masks included, without TLS and TCP."""
    bytes_received: int = 0

    def add(self, other: Counts) -> None:
        """Count everything that ``other`` counted."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Window(Struct, kw_only=True, omit_defaults=True):
    """What happened in ``duration_s`` seconds from ``start_s`` on. What is sent counts when it is sent,
    what comes when it comes.
    """

    start_s: float
    duration_s: float
    counts: Counts
    latency: Histogram
    """From the intended time of a message to its arrival: what a user would have waited."""
    service: Histogram
    """From the actual sending to the arrival: what the server took. Only where both ends are in one
    process."""
    connect: Histogram
    """From the intended time of a connection until its handshake was complete."""
    send_lag: Histogram
    """From the intended time of a message until the generator got to it: the generator's own delay. What the
    server's backpressure adds is not in it."""
    loop_lag: Histogram
    """How long what was ready may have waited for the generator: lateness of its timer and length of a
    turn."""
    age: Histogram
    """Of feed messages that say when they were made (``profile.feed.time``): how old they were on arrival,
    by our clock as it was at the start. Nothing, if a message seemed to come from the future."""
    errors: dict[str, int] = {}
    """Kind of error -> how often: ``tcp: connection refused``, ``handshake: HTTP 503``, ``timeout: ...``,
    ``protocol: ...``, ``tls: ...``."""
    closes: dict[int, int] = {}
    """Close code of the server (1006: none came) -> how often, of the connections that are ``dropped``."""
    open: int = 0
    """Connections open at its end."""
    backlog_bytes: int = 0
    """Bytes at its end that the server did not read."""
    cpu_s: float = 0.0
    """CPU seconds of the generator, all workers together."""
    busiest_cpu: float = 0.0
    """Of the busiest worker: CPU seconds per second, 1.0 is a core."""
    rss_bytes: int = 0
    """Memory of the generator at its end, all workers together."""


class Offender(Struct, frozen=True, kw_only=True):
    """A client to which something happened often."""

    client: str
    """``echo 17``: the group's title, and the client's number in the run."""
    kind: str
    """``lost``, ``duplicated``, ``reordered``, ``corrupted``, ``unexpected``, ``unknown``, ``dropped``,
    ``refused``."""
    count: int
    example: str = ""
    """What happened the first time."""


class Delivery(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The account of all messages, settled: each that was due to come is in exactly one of these."""

    due: int = 0
    """Messages that were to come: one for each echo, one for each listener of each published message."""
    delivered: int = 0
    """Came whole, in whatever order."""
    lost: int = 0
    unknown: int = 0
    corrupted: int = 0
    """Came damaged."""
    duplicated: int = 0
    """Came again, beyond the first time."""
    reordered: int = 0
    """Came after a later one; they are among ``delivered``."""
    unexpected: int = 0
    """Came although nobody sent it, or to whom it was not meant."""


class Accounts(Struct, kw_only=True, omit_defaults=True):
    """What the parts of a run must keep until they are joined, so that every message is accounted for
    exactly.

    Senders are named by their client number, which is theirs alone in the whole run.
    """

    echo: Delivery = Delivery()
    """Of what came back to its sender: settled, as both ends are one client."""
    feed: Delivery = Delivery()
    """Of numbered messages that the feed made itself: settled, by its numbers."""
    sent_by: dict[int, int] = {}
    """Publisher -> how many messages it sent: its numbers are 0 to that."""
    uncertain: dict[int, int] = {}
    """Publisher -> how many of these were on their way when its connection ended, and may never have
    arrived."""
    due: dict[int, int] = {}
    """Publisher -> sum over listeners (and their connections) of what they were to have seen, up to the
    last that they did see."""
    missing: dict[int, int] = {}
    """Publisher -> of these, how many they did not see, whole or damaged."""
    reached: dict[int, dict[int, int]] = {}
    """Publisher -> (next number expected -> listeners), of listeners connected until the end."""
    present: int = 0
    """Listeners that subscribed before anything was published and stayed to the end: all of it is due to
    them."""
    present_reached: dict[int, int] = {}
    """Publisher -> how many of the ``present`` saw anything of it."""
    corrupted: int = 0
    """Damaged messages that came to listeners; each stands for one that is missing."""
    in_flight: int = 0
    """Messages known to be on their way to a listener when its connection ended."""

    def add(self, other: Accounts) -> None:
        """Join with another part of the run."""
        self.echo = _sum(self.echo, other.echo)
        self.feed = _sum(self.feed, other.feed)
        for name in ("sent_by", "uncertain", "due", "missing", "present_reached"):
            mine = getattr(self, name)
            for key, value in getattr(other, name).items():
                mine[key] = mine.get(key, 0) + value
        for sender, row in other.reached.items():
            into = self.reached.setdefault(sender, {})
            for number, listeners in row.items():
                into[number] = into.get(number, 0) + listeners
        self.present += other.present
        self.corrupted += other.corrupted
        self.in_flight += other.in_flight


class Part(Struct, frozen=True, kw_only=True):
    """One worker's facts."""

    shard: int
    worker: int
    cpu_s: float
    """CPU seconds from the start to the end of the run."""
    wall_s: float
    rss_bytes: int
    rss_idle_bytes: int
    """Memory before the first connection."""
    most_open: int
    """Connections open at once, at most."""


class Tally(Struct, kw_only=True):
    """A run, or a worker's or a shard's part of one."""

    started_utc_ns: int
    """When it started: nanoseconds since the Unix epoch."""
    duration_s: float
    """Until all was in, or given up."""
    total: Window
    """All windows together, and exact where windows were joined."""
    windows: list[Window]
    window_s: float
    """Length of each of ``windows``."""
    accounts: Accounts
    offenders: list[Offender]
    parts: list[Part]
    stopped_early: bool = False
    """It was told to stop before its time; nothing is wrong with what was seen until then."""
    examples: dict[str, str] = {}
    """Kind of anomaly or error -> what the first of it looked like."""
    faults: list[FaultWindow] = []
    """What was broken on purpose, and when it really was, in order."""
    undone: dict[str, str] = {}
    """Fault -> why it could not be done."""
    detours: list[DetourCost] = []
    """Of each machine whose connections went through a fault proxy: what that added."""

    def delivery(self) -> Delivery:
        """What became of every message: exact, once all parts of the run are joined."""
        return settle(self.accounts, self.total.counts)

    def during(self, fault: FaultWindow) -> Window:
        """The windows that lie in a fault by half or more, of themselves or of the fault, as one."""
        joined = empty_window(fault.start_s, fault.end_s - fault.start_s)
        for window in self.windows:
            shared = overlap(window, fault.start_s, fault.end_s)
            if shared > 0 and 2 * shared >= min(window.duration_s, joined.duration_s) - 1e-9:
                add_window(joined, window)
        return joined

    def between(self, start_s: float, end_s: float) -> Window:
        """The windows whose middle lies from ``start_s`` until before ``end_s``, as one: a phase, ten
        seconds."""
        joined = empty_window(start_s, end_s - start_s)
        for window in self.windows:
            if start_s <= window.start_s + window.duration_s / 2 < end_s:
                add_window(joined, window)
        return joined


def overlap(window: Window, start_s: float, end_s: float) -> float:
    """Seconds of ``window`` that lie from ``start_s`` to ``end_s``."""
    return max(0.0, min(window.start_s + window.duration_s, end_s) - max(window.start_s, start_s))


def empty_window(start_s: float, duration_s: float) -> Window:
    """A window in which nothing happened."""
    return Window(
        start_s=start_s,
        duration_s=duration_s,
        counts=Counts(),
        latency=Histogram(),
        service=Histogram(),
        connect=Histogram(),
        send_lag=Histogram(),
        loop_lag=Histogram(),
        age=Histogram(),
    )


HISTOGRAMS = ("latency", "service", "connect", "send_lag", "loop_lag", "age")
"""Names of a window's histograms."""


def add_window(into: Window, other: Window, *, beside: bool = False) -> None:
    """Join ``other`` to ``into``: a later window, or (``beside``) the same one of another worker."""
    into.counts.add(other.counts)
    for name in HISTOGRAMS:
        getattr(into, name).add(getattr(other, name))
    for kind, times in other.errors.items():
        into.errors[kind] = into.errors.get(kind, 0) + times
    for code, times in other.closes.items():
        into.closes[code] = into.closes.get(code, 0) + times
    into.cpu_s += other.cpu_s
    into.busiest_cpu = max(into.busiest_cpu, other.busiest_cpu)
    if beside:
        into.open += other.open
        into.backlog_bytes += other.backlog_bytes
        into.rss_bytes += other.rss_bytes
    else:
        into.open, into.backlog_bytes, into.rss_bytes = other.open, other.backlog_bytes, other.rss_bytes


def coarsen(windows: list[Window], window_s: float) -> tuple[list[Window], float]:
    """Join neighbours until there are at most ``MAX_WINDOWS``; the new list, and the new length of each."""
    while len(windows) > MAX_WINDOWS:
        window_s *= 2
        joined: dict[int, Window] = {}
        for window in windows:
            place = int((window.start_s + window.duration_s / 2) / window_s)
            if place not in joined:
                joined[place] = empty_window(place * window_s, window_s)
            add_window(joined[place], window)
        windows = [joined[place] for place in sorted(joined)]
    return windows, window_s


def merge(tallies: list[Tally]) -> Tally:
    """Join parts of one run: of workers, or of shards on several machines. At least one.

    Windows are joined by their time since the start, so shards must have started together
    (``LoadPlan.start_at_utc_ns``) for windows to mean the same moment; counts are exact in any case.
    """
    if not tallies:
        raise ValueError("nothing to merge")
    length = max(tally.window_s for tally in tallies)
    places: dict[int, Window] = {}
    total = empty_window(0.0, max(tally.duration_s for tally in tallies))
    accounts = Accounts()
    examples: dict[str, str] = {}
    offenders: list[Offender] = []
    for tally in tallies:
        add_window(total, tally.total, beside=True)
        accounts.add(tally.accounts)
        offenders += tally.offenders
        for kind, text in tally.examples.items():
            examples.setdefault(kind, text)
        mine: dict[int, Window] = {}
        for window in tally.windows:
            place = int((window.start_s + window.duration_s / 2) / length)
            if place not in mine:
                mine[place] = empty_window(place * length, length)
            add_window(mine[place], window)
        for place, window in mine.items():
            if place not in places:
                places[place] = empty_window(place * length, length)
            add_window(places[place], window, beside=True)
    return Tally(
        started_utc_ns=min(tally.started_utc_ns for tally in tallies),
        duration_s=total.duration_s,
        total=total,
        windows=[places[place] for place in sorted(places)],
        window_s=length,
        accounts=accounts,
        offenders=worst(offenders),
        parts=[part for tally in tallies for part in tally.parts],
        stopped_early=any(tally.stopped_early for tally in tallies),
        examples=examples,
        faults=_joined_faults(tallies),
        undone={name: why for tally in tallies for name, why in tally.undone.items()},
        detours=[cost for tally in tallies for cost in tally.detours],
    )


def _joined_faults(tallies: list[Tally]) -> list[FaultWindow]:
    """A fault that several machines made, each on its own connections, is one."""
    found: dict[str, FaultWindow] = {}
    for tally in tallies:
        for fault in tally.faults:
            known = found.get(fault.name, fault)
            found[fault.name] = structs.replace(
                known, start_s=min(known.start_s, fault.start_s), end_s=max(known.end_s, fault.end_s)
            )
    return sorted(found.values(), key=lambda fault: (fault.start_s, fault.name))


def worst(offenders: list[Offender]) -> list[Offender]:
    """Of each kind the ``OFFENDERS`` with the highest counts, the worst first."""
    kinds: dict[str, list[Offender]] = {}
    for offender in offenders:
        kinds.setdefault(offender.kind, []).append(offender)
    kept: list[Offender] = []
    for kind in sorted(kinds):
        kept += sorted(kinds[kind], key=lambda item: (-item.count, item.client))[:OFFENDERS]
    return kept


def settle(accounts: Accounts, counts: Counts) -> Delivery:
    """Close the accounts: what was due, and what became of it."""
    echo, feed = accounts.echo, accounts.feed
    due = lost = unknown = 0
    for sender, sent in accounts.sent_by.items():
        missing = accounts.missing.get(sender, 0)
        due += accounts.due.get(sender, 0)
        listeners = 0
        for number, times in accounts.reached.get(sender, {}).items():
            tail = max(0, sent - number)
            due += tail * times
            missing += tail * times
            listeners += times
        silent = accounts.present - accounts.present_reached.get(sender, 0)
        due += silent * sent
        missing += silent * sent
        open_ = min(missing, accounts.uncertain.get(sender, 0) * (listeners + silent))
        unknown += open_
        lost += missing - open_
    lost -= (damaged := min(lost, accounts.corrupted))
    unknown -= min(unknown, accounts.corrupted - damaged)
    flight = accounts.in_flight
    due += flight
    unknown += flight
    delivered = due - lost - unknown - accounts.corrupted
    return Delivery(
        due=due + echo.due + feed.due,
        delivered=max(0, delivered) + echo.delivered + feed.delivered,
        lost=lost + echo.lost + feed.lost,
        unknown=unknown + echo.unknown + feed.unknown,
        corrupted=accounts.corrupted + echo.corrupted + feed.corrupted,
        duplicated=counts.duplicated,
        reordered=counts.reordered,
        unexpected=counts.unexpected,
    )


def _sum(one: Delivery, other: Delivery) -> Delivery:
    return Delivery(**{name: getattr(one, name) + getattr(other, name) for name in one.__struct_fields__})
