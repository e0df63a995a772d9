"""A stretch of the past: all of it from wherever one begins, and shared."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from omega_ai.core.websocket.frames import text_frame
from omega_ai.data_feed.broker.base import Position
from omega_ai.data_feed.websocket.backlog import PIECE_BYTES, Backlog


def messages(count: int, size: int = 1000) -> list[bytes]:
    """``count`` messages that differ."""
    return [b"%d" % number + b"x" * size for number in range(count)]


def walk(backlog: Backlog, after: int) -> list[tuple[bytes, int]]:
    """All the pieces from ``after`` on."""
    pieces = []
    while after < backlog.last:
        data, after = backlog.piece(after)
        pieces.append((data, after))
    return pieces


@given(
    sizes=st.lists(st.integers(0, 40_000), min_size=1, max_size=40),
    start=st.integers(0, 39),
    more=st.integers(0, 10),
)
def test_from_wherever_one_begins_everything_comes_once_in_order(
    sizes: list[int], start: int, more: int
) -> None:
    """Also what is added while one is on the way; a piece is full, or the last."""
    made = [b"%d" % number + b"x" * size for number, size in enumerate(sizes)]
    later = messages(more, 9_000)
    backlog = Backlog("e", 101, made)
    after = 100 + min(start, len(made) - 1)
    first, reached = backlog.piece(after)
    backlog.extend(later)
    rest = walk(backlog, reached)
    expected = b"".join(text_frame(m) for m in (made + later)[after - 100 :])
    assert first + b"".join(data for data, _ in rest) == expected
    assert ([reached, *(at for _, at in rest)])[-1] == 100 + len(made) + more == backlog.last


def test_those_behind_the_first_piece_share_the_very_same_bytes() -> None:
    """Only the piece in the middle of which one begins is one's own."""
    backlog = Backlog("e", 1, messages(500))
    one, other = walk(backlog, 0), walk(backlog, 10)
    assert len(one) > 5
    assert all(a[0] is b[0] for a, b in zip(one[1:], other[1:], strict=True))


def test_those_who_begin_at_one_place_share_everything() -> None:
    """As all do after a restart."""
    backlog = Backlog("e", 1, messages(500))
    assert all(a[0] is b[0] for a, b in zip(walk(backlog, 33), walk(backlog, 33), strict=True))


def test_pieces_are_of_a_write_s_size() -> None:
    """A message larger than that is a piece by itself."""
    backlog = Backlog("e", 1, [*messages(200), b"y" * (4 * PIECE_BYTES), *messages(200)])
    sizes = [len(data) for data, _ in walk(backlog, 0)]
    assert sorted(sizes)[-2] < 2 * PIECE_BYTES < max(sizes)


def test_what_is_covered() -> None:
    """From just before the first to the last, of this epoch."""
    backlog = Backlog("e", 5, messages(3))
    assert [backlog.covers(Position("e", seq)) for seq in (3, 4, 7, 8)] == [False, True, True, False]
    assert not backlog.covers(Position("other", 5))


def test_what_is_released_covers_nothing_that_it_had() -> None:
    """Nobody is served from half of it."""
    backlog = Backlog("e", 5, messages(300))
    backlog.piece(4)
    backlog.release()
    assert not any(backlog.covers(Position("e", seq)) for seq in range(4, 304))
    assert backlog.size == 0
