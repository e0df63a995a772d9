"""Do clients come back, do they get what they missed, and are they told when they do not?"""

from __future__ import annotations

import asyncio

from omega_ai.testkit.case import Failed, Need, Outcome, Suite, Undecided, failed, passed
from omega_ai.testkit.checkers import DELIVERY
from omega_ai.testkit.connection import ConnectFailed, Connection
from omega_ai.testkit.context import Context
from omega_ai.testkit.history import NOT_RECOVERED, RECOVERED, Happening
from omega_ai.testkit.profile import field_of, fill
from omega_ai.testkit.reading import Position
from omega_ai.testkit.result import Distribution
from omega_ai.testkit.suites.traffic import arrive, judge, reading_of

SUITE = Suite(
    "reconnection", "Coming back: after a cut, after a restart, all at once; resuming without a gap"
)

TIMES = 20
STORM = 50
ALL = (*DELIVERY, "gap", "unequal")
GOING = (1000, 1001, 1012, 1013)


@SUITE.case(
    "again-and-again",
    f"A client comes and goes {TIMES} times",
    expectation="let in and served each time",
)
async def again_and_again(context: Context) -> Outcome:
    """Close or cut, in turn, and come back."""
    times = 5 if context.profile.read_only else TIMES
    connects = []
    for number in range(times):
        begin = context.now_ns()
        try:
            connection = await context.connect("client", must=False)
        except ConnectFailed as error:
            return failed(f"refused the {number + 1}th time: {error}", by_silence=error.late)
        connects.append(context.now_ns() - begin)
        await context.round_trip(connection)
        if number % 2:
            connection.abort()
        elif await connection.close() is None:
            return failed(f"the {number + 1}th connection was not closed within 5 s", by_silence=True)
    worst = Distribution.of(connects).maximum / 1e6
    return passed(f"{times} times, the slowest in {worst:.1f} ms", figures={"reconnect_max_ms": worst})


@SUITE.case(
    "storm",
    f"{STORM} clients are cut and come back at once",
    expectation="all are let in and served within 10 s",
    alone=True,
    destructive=True,
    timeout=60.0,
)
async def storm(context: Context) -> Outcome:
    """All cut in one turn, all back in the next."""
    try:
        async with context.clients(STORM, "client", within=10.0, must=False) as clients:
            for client in clients:
                client.abort()
    except ConnectFailed as error:
        return failed(
            f"{STORM} clients that come at once are not all let in, to begin with: {error}",
            by_silence=error.late,
        )

    late: list[bool] = []

    async def back(number: int) -> str | None:
        try:
            connection = await context.connect(f"client {number + 1}", within=10.0, must=False)
        except ConnectFailed as error:
            late.append(error.late)
            return str(error)
        await context.round_trip(connection, 10.0)
        return None

    begin = context.now_ns()
    refused = [why for why in await asyncio.gather(*map(back, range(STORM))) if why is not None]
    seconds = (context.now_ns() - begin) / 1e9
    if refused:
        return failed(f"{len(refused)} of {STORM} could not come back: {refused[0]}", by_silence=all(late))
    return passed(f"all {STORM} were back after {seconds:.2f} s", figures={"storm_ms": seconds * 1000})


@SUITE.case(
    "resume",
    "A client that was cut off resumes without a gap",
    expectation="everything published meanwhile, once and in order, or an honest word that it cannot be had",
    needs=[Need.RESUME, Need.PUBLISH],
    alone=True,
    timeout=60.0,
)
async def resume(context: Context) -> Outcome:
    """Three absences, each with messages published meanwhile."""
    publisher = await context.connect("publisher")
    steady = await context.connect("steady listener", listen=True)
    client = await context.connect("resuming listener", listen=True)
    sent = []
    for _ in range(3):
        part = [context.publish(publisher) for _ in range(10)]
        sent += part
        await arrive(context, part, [client])
        position = last_position(context, client)
        client.abort()
        await client.wait_ended()
        sent += [context.publish(publisher) for _ in range(20)]
        await asyncio.sleep(0.2)
        client = await come_back(context, client.name, position)
        await arrive(context, sent[-20:], [client], within=3.0)
    sent += [context.publish(publisher) for _ in range(10)]
    await arrive(context, sent, [steady])
    await arrive(context, sent[-10:], [client])
    await asyncio.sleep(1.2)
    return judge(context, f"{len(sent)} messages, 60 of them while the client was away", ALL)


