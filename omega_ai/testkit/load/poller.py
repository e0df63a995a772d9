"""Waits for sockets, and for a moment that is given in nanoseconds.

On Linux epoll and a timerfd, since epoll alone wakes at whole milliseconds; elsewhere what ``selectors`` has.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import selectors
import sys
import time
from typing import Final, Protocol

READ: Final = 1
WRITE: Final = 4
HANGUP: Final = 0x18
"""Error or hang-up: comes unasked."""

Ready = list[tuple[int, int]]
"""(descriptor, READ | WRITE | HANGUP)."""


class Poller(Protocol):
    """What the worker's loop waits with."""

    def add(self, fd: int, events: int) -> None:
        """Watch ``fd``."""
        ...

    def change(self, fd: int, events: int) -> None:
        """Watch it for something else."""
        ...

    def remove(self, fd: int) -> None:
        """Watch it no more; nothing happens if it is not watched."""
        ...

    def wait(self, until_ns: int) -> Ready:
        """What is ready; empty at ``until_ns`` (``time.monotonic_ns``), or soon after."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...


class _Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


class _Timer(ctypes.Structure):
    _fields_ = [("interval", _Timespec), ("value", _Timespec)]


class EpollPoller:
    """Linux."""

    def __init__(self) -> None:
        """Raises ``OSError`` or ``AttributeError`` where there is no epoll or timerfd."""
        libc = ctypes.CDLL(None, use_errno=True)
        self._set = libc.timerfd_settime
        self._epoll = select.epoll()
        self._timer = int(libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC))
        if self._timer < 0:
            self._epoll.close()
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._epoll.register(self._timer, READ)
        self._spec = _Timer()
        self._reference = ctypes.byref(self._spec)
        self._armed = 0
        self._poll = self._epoll.poll
        self.remove = self._remove

    def add(self, fd: int, events: int) -> None:
        """See ``Poller``."""
        self._epoll.register(fd, events)

    def change(self, fd: int, events: int) -> None:
        """See ``Poller``."""
        self._epoll.modify(fd, events)

    def _remove(self, fd: int) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._epoll.unregister(fd)

    def wait(self, until_ns: int) -> Ready:
        """See ``Poller``."""
        if until_ns <= time.monotonic_ns():
            ready = self._poll(0)
        else:
            if until_ns != self._armed:
                value = self._spec.value
                value.seconds, value.nanoseconds = divmod(until_ns, 1_000_000_000)
                self._set(self._timer, 1, self._reference, None)
                self._armed = until_ns
            ready = self._poll()
        timer = self._timer
        if any(fd == timer for fd, _ in ready):
            self._armed = 0  # it has fired; setting it anew makes it unready
            ready = [item for item in ready if item[0] != timer]
            if not ready:
                return ready
        return ready

    def close(self) -> None:
        """See ``Poller``."""
        self._epoll.close()
        os.close(self._timer)


class SelectorPoller:
    """Every other system."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def add(self, fd: int, events: int) -> None:
        """See ``Poller``."""
        self._selector.register(fd, _wanted(events))

    def change(self, fd: int, events: int) -> None:
        """See ``Poller``."""
        if events:
            self._selector.modify(fd, _wanted(events))
        else:
            self.remove(fd)

    def remove(self, fd: int) -> None:
        """See ``Poller``."""
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(fd)

    def wait(self, until_ns: int) -> Ready:
        """See ``Poller``."""
        left = max(0, until_ns - time.monotonic_ns()) / 1e9
        return [
            (
                key.fd,
                (READ if mask & selectors.EVENT_READ else 0) | (WRITE if mask & selectors.EVENT_WRITE else 0),
            )
            for key, mask in self._selector.select(left)
        ]

    def close(self) -> None:
        """See ``Poller``."""
        self._selector.close()


def _wanted(events: int) -> int:
    return (selectors.EVENT_READ if events & READ else 0) | (selectors.EVENT_WRITE if events & WRITE else 0)


def open_poller() -> Poller:
    """The best that this system has."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            return EpollPoller()
    return SelectorPoller()
