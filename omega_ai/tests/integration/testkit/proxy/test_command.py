"""``omega proxy`` as a user starts it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

from omega_ai.tests.integration.testkit.proxy.peers import WAIT, connected, echo, serving


@contextlib.contextmanager
def omega_proxy(tmp_path, *arguments):
    """The running command, and the addresses that it told."""
    told = tmp_path / "told.json"
    command = [sys.executable, "-m", "omega_ai", "proxy", "--port", "0", "--json", str(told), *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        try:
            deadline = time.monotonic() + WAIT
            while not told.exists() or not told.read_text().endswith("}\n"):
                assert running.poll() is None, running.stderr.read()
                assert time.monotonic() < deadline
                time.sleep(0.02)
            yield running, json.loads(told.read_text())
        finally:
            running.kill()


def get_json(url):
    with urllib.request.urlopen(url, timeout=WAIT) as answer:
        return json.load(answer)


def run(*arguments):
    command = [sys.executable, "-m", "omega_ai", "proxy", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


async def test_it_proxies_harms_obeys_its_api_and_stops_cleanly(tmp_path):
    toxic = "latency:latency=150"
    async with serving(echo) as server:
        with omega_proxy(tmp_path, "--upstream", server.address, "--toxic", toxic) as (running, told):
            listen = told["proxies"]["proxy"]["listen"]
            async with connected(int(listen.rpartition(":")[2])) as client:
                begin = time.monotonic()
                client.send(b"x")
                assert await client.read(1) == b"x"
                assert time.monotonic() - begin >= 0.149
                (shown,) = await asyncio.to_thread(get_json, f"{told['api']}/proxies/proxy/toxics")
                assert shown["attributes"] == {"latency": 150, "jitter": 0}
                running.send_signal(signal.SIGINT)
                assert (await client.read_to_end())[0] == b""
            assert running.wait(WAIT) == 130
            text = running.stderr.read()
    assert f"{listen} -> {server.address}" in text
    assert "latency_downstream (downstream): latency=150" in text
    assert "Traceback" not in text


async def test_it_reads_toxiproxy_s_file_and_a_toml_file(tmp_path):
    async with serving(echo) as server:
        array = tmp_path / "toxiproxy.json"
        array.write_text(
            json.dumps(
                [
                    {"name": "up", "listen": "127.0.0.1:0", "upstream": server.address, "enabled": True},
                    {"name": "down", "listen": "127.0.0.1:0", "upstream": server.address, "enabled": False},
                ]
            )
        )
        table = tmp_path / "proxies.toml"
        table.write_text(
            f'[proxy]\nseed = 7\n[[proxies]]\nname = "toml"\nupstream = "{server.address}"\n'
            '[[proxies.toxics]]\ntype = "limit_data"\nattributes = {bytes = 3}\n'
        )
        with omega_proxy(tmp_path, "--config", str(array)) as (running, told):
            assert list(told["proxies"]) == ["up", "down"]
            async with connected(int(told["proxies"]["up"]["listen"].rpartition(":")[2])) as client:
                client.send(b"x")
                assert await client.read(1) == b"x"
            running.terminate()
            running.wait(WAIT)
        (tmp_path / "told.json").unlink()
        with omega_proxy(tmp_path, "--config", str(table)) as (running, told):
            async with connected(int(told["proxies"]["toml"]["listen"].rpartition(":")[2])) as client:
                client.send(b"abcdef")
                assert await client.read_to_end() == (b"abc", "end")
            running.terminate()
            running.wait(WAIT)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--toxic", "latncy"), "did you mean 'latency'"),
        (("--toxic", "latency:latency=1"), "say with --upstream where it leads"),
        (("--port", "off"), "there is nothing to do"),
        (("--upstream", "localhost"), "missing port"),
        (
            ("--upstream", "localhost:1", "--listen", "203.0.113.1:1", "--port", "0"),
            "listen tcp 203.0.113.1:1",
        ),
        (("--upstream", "localhost:1", "--cert", "/nowhere.pem"), "/nowhere.pem"),
        (("--config", "/nowhere.json"), "/nowhere.json cannot be read"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_3(arguments, words):
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (3, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_busy_port_of_the_api_is_named(tmp_path):
    with omega_proxy(tmp_path) as (_, told):
        port = told["api"].rpartition(":")[2]
        done = run("--port", port)
    assert done.returncode == 3
    assert f"the API cannot listen on 127.0.0.1:{port}: " in done.stderr