@SUITE.case(
    "resume-from-nowhere",
    "A position that does not exist is not resumed",
    expectation="the server says that it cannot recover from it",
    needs=[Need.RESUME],
)
async def resume_from_nowhere(context: Context) -> Outcome:
    """Another epoch than any."""
    profile_resume = context.profile.resume
    assert profile_resume is not None  # noqa: S101 - the case needs it
    client = await come_back(context, "client", Position(profile_resume.stream, "nowhere9", 5))
    said = [event.text for event in client.history.events if event.kind is Happening.SUBSCRIBED]
    if RECOVERED in said:
        return failed("the server says that it recovered everything since a position that never was")
    return passed("the server says that it cannot recover from there")


@SUITE.case(
    "restart",
    "The server is restarted under its clients",
    expectation="a close frame that says so (1001 or 1012), and after the restart everybody is served",
    spec="RFC 6455 section 7.4.1",
    needs=[Need.CONTROL],
    alone=True,
    timeout=60.0,
)
async def restart(context: Context) -> Outcome:
    """SIGTERM, then start on the same ports."""
    control = context.target.control
    assert control is not None  # noqa: S101 - the case needs it
    async with context.clients(5, "client") as clients:
        for client in clients:
            await context.round_trip(client)
        await control.stop()
        try:
            ends = [await client.wait_ended() for client in clients]
        finally:
            await control.start()
        await context.round_trip(await context.connect("client 1"))
    for client, ended in zip(clients, ends, strict=True):
        if ended is None or ended.code not in GOING:
            return failed(f"{client.name} was not told that the server goes: {ended or 'no end within 5 s'}")
    return passed(f"all were told ({ends[0]}), and served again after the restart")


@SUITE.case(
    "crash",
    "The server is killed under its clients",
    expectation="after the start everybody is served, and nobody is promised what is gone",
    needs=[Need.CONTROL, Need.RESUME, Need.PUBLISH],
    alone=True,
    timeout=60.0,
)
async def crash(context: Context) -> Outcome:
    """SIGKILL; then resume."""
    control = context.target.control
    assert control is not None  # noqa: S101 - the case needs it
    publisher = await context.connect("publisher")
    client = await context.connect("listener", listen=True)
    sent = [context.publish(publisher) for _ in range(20)]
    await arrive(context, sent, [client])
    position = last_position(context, client)
    await control.kill()
    try:
        ended = await client.wait_ended()
    finally:
        await control.start()
    if ended is None:
        raise Undecided("the server was killed, and its connections stayed for 5 s")
    publisher = await context.connect("publisher")
    client = await come_back(context, client.name, position)
    sent = [context.publish(publisher) for _ in range(20)]
    await arrive(context, sent, [client])
    await asyncio.sleep(1.2)
    return judge(context, "40 messages around a crash", ALL)


def last_position(context: Context, client: Connection) -> Position:
    """The newest place that ``client`` has in the stream that is resumed.

    Raises:
        Failed: no message had one.
    """
    profile_resume = context.profile.resume
    stream = "" if profile_resume is None else profile_resume.stream
    for item in reversed(reading_of(context).seen[client.name]):
        if item.position is not None and item.position.stream == stream:
            return item.position
    raise Failed(f"{client.name} saw no message with a position in {stream}")


async def come_back(context: Context, name: str, position: Position) -> Connection:
    """Connect ``name`` again and ask for what it missed since ``position``.

    Raises:
        Failed: the server did not answer.
    """
    profile_resume = context.profile.resume
    assert profile_resume is not None  # noqa: S101 - only cases that need it call this
    connection = await context.connect(name)
    connection.history.listens = True
    text = fill(
        profile_resume.send,
        context.values(epoch=position.epoch, sequence=position.sequence, stream=position.stream),
    )
    connection.send(text)
    answer = await context.receive_match(connection, profile_resume.answer)
    if answer is None:
        why = f"{name}: no answer within 5 s to the wish to resume{_ended(connection)}"
        raise Failed(why, by_silence=not connection.over)
    recovered = profile_resume.recovered is None or field_of(answer, profile_resume.recovered) is True
    connection.event(Happening.SUBSCRIBED, RECOVERED if recovered else NOT_RECOVERED, by_us=True)
    return connection


def _ended(connection: Connection) -> str:
    return f"; the connection ended: {connection.ended}" if connection.over else ""
