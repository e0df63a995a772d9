"""Stamps: read back whole, found damaged by any change."""

from hypothesis import given
from hypothesis import strategies as st

from omega_ai.testkit.stamp import Damaged, Stamp, make_stamp, read_stamp

RUN = "abcdEF12"
numbers = st.integers(0, 10**12)


@given(st.integers(0, 10**6), numbers, st.integers(0, 10**18), st.integers(0, 3000))
def test_a_stamp_is_read_back_wherever_it_stands(client: int, number: int, time: int, size: int) -> None:
    """At the size that was asked for, or larger if it must be."""
    stamp = make_stamp(RUN, client, number, time, size)
    assert len(stamp) >= size
    assert read_stamp(b'{"text":"' + stamp + b'"}') == Stamp(RUN, client, number, time)


@given(st.integers(0, 99), numbers, st.data())
def test_no_single_changed_bit_goes_unseen(client: int, number: int, data: st.DataObject) -> None:
    """CRC-32 finds every one; what is left is never taken for a whole stamp."""
    stamp = make_stamp(RUN, client, number, 123_456_789, 100)
    bit = data.draw(st.integers(0, len(stamp) * 8 - 1))
    damaged = bytearray(stamp)
    damaged[bit // 8] ^= 1 << (bit % 8)
    assert not isinstance(read_stamp(bytes(damaged)), Stamp)


def test_a_damaged_stamp_still_says_whose_it_was() -> None:
    """As far as it can be read."""
    stamp = make_stamp(RUN, 3, 14, 15)
    assert read_stamp(stamp[:-1] + b"g") == Damaged(RUN, None, None)
    wrong = bytes([stamp[-1] ^ 1])
    assert read_stamp(stamp[:-1] + wrong) in (Damaged(RUN, 3, 14), Damaged(RUN, None, None))


def test_what_is_no_stamp_is_none() -> None:
    """Nor an empty message."""
    assert read_stamp(b"") is None
    assert read_stamp(b'{"price": 1}') is None
