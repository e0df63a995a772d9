"""The engine against real servers: what they did is what it says, message by message."""

from __future__ import annotations

import asyncio
import ssl

import msgspec
import pytest

from omega_ai.testkit.load.engine import LoadError, run_load
from omega_ai.testkit.load.plan import Group, LoadPlan, PlanError, Role
from omega_ai.testkit.load.shapes import Constant
from omega_ai.testkit.load.validity import problems
from omega_ai.testkit.profile import Echo, Feed, Profile, Publish, Subscribe, load_profile
from omega_ai.tests.certificates import Authority
from omega_ai.tests.integration.testkit.load.server import Behaviour, serving

ECHO = load_profile("echo")
JSON_TEXT = '{"type":"test","id":${id},"stamp":"${stamp}"}'
JSON_ECHO = Profile(name="json echo", echo=Echo(send=JSON_TEXT, answer={"type": "test"}))
SAME_JSON = Profile(name="same json", echo=Echo(send=JSON_TEXT, answer={"type": "test"}, identical=True))
CHANNEL = Profile(
    name="channel",
    format="text",
    subscribe=Subscribe(query="listen=1"),
    publish=Publish(send="${stamp}", to_sender=False),
)


def plan_for(url, *groups, **more):
    settings = {"profile": ECHO, "duration_s": 0.5, "grace_s": 5.0, "lag_limit_s": 5.0, "seed": 3} | more
    return LoadPlan(urls=(url,), groups=groups, **settings)


def echoes(clients=4, rate=400.0, **more):
    return Group(role=Role.ECHO, clients=clients, messages=Constant(rate), **more)


@pytest.mark.parametrize("profile", [ECHO, JSON_ECHO], ids=["text", "json"])
@pytest.mark.parametrize("size", [0, 70_000])
async def test_a_right_server_is_found_right(profile, size):
    rate = 400.0 if not size else 40.0
    async with serving() as (url, site):
        tally = await run_load(plan_for(url, echoes(rate=rate, size=size), profile=profile))
    delivery, counts = tally.delivery(), tally.total.counts
    assert delivery.due == delivery.delivered == counts.intended == counts.sent == site.behaviour.messages
    assert delivery.due == rate / 2
    assert counts.answered == counts.received == tally.total.latency.count == tally.total.service.count
    assert counts.connected == counts.connects_intended == 4
    assert (delivery.lost, delivery.unknown, delivery.duplicated, delivery.unexpected) == (0, 0, 0, 0)
    assert tally.total.errors == tally.total.closes == {}
    assert tally.total.service.minimum <= tally.total.latency.minimum
    assert tally.offenders == []


@pytest.mark.parametrize("profile", [ECHO, SAME_JSON], ids=["text", "json"])
async def test_each_fault_is_counted_exactly(profile):
    """As the server itself says how often it lost, doubled, swapped and corrupted."""
    behaviour = Behaviour(lose=0.02, double=0.02, swap=0.02, corrupt=0.02)
    async with serving(behaviour) as (url, site):
        plan = plan_for(url, echoes(clients=3, rate=3000.0, size=80), profile=profile, grace_s=0.7)
        tally = await run_load(plan)
    lost = behaviour.lost + site.held
    delivery = tally.delivery()
    assert min(behaviour.lost, behaviour.doubled, behaviour.swapped, behaviour.corrupted) > 5
    assert delivery.due == 1500
    assert delivery.lost == lost
    assert delivery.duplicated == behaviour.doubled
    assert delivery.reordered == behaviour.swapped
    assert delivery.corrupted == behaviour.corrupted
    assert delivery.delivered == 1500 - lost - behaviour.corrupted
    assert (delivery.unexpected, delivery.unknown) == (0, 0)
    named = {(item.kind, item.client.partition(" ")[0]) for item in tally.offenders}
    assert named == {(kind, "echo") for kind in ("lost", "duplicated", "reordered", "corrupted")}


async def test_what_listeners_in_other_processes_saw_is_settled_against_what_was_published():
    """Listeners are spread over two workers; what is lost, doubled ... is another message for each."""
    behaviour = Behaviour(lose=0.03, double=0.02, swap=0.02, corrupt=0.02)
    groups = (
        Group(role=Role.LISTEN, clients=5),
        Group(role=Role.PUBLISH, clients=1, messages=Constant(400.0), messages_start_s=1.5),
    )
    async with serving(behaviour, broadcasts=True) as (url, site):
        plan = plan_for(url, *groups, profile=CHANNEL, duration_s=2.5, workers=2, grace_s=1.0)
        tally = await run_load(plan)
    lost = behaviour.lost + site.held
    delivery = tally.delivery()
    assert delivery.due == 400 * 5
    assert delivery.lost == lost
    assert delivery.duplicated == behaviour.doubled
    assert delivery.reordered == behaviour.swapped
    assert delivery.corrupted == behaviour.corrupted
    assert delivery.delivered == 2000 - lost - behaviour.corrupted
    assert len(tally.parts) == 2
    assert tally.total.latency.count == delivery.delivered


