"""The comparison of the proxy: it runs, and what its copy loop in C passes on is what was sent."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
import time

import pytest

from benchmarks.proxy import NATIVE
from omega_ai.tests.conftest import ROOT

COMPILER = shutil.which("cc") or ""
pytestmark = pytest.mark.skipif(
    not COMPILER or sys.platform != "linux", reason="it needs Linux and a C compiler"
)


def test_the_copy_loop_passes_every_byte_on_both_ways(tmp_path):
    program = tmp_path / "relay"
    flags = ["-O1", "-Wall", "-Wno-unused-function", "-Werror"]
    subprocess.run([COMPILER, *flags, "-o", program, NATIVE / "relay.c"], check=True, timeout=60)
    data = bytes(range(251)) * 20_000
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        command = [program, f"port={port}", f"to={server.getsockname()[1]}"]
        with subprocess.Popen(command) as relay:
            client = connect(port)
            peer, _ = server.accept()
            with client, peer:
                sender = threading.Thread(target=client.sendall, args=(data,))
                sender.start()
                time.sleep(0.05)  # so that the loop meets a receiver that does not keep up
                assert peer.recv(len(data), socket.MSG_WAITALL) == data
                sender.join()
                peer.sendall(b"answer")
                assert client.recv(6, socket.MSG_WAITALL) == b"answer"
            relay.kill()


def connect(port: int) -> socket.socket:
    for _ in range(500):
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            time.sleep(0.02)
    raise AssertionError("the loop does not listen")


def test_the_comparison_runs_and_has_a_row_for_each():
    command = [sys.executable, "-m", "benchmarks.proxy", "--rounds", "1", "--megabytes", "2", "--pings", "20"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    names = [line.split("|")[1].strip() for line in done.stdout.splitlines()[2:]]
    assert names == ["no proxy", "C copy loop", "omega proxy, no toxic", "omega proxy, noop toxic"]
