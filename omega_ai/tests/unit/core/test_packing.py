"""Counts as short texts come back exactly; what is damaged is refused."""

from __future__ import annotations

import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omega_ai.core.hdr import CELLS, decode_cells, encode_cells
from omega_ai.core.histogram import Histogram
from omega_ai.core.packing import (
    LARGEST_TEXT,
    PackingError,
    data_of,
    numbers,
    pack_pairs,
    put_number,
    text_of,
    unpack_pairs,
    unsqueezed,
)

pairs = st.dictionaries(st.integers(0, 2**50), st.integers(0, 2**50), max_size=50)
cells = st.dictionaries(st.integers(0, CELLS - 1), st.integers(1, 2**50), max_size=50)


@given(pairs)
def test_pairs_come_back(found: dict[int, int]) -> None:
    """Whatever the values."""
    rising = tuple(sorted(found.items()))
    assert unpack_pairs(pack_pairs(rising)) == rising


@given(cells)
def test_cells_come_back(found: dict[int, int]) -> None:
    """Also the first and the last of all."""
    assert decode_cells(encode_cells(found)) == found


def test_a_histogram_is_what_hdrhistogram_writes() -> None:
    """As its documents have it: the cookies, three digits, counts in zigzag LEB128, empty cells as a row."""
    text = encode_cells({3: 2, 10: 1, 11: 300})
    assert text.startswith("HISTFAAA")
    outer = data_of(text)
    assert outer[:4].hex() == "1c849314"
    inner = zlib.decompress(outer[8:])
    assert inner[:4].hex() == "1c849313"
    assert int.from_bytes(inner[12:16], "big") == 3
    assert list(numbers(inner[40:])) == [5, 4, 11, 2, 600]  # -3, 2, -6, 1, 300


def test_it_is_short() -> None:
    """A byte or so for each cell, and much less where many are alike."""
    rng = random.Random(1)
    histogram = Histogram.of(int(rng.lognormvariate(14, 1)) for _ in range(3000))
    assert len(encode_cells(histogram.cells)) < 1.1 * len(histogram.cells)


@pytest.mark.parametrize("values", [[(2, 1), (1, 1)], [(1, -1)]])
def test_what_is_no_list_of_counts_is_not_packed(values: list[tuple[int, int]]) -> None:
    """It would come back as something else."""
    with pytest.raises(ValueError, match="values rise"):
        pack_pairs(values)
    with pytest.raises(ValueError, match="no cell"):
        encode_cells({CELLS: 1})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("no base64!", "no base64"),
        (text_of(b"plain"), "unpacked"),
        (pack_pairs([(1, 1)])[:-8] + "AAAA", "unpacked|cut off"),
        (text_of(zlib.compress(b"\x01")), "without a count"),
        (text_of(zlib.compress(b"\x81")), "ends within"),
        (text_of(zlib.compress(b"\xff" * 12 + b"\x01")), "too large"),
    ],
)
def test_damaged_pairs_are_refused(text: str, says: str) -> None:
    """In words."""
    with pytest.raises(PackingError, match=says):
        unpack_pairs(text)


@pytest.mark.parametrize(
    "text", ["", "AAAA", text_of(b"\x1c\x84\x93\x14\0\0\0\x01x"), encode_cells({5: 1})[:-4]]
)
def test_damaged_histograms_are_refused(text: str) -> None:
    """Whatever is wrong with them."""
    with pytest.raises(PackingError):
        decode_cells(text)


def test_a_text_cannot_unpack_to_anything_it_likes() -> None:
    """A few bytes may stand for gigabytes."""
    with pytest.raises(PackingError, match="more than"):
        unsqueezed(zlib.compress(bytes(LARGEST_TEXT + 1)))


def test_more_cells_than_there_are_are_refused() -> None:
    """A row of empty ones costs nothing to write."""
    head = zlib.decompress(data_of(encode_cells({1: 1}))[8:])[:40]
    counts = bytearray()
    put_number(counts, 2 * CELLS + 1)
    inner = head[:4] + len(counts).to_bytes(4, "big") + head[8:] + bytes(counts)
    packed = zlib.compress(inner)
    text = text_of(bytes.fromhex("1c849314") + len(packed).to_bytes(4, "big") + packed)
    with pytest.raises(PackingError, match="more cells"):
        decode_cells(text)
