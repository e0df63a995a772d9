"""Stamps of load: whole, of one width, and readable by the checkers of the test kit too."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omega_ai.core.clock import ManualClock
from omega_ai.testkit.load.stamps import WIDTH, Mark, Template, read_fixed, stamp_maker
from omega_ai.testkit.stamp import Damaged, Stamp, read_stamp

RUN = "abcdEF12"
OMEGA_ECHO = '{"type":"test","id":${id},"stamp":"${stamp}"}'
clients, numbers, moments = st.integers(0, 10**6), st.integers(0, 2**32 - 1), st.integers(0, 10**15)


@given(clients, numbers, moments, st.integers(0, 400))
def test_a_stamp_says_whose_which_and_when(client, number, moment, size):
    stamp = stamp_maker(RUN, client, size)(number, moment)
    assert len(stamp) == max(WIDTH, size)
    assert read_fixed(b'{"a":"' + stamp + b'"}', 6) == Mark(client, number, moment)
    assert read_stamp(b'{"a":"' + stamp + b'"}') == Stamp(RUN, client, number, moment)


@given(clients, numbers, st.data())
def test_no_single_changed_bit_goes_unseen(client, number, data):
    stamp = stamp_maker(RUN, client, 90)(number, 12345)
    bit = data.draw(st.integers(8 * len(b"o2:abcdEF12:"), len(stamp) * 8 - 1))
    damaged = bytearray(stamp)
    damaged[bit // 8] ^= 1 << (bit % 8)
    assert read_fixed(bytes(damaged), 0) is None
    assert not isinstance(read_stamp(bytes(damaged)), Stamp)


def test_a_damaged_stamp_still_says_whose_it_was():
    stamp = stamp_maker(RUN, 3, 80)(14, 15)
    assert read_stamp(stamp[:-1] + (b"0" if stamp[-1:] != b"0" else b"1")) == Damaged(RUN, 3, 14)
    assert read_stamp(stamp[:40]) == Damaged(RUN, None, None)


@pytest.mark.parametrize("cut", [0, 12, 30, WIDTH - 1])
def test_what_is_cut_short_is_no_stamp(cut):
    assert read_fixed(stamp_maker(RUN, 1)(2, 3)[:cut], 0) is None


@pytest.mark.parametrize("text", ["${stamp}", '{"100%":"$$ ${stamp}"}', OMEGA_ECHO])
def test_a_profiles_text_is_sent_with_the_stamp_in_it(text):
    template = Template(text, ManualClock(), random.Random(1))
    make = template.maker(RUN, 7, 0)
    payload = make(5, 99)
    stamp = stamp_maker(RUN, 7)(5, 99).decode()
    assert payload.decode() == text.replace("${stamp}", stamp).replace("${id}", "6").replace("$$", "$")
    assert template.bare == (text == "${stamp}")


def test_time_and_price_are_filled_in():
    clock = ManualClock()
    make = Template(
        '{"t":"${utc}","ms":${utc_ms},"p":${price},"s":"${stamp}"}', clock, random.Random(1)
    ).maker(RUN, 7, 0)
    first = make(1, 2)
    assert b'"ms":%d' % (clock.time_ns() // 10**6) in first
    assert b"2026-01-01T00:00:00" in first
    clock.advance(60)
    assert b"2026-01-01T00:01:00" in make(2, 3)