async def test_what_was_on_its_way_at_a_close_is_neither_lost_nor_delivered():
    """A server that restarts under load: clients come back, and the account still balances."""
    behaviour = Behaviour(close_after=60)
    async with serving(behaviour) as (url, _):
        tally = await run_load(plan_for(url, echoes(clients=2, rate=300.0, reconnect_s=0.05), duration_s=1.0))
    delivery, counts = tally.delivery(), tally.total.counts
    assert counts.dropped >= 2
    assert tally.total.closes == {1012: counts.dropped}
    assert counts.connected >= 2
    assert delivery.lost == 0
    assert delivery.due == counts.sent == counts.intended - counts.unsent
    assert delivery.delivered + delivery.unknown == delivery.due
    assert delivery.delivered == counts.answered


async def test_churn_is_ours_and_no_fault_of_the_servers():
    async with serving() as (url, site):
        tally = await run_load(plan_for(url, echoes(clients=3, rate=300.0, churn=20.0)))
    counts = tally.total.counts
    assert counts.churned >= 1
    assert counts.dropped == counts.refused == 0
    assert 3 <= counts.connected <= 3 + counts.churned  # the last may not come back in time
    assert counts.connected == site.behaviour.connections
    assert tally.delivery().lost == 0
    assert tally.delivery().delivered == counts.sent


async def test_who_is_refused_tries_again_and_it_is_told():
    """What was due meanwhile is sent late, and its latency counts from when it was due."""
    async with serving(Behaviour(refuse_first=2)) as (url, _):
        tally = await run_load(plan_for(url, echoes(clients=3, rate=60.0, reconnect_s=0.5), duration_s=1.0))
    assert tally.total.errors == {"handshake: HTTP 503": 2}
    counts = tally.total.counts
    assert (counts.refused, counts.connected, counts.connects_intended) == (2, 3, 5)
    assert counts.sent == counts.intended == 60
    assert tally.total.latency.maximum > 0.4e9
    assert tally.total.latency.above(50_000_000) >= 16  # of two clients, all that was due in 0.45 s
    assert tally.total.connect.count == 3


async def test_nobody_there_is_an_error_and_not_a_wait():
    async with serving() as (url, _):
        pass
    tally = await run_load(plan_for(url, echoes(clients=2, rate=50.0, reconnect_s=None), duration_s=0.3))
    counts = tally.total.counts
    assert tally.total.errors == {"tcp: connection refused": 2}
    assert (counts.sent, counts.unsent, counts.intended) == (0, 15, 15)
    assert problems(plan_for(url, echoes()), tally) == ["nothing was sent, and nothing came"]


@pytest.mark.parametrize(
    ("garbage", "word"),
    [
        (b"\x83\x00", "opcode"),
        (b"\x81\x85aaaahello", "masked"),
        (b"\xc1\x01a", "reserved bit"),
        (b"\x88\x01a", "protocol"),
    ],
)
async def test_a_breach_of_the_protocol_ends_the_connection_and_is_counted(garbage, word):
    async with serving(Behaviour(garbage=garbage)) as (url, _):
        tally = await run_load(plan_for(url, echoes(clients=2, rate=20.0, reconnect_s=None), duration_s=0.4))
    (kind,) = tally.total.errors
    assert kind.startswith("protocol: ")
    assert word in kind
    assert tally.total.errors[kind] == 2 == tally.total.counts.dropped


async def test_what_nobody_asked_for_is_unexpected_and_what_the_profile_ignores_is_not():
    async with serving(Behaviour(extra=b"hello")) as (url, _):
        tally = await run_load(plan_for(url, echoes(clients=2, rate=20.0), duration_s=0.4))
    assert tally.delivery().unexpected == 2
    quiet = msgspec.structs.replace(JSON_ECHO, ignore=({"type": "hello"},))
    async with serving(Behaviour(extra=b'{"type":"hello"}')) as (url, _):
        tally = await run_load(plan_for(url, echoes(clients=2, rate=20.0), profile=quiet, duration_s=0.4))
    assert tally.delivery().unexpected == 0


