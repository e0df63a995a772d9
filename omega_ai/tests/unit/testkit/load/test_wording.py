"""What a message means that is no whole stamp of this run."""

import pytest

from omega_ai.testkit.load.stamps import stamp_maker
from omega_ai.testkit.load.wording import Wording
from omega_ai.testkit.profile import Feed, Profile, load_profile
from omega_ai.testkit.stamp import make_stamp

RUN = "abcdEF12"
OMEGA, ECHO = Wording(load_profile("omega"), RUN), Wording(load_profile("echo"), RUN)
OURS = stamp_maker(RUN, 1, 60)(2, 3)


@pytest.mark.parametrize("place", range(0, len(OURS), 5))
def test_a_damaged_stamp_is_ours_wherever_the_damage_is(place):
    damaged = OURS[:place] + bytes((OURS[place] ^ 1,)) + OURS[place + 1 :]
    assert ECHO.understand(damaged).meaning == "corrupted"
    assert OMEGA.understand(b'{"type":"broadcast","stamp":"%b"}' % damaged).meaning == "corrupted"
    assert (
        OMEGA.understand(b'{"type":"test","received_at":"x","stamp":"%b"}' % damaged).meaning == "corrupted"
    )


@pytest.mark.parametrize(
    ("payload", "meaning"),
    [
        (b'{"type":"broadcast","seq":', "corrupted"),
        (b'{"type":"broadcast","seq":4,"epoch":"e"}', "feed"),
        (b'{"type":"test","received_at":"x"}', "corrupted"),
        (b'{"type":"error","code":"x","message":"y"}', "unexpected"),
        (b'{"type":"what"}', "unexpected"),
        (b'{"type":"broadcast","stamp":"%b"}' % make_stamp("other123", 1, 2, 3), "ignored"),
        (b'{"type":"broadcast","stamp":"%b"}' % stamp_maker("other123", 1)(2, 3), "ignored"),
    ],
)
def test_by_the_profile(payload, meaning):
    assert OMEGA.understand(payload).meaning == meaning


def test_a_feeds_message_says_its_number_and_its_time():
    said = OMEGA.understand(
        b'{"type":"btc_price","seq":17,"epoch":"e1","timestamp":"2026-01-01T00:00:01.000000Z"}'
    )
    assert said == ("feed", "btc_price", "e1", 17, 1_767_225_601_000_000_000)
    odd = Wording(Profile(name="odd", feed=Feed(own=True, sequence="n")), RUN)
    assert odd.understand(b'{"n":"12"}').sequence == 12
    assert odd.understand(b'{"n":true}').sequence is None


def test_what_nobody_asked_for_is_unexpected_unless_the_server_speaks_first():
    assert ECHO.understand(b"hello").meaning == "unexpected"
    chatty = Wording(Profile(name="chatty", format="text", speaks_first=True), RUN)
    assert chatty.understand(b"hello").meaning == "ignored"
