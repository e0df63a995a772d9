"""Many sends in one system call, by io_uring (Linux 5.6 or newer; ``man io_uring``).

Entering the kernel once for all clients, instead of once for each, lowers what a fan-out can cost at least.
Where io_uring does not exist or is forbidden (containers often forbid it), ``open_ring`` returns None, and
everything works as it does without.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
import struct
import sys
from array import array
from typing import Final

ENTRIES: Final = 1024
"""Sends in one system call at most."""
DATA_LIMIT: Final = 256 * 1024
"""Bytes that one send may have."""
SQE_SIZE: Final = 64

_SETUP, _ENTER = 425, 426  # the same on every architecture since they exist
_GETEVENTS: Final = 1
_OFF_SQES: Final = 0x10000000
_OP_SEND: Final = 26
_FEAT_SINGLE_MMAP: Final = 1
# Never wait for room: a socket that is full answers EAGAIN at once.
_SEND_FLAGS: Final = socket.MSG_DONTWAIT | getattr(socket, "MSG_NOSIGNAL", 0)
# opcode, flags, ioprio, fd, offset, address, length, flags of send(), user data, padding
_SQE: Final = struct.Struct("=BBHiQQIIQ24x")
_SQE_LENGTH_WORD: Final = 6
_SQE_WORDS: Final = SQE_SIZE // 4
_CQE: Final = struct.Struct("=Qii")
_PARAMS_SIZE: Final = 120
_ATTEMPTS: Final = 100


class RingError(Exception):
    """The kernel did not do what io_uring promises; the ring must not be used any more."""


class Ring:
    """One submission and one completion queue. For one thread; not to be carried over a fork."""

    __slots__ = (
        "_address",
        "_completion_head",
        "_completion_mask",
        "_completion_tail",
        "_completions",
        "_data",
        "_enter",
        "_fd",
        "_map",
        "_mask",
        "_signed",
        "_sqes",
        "_sqes_map",
        "_submission_head",
        "_submission_tail",
        "_words",
        "broken",
        "entries",
    )

    def __init__(self, entries: int = ENTRIES) -> None:
        """Raises ``OSError`` if the kernel has no io_uring for us."""
        libc = ctypes.CDLL(None, use_errno=True)
        setup = libc.syscall
        setup.argtypes = [ctypes.c_long, ctypes.c_uint, ctypes.c_void_p]
        setup.restype = ctypes.c_long
        params = bytearray(_PARAMS_SIZE)
        fd = int(setup(_SETUP, entries, ctypes.addressof((ctypes.c_char * _PARAMS_SIZE).from_buffer(params))))
        if fd < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        self._fd = fd
        submissions, completions, _, _, _, features = struct.unpack_from("=6I", params)
        if not features & _FEAT_SINGLE_MMAP:
            os.close(fd)
            raise OSError(errno.ENOSYS, "io_uring of a kernel older than 5.4")
        head, tail, _, _, _, _, indices = struct.unpack_from("=7I", params, 40)
        done_head, done_tail, _, _, _, done = struct.unpack_from("=6I", params, 80)
        size = max(indices + submissions * 4, done + completions * _CQE.size)
        try:
            self._map = mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
            self._sqes_map = mmap.mmap(
                fd,
                submissions * SQE_SIZE,
                mmap.MAP_SHARED,
                mmap.PROT_READ | mmap.PROT_WRITE,
                offset=_OFF_SQES,
            )
            # Private, so that a child that is forked does not write into our messages.
            self._data = mmap.mmap(-1, DATA_LIMIT, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except BaseException:
            os.close(fd)
            raise
        self.entries = submissions
        self.broken = False
        """A ``RingError`` was raised: what the queues hold is unknown."""
        self._mask = submissions - 1
        self._completion_mask = completions - 1
        self._words = memoryview(self._map).cast("I")
        self._signed = memoryview(self._map).cast("i")
        self._sqes = memoryview(self._sqes_map)
        self._submission_head, self._submission_tail = head // 4, tail // 4
        self._completion_head, self._completion_tail = done_head // 4, done_tail // 4
        self._completions = done // 4
        for index in range(submissions):
            self._words[indices // 4 + index] = index
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._data))
        enter = ctypes.CDLL(None, use_errno=True).syscall
        enter.argtypes = [ctypes.c_long] * 7
        enter.restype = ctypes.c_long
        self._enter = enter

    def close(self) -> None:
        """Give everything back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def entry(self, fd: int, index: int, length: int) -> bytes:
        """A submission entry: send ``length`` bytes of what ``send`` is given to ``fd``."""
        return _SQE.pack(_OP_SEND, 0, 0, fd, 0, self._address, length, _SEND_FLAGS, index)

    def send(self, entries: memoryview, data: bytes) -> list[tuple[int, int]]:
        """Send ``data`` to all the sockets named in ``entries``, at most ``self.entries`` of them.

        Returns (index, result) of those that did not take all of it: the bytes taken, or minus the error
        number. Raises ``RingError``.
        """
        count = len(entries) // SQE_SIZE
        words = self._words
        self._data[: len(data)] = data
        tail = words[self._submission_tail]
        position = tail & self._mask
        first = min(count, self._mask + 1 - position)
        self._sqes[position * SQE_SIZE : (position + first) * SQE_SIZE] = entries[: first * SQE_SIZE]
        if first < count:
            self._sqes[: (count - first) * SQE_SIZE] = entries[first * SQE_SIZE :]
        words[self._submission_tail] = (tail + count) & 0xFFFFFFFF
        self._complete(count)
        return self._results(count, len(data))

    def _complete(self, count: int) -> None:
        """Enter the kernel until all ``count`` are done: once, unless a signal comes."""
        words = self._words
        for _ in range(_ATTEMPTS):
            waiting = (words[self._submission_tail] - words[self._submission_head]) & 0xFFFFFFFF
            missing = count - ((words[self._completion_tail] - words[self._completion_head]) & 0xFFFFFFFF)
            if missing <= 0:
                return
            if self._enter(_ENTER, self._fd, waiting, missing, _GETEVENTS, 0, 0) < 0:
                number = ctypes.get_errno()
                if number not in (errno.EINTR, errno.EAGAIN, errno.EBUSY):
                    self.broken = True
                    raise RingError(f"io_uring_enter: {os.strerror(number)}")
        self.broken = True
        raise RingError(f"{count} sends were not finished in {_ATTEMPTS} calls")

    def _results(self, count: int, length: int) -> list[tuple[int, int]]:
        words, base = self._words, self._completions
        head = words[self._completion_head]
        position = head & self._completion_mask
        first = min(count, self._completion_mask + 1 - position)
        # The result is the third of a completion's four words. Comparing all in one go makes a fan-out to a
        # thousand clients cost this side almost nothing.
        results = self._signed[base + 4 * position + 2 : base + 4 * (position + first) : 4].tobytes()
        if first < count:
            results += self._signed[base + 2 : base + 4 * (count - first) : 4].tobytes()
        failed: list[tuple[int, int]] = []
        if results != array("i", [length]).tobytes() * count:
            for number in range(count):
                offset = 4 * base + _CQE.size * ((position + number) & self._completion_mask)
                index, result, _ = _CQE.unpack_from(self._map, offset)
                if result != length:
                    failed.append((index, result))
        words[self._completion_head] = (head + count) & 0xFFFFFFFF
        return failed


def set_length(entries: bytearray, length: int) -> None:
    """Put ``length`` into every entry."""
    count = len(entries) // SQE_SIZE
    with memoryview(entries).cast("I") as words:
        words[_SQE_LENGTH_WORD::_SQE_WORDS] = memoryview(array("I", [length]) * count)


def open_ring(entries: int = ENTRIES) -> Ring | None:
    """A ring that was tried on a pair of sockets; None where there is none, or OMEGA_IO_URING=0 says so."""
    if sys.platform != "linux" or os.environ.get("OMEGA_IO_URING") == "0":
        return None
    try:
        ring = Ring(entries)
    except (OSError, ValueError, AttributeError):
        return None
    left, right = socket.socketpair()
    with left, right:
        try:
            failed = ring.send(memoryview(ring.entry(left.fileno(), 0, 2)), b"ok")
            right.setblocking(False)
            if not failed and right.recv(8) == b"ok":
                return ring
        except (RingError, OSError):
            pass
    ring.close()
    return None