async def test_fragments_pings_and_control_frames_are_taken_as_they_should_be():
    """A fragmented greeting, with a ping between its parts, that the profile ignores."""
    greeting = b'\x01\x07{"type"' + b"\x89\x02hi" + b'\x80\x09:"hello"}'
    quiet = msgspec.structs.replace(JSON_ECHO, ignore=({"type": "hello"},))
    async with serving(Behaviour(garbage=greeting)) as (url, _):
        tally = await run_load(plan_for(url, echoes(clients=2, rate=50.0), profile=quiet, duration_s=0.4))
    assert tally.total.errors == {}
    assert tally.delivery().delivered == tally.delivery().due == 20


async def test_a_thinking_client_waits_for_its_answer():
    async with serving() as (url, site):
        group = Group(role=Role.ECHO, clients=3, think_s=0.05)
        tally = await run_load(plan_for(url, group))
    delivery = tally.delivery()
    assert 3 <= delivery.due <= 3 * 11
    assert delivery.delivered == delivery.due == site.behaviour.messages


async def test_a_slow_reader_gets_everything_late():
    """What it is sent waits in the kernel's buffers while it pauses."""
    async with serving() as (url, _):
        slow = echoes(clients=1, rate=200.0, read_pause_s=0.4)
        tally = await run_load(plan_for(url, slow, duration_s=1.0))
    assert tally.delivery().delivered == 200
    latency = tally.total.latency.percentile(90)
    assert latency is not None
    assert latency > 0.25e9


async def test_a_feeds_own_numbers_are_checked():
    """The feed sends numbers by itself: what is skipped is lost, what comes twice is a copy."""
    feed = Profile(
        name="feed", subscribe=Subscribe(query="listen"), feed=Feed(own=True, sequence="n", stream="s")
    )
    texts = [1, 2, 4, 4, 3, 7]
    frames = b"".join(bytes((0x81, len(text))) + text for n in texts for text in [b'{"n":%d,"s":"a"}' % n])
    async with serving(Behaviour(garbage=frames)) as (url, _):
        tally = await run_load(
            plan_for(url, Group(role=Role.LISTEN, clients=2), profile=feed, duration_s=0.5, grace_s=0.1)
        )
    delivery = tally.delivery()
    assert (delivery.due, delivery.lost, delivery.duplicated, delivery.reordered) == (14, 4, 2, 2)


async def test_windows_come_in_order_while_it_runs_and_it_can_be_stopped():
    windows, stop = [], asyncio.Event()

    def seen(window):
        windows.append(window)
        if len(windows) == 4:
            stop.set()

    async with serving() as (url, _):
        plan = plan_for(url, echoes(clients=2, rate=100.0), duration_s=600.0, window_s=0.2, workers=2)
        tally = await run_load(plan, on_window=seen, stop=stop)
    assert tally.stopped_early
    assert tally.duration_s < 60
    starts = [window.start_s for window in windows]
    assert starts == sorted(starts)
    assert starts[0] == 0.0
    assert sum(window.counts.answered for window in tally.windows) == tally.total.counts.answered
    assert tally.delivery().lost == 0
    assert tally.total.counts.skipped == 0


async def test_tls_is_spoken_where_the_url_says_so(tmp_path):
    authority = Authority()
    ca = authority.write(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue().write(tmp_path))
    async with serving(tls=context) as (url, _):
        tally = await run_load(plan_for(url, echoes(clients=2, rate=100.0, size=40_000), ca=str(ca)))
        assert tally.delivery().delivered == tally.delivery().due == 50
        refused = await run_load(plan_for(url, echoes(clients=1, reconnect_s=None), duration_s=0.3))
    (kind,) = refused.total.errors
    assert kind.startswith("tls: ")


async def test_a_rate_that_cannot_be_reached_is_invalid_and_no_pass():
    async with serving() as (url, _):
        plan = plan_for(url, echoes(clients=2, rate=3_000_000.0), lag_limit_s=0.01, grace_s=0.5)
        tally = await run_load(plan)
    found = problems(plan, tally)
    assert any("did not get to" in text for text in found)
    counts = tally.total.counts
    assert counts.intended == 1_500_000
    assert counts.sent + counts.unsent + counts.skipped == counts.intended


async def test_a_plan_that_cannot_be_is_refused_before_anything_starts():
    with pytest.raises(PlanError, match=r"\[echo\]"):
        await run_load(plan_for("ws://127.0.0.1:1/", echoes(), profile=CHANNEL))
    with pytest.raises(LoadError, match=r"ws://"):
        await run_load(plan_for("http://127.0.0.1:1/", echoes()))
