"""A handful of numbers become a plan; what cannot be is said."""

import pytest

from omega_ai.testkit.load.building import Wish, parse_rate, parse_shard, planned
from omega_ai.testkit.load.plan import PlanError, Role
from omega_ai.testkit.load.shapes import Constant, Ramp, curve
from omega_ai.testkit.profile import Feed, Profile, load_profile

ECHO, OMEGA = load_profile("echo"), load_profile("omega")
FEED = Profile(name="feed", feed=Feed(own=True))


def test_clients_come_then_all_send_for_the_whole_duration():
    plan = planned(Wish(clients=1000, rate=500.0, duration_s=20.0), ("ws://h/",), ECHO, seed=4)
    (group,) = plan.groups
    assert (group.role, group.clients, group.ramp_s, group.messages) == (
        Role.ECHO,
        1000,
        2.0,
        Constant(500.0),
    )
    assert group.messages_start_s > group.ramp_s
    assert plan.duration_s - group.messages_start_s == pytest.approx(20.0)
    assert plan.seed == 4
    plan.check()


def test_publishers_and_listeners_are_two_groups():
    groups = Wish(listeners=100, publishers=2, rate=10.0, shape="ramp", size=99).groups(OMEGA)
    assert [(group.role, group.clients) for group in groups] == [(Role.LISTEN, 100), (Role.PUBLISH, 2)]
    assert groups[1].messages == Ramp(0.0, 10.0, 10.0)
    assert groups[1].size == 99
    assert groups[0].ramp_s < groups[1].messages_start_s


def test_what_is_done_is_what_the_profile_knows():
    assert Wish(clients=3).groups(FEED)[0].role is Role.LISTEN
    channel = Profile(name="c", publish=OMEGA.publish)
    assert [group.role for group in Wish(clients=3).groups(channel)] == [Role.LISTEN, Role.PUBLISH]
    with pytest.raises(PlanError, match="--profile"):
        Wish().groups(Profile(name="silent"))
    with pytest.raises(PlanError, match="passed on"):
        Wish(publishers=1).groups(ECHO)


@pytest.mark.parametrize("shape", ["constant", "ramp", "wave", "spike"])
def test_every_shape_reaches_the_rate_and_never_exceeds_it(shape):
    messages = Wish(rate=100.0, shape=shape).groups(ECHO)[0].messages
    assert messages is not None
    rates = [curve(messages).rate(second / 100) for second in range(1001)]
    assert max(rates) == pytest.approx(100.0, rel=0.01)
    assert min(rates) >= 0


@pytest.mark.parametrize(
    ("text", "rate"), [("5000", 5000.0), ("20k", 20e3), ("1.5M", 1.5e6), ("100/client", 700.0), ("0", 0.0)]
)
def test_a_rate_is_of_all_together_or_of_each(text, rate):
    assert parse_rate(text, 7) == rate


@pytest.mark.parametrize("text", ["", "fast", "-1", "5/server", "inf", "nan", "k"])
def test_what_is_no_rate_is_refused(text):
    with pytest.raises(PlanError, match="no rate"):
        parse_rate(text, 7)


def test_a_shard_is_counted_from_one():
    assert parse_shard("2/5") == (1, 5)
    for text in ("0/5", "6/5", "2", "a/b", "2/"):
        with pytest.raises(PlanError, match="no shard"):
            parse_shard(text)


def test_an_unknown_shape_is_refused():
    with pytest.raises(PlanError, match="constant, ramp"):
        Wish(shape="zigzag").groups(ECHO)
