"""Waiting: for what is ready, and no longer than until the moment that was given. Both ways of it."""

import select
import socket
import time

import pytest

from omega_ai.testkit.load.poller import HANGUP, READ, WRITE, EpollPoller, SelectorPoller, open_poller

KINDS = [SelectorPoller, *([EpollPoller] if hasattr(select, "epoll") else [])]


@pytest.fixture(params=KINDS)
def poller(request):
    made = request.param()
    yield made
    made.close()


@pytest.fixture
def pair():
    left, right = socket.socketpair()
    with left, right:
        yield left, right


def soon(seconds=0.02):
    return time.monotonic_ns() + round(seconds * 1e9)


def test_nothing_is_ready_until_the_moment(poller, pair):
    poller.add(pair[0].fileno(), READ)
    for _ in range(2):
        moment = soon()
        assert poller.wait(moment) == []
        assert time.monotonic_ns() >= moment - 1_000_000


def test_a_moment_that_is_past_is_no_wait(poller, pair):
    poller.add(pair[0].fileno(), READ)
    assert poller.wait(0) == []
    pair[1].send(b"x")
    assert poller.wait(0) == [(pair[0].fileno(), READ)]


def test_what_is_ready_comes_before_the_moment(poller, pair):
    poller.add(pair[0].fileno(), READ)
    pair[1].send(b"x")
    assert poller.wait(soon(60)) == [(pair[0].fileno(), READ)]


def test_one_may_watch_for_writing_too_for_nothing_or_no_more(poller, pair):
    fd = pair[0].fileno()
    poller.add(fd, READ)
    poller.change(fd, READ | WRITE)
    assert poller.wait(soon(60)) == [(fd, WRITE)]
    poller.change(fd, READ)
    assert poller.wait(soon()) == []
    poller.remove(fd)
    poller.remove(fd)
    pair[1].send(b"x")
    assert poller.wait(soon()) == []


def test_an_end_is_ready(poller, pair):
    poller.add(pair[0].fileno(), READ)
    pair[1].close()
    ((fd, events),) = poller.wait(soon(60))
    assert fd == pair[0].fileno()
    assert events & (READ | HANGUP)


def test_there_is_one_for_this_system():
    made = open_poller()
    assert made.wait(0) == []
    made.close()
