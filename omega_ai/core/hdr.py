"""A histogram's cells in HdrHistogram's own form (V2, compressed, in base64): ``HISTFAAA...``.

Our cells are HdrHistogram's of three significant digits, so its tools in any language read what is written
here (``HdrHistogram.decode`` in Python, ``decodeFromCompressedByteBuffer`` in Java). What it says of minimum,
maximum and sum is as coarse as its cells; whoever needs these exactly keeps them beside it.

The form: https://github.com/HdrHistogram/HdrHistogram (``AbstractHistogram.encodeIntoCompressedByteBuffer``).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

from omega_ai.core.histogram import LARGEST, cell_of
from omega_ai.core.packing import PackingError, data_of, numbers, put_number, squeezed, text_of, unsqueezed

_COOKIE: Final = 0x1C849303 | 0x10
_COMPRESSED: Final = 0x1C849304 | 0x10
_DIGITS: Final = 3
_HEAD: Final = struct.Struct(">iiiiqqd")
"""Cookie, length of the counts, offset (0), digits, lowest and highest value, ratio of conversion."""
_OUTER: Final = struct.Struct(">ii")
CELLS: Final = cell_of(LARGEST) + 1


def encode_cells(cells: Mapping[int, int]) -> str:
    """``cell -> how often`` as a text. A row of empty cells is one negative number, as in the original."""
    counts = bytearray()
    expected = 0
    for cell in sorted(cells):
        times = cells[cell]
        if times < 1:
            continue
        if not expected <= cell < CELLS:
            raise ValueError(f"there is no cell {cell}")
        if (empty := cell - expected) > 0:
            put_number(counts, 0 if empty == 1 else 2 * empty - 1)  # zigzag of -empty
        put_number(counts, 2 * times)  # zigzag of times
        expected = cell + 1
    head = _HEAD.pack(_COOKIE, len(counts), 0, _DIGITS, 1, LARGEST, 1.0)
    packed = squeezed(head + bytes(counts))
    return text_of(_OUTER.pack(_COMPRESSED, len(packed)) + packed)


def decode_cells(text: str) -> dict[int, int]:
    """What ``encode_cells`` was given.

    Raises:
        PackingError: it is no histogram of this form and resolution, or damaged.
    """
    data = data_of(text)
    if len(data) < _OUTER.size or _OUTER.unpack_from(data) != (_COMPRESSED, len(data) - _OUTER.size):
        raise PackingError("it is no compressed HdrHistogram (version 2)")
    inner = unsqueezed(data[_OUTER.size :])
    if len(inner) < _HEAD.size:
        raise PackingError("it is cut off")
    cookie, length, offset, digits, lowest, _, ratio = _HEAD.unpack_from(inner)
    if (cookie, offset, digits, lowest, ratio) != (_COOKIE, 0, _DIGITS, 1, 1.0):
        raise PackingError(f"it is no HdrHistogram of {_DIGITS} digits from 1 on")
    if length != len(inner) - _HEAD.size:
        raise PackingError("it is cut off")
    cells: dict[int, int] = {}
    cell = 0
    for number in numbers(inner[_HEAD.size :]):
        if number & 1:
            cell += (number + 1) >> 1
        else:
            if number:
                cells[cell] = number >> 1
            cell += 1
        if cell > CELLS:
            raise PackingError("it has more cells than there are")
    return cells
