"""Where servers and clients run, and what is said when they cannot."""

from __future__ import annotations

import os

import pytest

from benchmarks.server.contenders import Contender
from benchmarks.server.processes import Failed, Place, Server, choose_cores
from benchmarks.server.workshop import Workshop


def test_server_and_client_get_cores_that_this_process_may_use():
    server, client = choose_cores(None)
    allowed = os.sched_getaffinity(0)
    assert {server, client} <= allowed
    assert server != client or len(allowed) == 1


@pytest.mark.parametrize("text", ["0", "a,b", "0,1,2", "0,9999"])
def test_cores_that_are_none_are_refused_by_name(text):
    with pytest.raises(Failed, match="--cores"):
        choose_cores(text)


def test_a_server_that_ends_at_once_is_reported_with_its_last_words(tmp_path):
    words = ["sh", "-c", "echo 'no such option' >&2; exit 3"]
    contender = Contender("broken", "Broken", lambda *_: words, lambda _: "0")
    core = min(os.sched_getaffinity(0))
    with (
        pytest.raises(Failed, match=r"Broken ended \(3\): no such option"),
        Server(contender, Workshop(tmp_path, print), "plain", Place(core, 0)),
    ):
        pass
