"""The pytest plugin, as somebody who installed it uses it: a project and a process of their own."""

from __future__ import annotations

import re
import sys
from importlib import metadata

import pytest

from omega_ai.tests.conftest import ROOT

pytest_plugins = ["pytester"]

SERVER = """
import asyncio, sys
from websockets.asyncio.server import serve

LOSE = int(sys.argv[2])

async def echo(connection):
    number = 0
    async for message in connection:
        number += 1
        if not LOSE or number % LOSE:
            await connection.send(message)

async def main():
    async with serve(echo, "127.0.0.1", int(sys.argv[1])) as server:
        await server.serve_forever()

asyncio.run(main())
"""

TEST = """
from omega_ai.testkit.assertions import assert_delivered, assert_in_time, assert_no_loss

def test_echo(ws):
    client = ws.connect("alice")
    client.echo(20)
    ws.settle()
    assert_delivered(ws)
    assert_in_time(ws, 5.0)
    assert client.ping() is not None
    assert client.close().code == 1000

def test_nothing_seen_is_no_pass(ws):
    import pytest
    ws.connect("bob")
    with pytest.raises(AssertionError, match="no message was seen"):
        assert_no_loss(ws)
"""


@pytest.fixture(autouse=True)
def only_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other plugins take longer to load than the tests take to run."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:hypothesispytest -p no:playwright -p no:pytest_cov")


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project with a server and a test of it."""
    pytester.makefile(".py", server=SERVER)
    pytester.makepyfile(test_mine=TEST)
    pytester.makeini("[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n")
    return pytester


def command(lose: int = 0) -> str:
    """The command that starts the project's server; it loses every ``lose``-th message."""
    return f"{sys.executable} server.py {{port}} {lose}"


def test_it_is_announced_to_pytest() -> None:
    """By an entry point, so that installing is enough."""
    (found,) = (
        entry
        for entry in metadata.entry_points(group="pytest11")
        if entry.value == "omega_ai.testkit.pytest_plugin"
    )
    assert found.name == "omega-websocket"


def test_its_options_are_in_the_help(pytester: pytest.Pytester) -> None:
    """With what they are for."""
    result = pytester.runpytest_subprocess("--help")
    result.stdout.fnmatch_lines(
        ["*WebSocket servers under test*", "*--ws-url=URL*", "*--ws-conformance=URL*"]
    )


def test_a_server_is_started_tested_and_stopped(project: pytest.Pytester) -> None:
    """By one's own command; the seed stands in the header."""
    result = project.runpytest_subprocess("--ws-server", command(), "--ws-profile", "echo", "--ws-seed", "11")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["websocket: *server.py*, seed 11 (--ws-seed)"])


def test_a_loss_fails_the_test_and_shows_the_frames(project: pytest.Pytester) -> None:
    """With the message that was lost, and the wire log."""
    result = project.runpytest_subprocess("--ws-server", command(lose=7), "--ws-profile", "echo")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*AssertionError: failure: 2 messages lost, at alice*",
            "*WebSocket wire log (--ws-seed *",
            "*alice*->*text*",
        ]
    )


def test_how_to_speak_to_the_server_is_found_out_without_a_profile(project: pytest.Pytester) -> None:
    """By probing."""
    result = project.runpytest_subprocess("--ws-server", command(), "-k", "test_echo")
    result.assert_outcomes(passed=1, deselected=1)


def test_the_command_can_come_from_a_conftest(project: pytest.Pytester) -> None:
    """As fixtures of pytest do: by overriding one."""
    project.makeconftest(
        "import pytest, sys\n"
        "@pytest.fixture(scope='session')\n"
        "def ws_server_command():\n"
        "    return [sys.executable, 'server.py', '{port}', '0']\n"
    )
    project.runpytest_subprocess("--ws-profile", "echo").assert_outcomes(passed=2)


def test_coroutines_have_a_context(project: pytest.Pytester) -> None:
    """With whatever runs coroutines, such as pytest-asyncio."""
    project.makepyfile(
        test_mine="""
import pytest

@pytest.mark.asyncio
async def test_it(ws_context):
    async with ws_context as context:
        client = await context.connect("client")
        assert await context.round_trip(client) < 5
"""
    )
    project.runpytest_subprocess("--ws-server", command(), "--ws-profile", "echo").assert_outcomes(passed=1)


def test_cases_become_tests(project: pytest.Pytester) -> None:
    """Selected by -k as any other; one that does not apply is skipped with the reason."""
    project.makepyfile(
        test_mine="""
import subprocess, sys

def test_run(ws_url, pytestconfig):
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "none",
               "--ws-url", ws_url, "--ws-suite", "messages", "-k", "echo or binary or feed"]
    done = subprocess.run(command, capture_output=True, text=True)
    print(done.stdout, done.stderr)
    assert "2 passed, 1 skipped" in done.stdout
    assert "it is not known to send messages of its own" in done.stdout
"""
    )
    project.mkdir("none")
    project.runpytest_subprocess("--ws-server", command(), "--ws-profile", "echo").assert_outcomes(passed=1)


def test_a_case_that_fails_is_a_test_that_fails(project: pytest.Pytester) -> None:
    """And says how to see it again."""
    project.makepyfile(
        test_mine="""
import subprocess, sys

def test_run(ws_url):
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "none", "--ws-profile", "echo",
               "--ws-url", ws_url, "--ws-suite", "messages", "-k", "burst", "--ws-seed", "4"]
    done = subprocess.run(command, capture_output=True, text=True)
    print(done.stdout, done.stderr)
    assert "1 failed" in done.stdout
    assert "messages lost" in done.stdout
    assert f"omega test {ws_url} --case messages.burst --seed 4" in done.stdout
    assert "Traceback" not in done.stdout
"""
    )
    project.mkdir("none")
    project.runpytest_subprocess("--ws-server", command(lose=7), "--ws-profile", "echo").assert_outcomes(
        passed=1
    )


def test_cases_for_clients_become_tests_of_a_client(pytester: pytest.Pytester) -> None:
    """The command is run, and one that fails says how to see it again."""
    client = f"{sys.executable} -m omega_ai.tests.conformance.contenders.python_client websockets {{url}}"
    options = ("--ws-conformance-client", client, "--ws-seed", "4", "-p", "no:cacheprovider")
    which = "ping-text or mask-new-keys or close-inside-a-message"
    result = pytester.runpytest_subprocess(*options, "-k", which)
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*a right close was answered with 1002*",
            "again: *omega test --client *close-inside-a-message --seed 4",
        ]
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--ws-conformance-client", "python client.py"), "*the command has no {url} in it*"),
        (("--ws-url", "http://localhost"), "*--ws-url: *is no WebSocket URL*"),
        (("--ws-url", "ws://localhost", "--ws-server", "x"), "*one server, not two*"),
        (
            ("--ws-url", "ws://localhost", "--ws-suite", "nonsense"),
            "*no suite 'nonsense'; there are: connectivity*",
        ),
        (("--ws-suite", "tls"), "*--ws-suite: needs --ws-url*"),
        (("--ws-profile", "nonsense"), "*no profile 'nonsense'*"),
    ],
)
def test_a_wrong_option_is_told_before_anything_runs(
    pytester: pytest.Pytester, arguments: tuple[str, ...], words: str
) -> None:
    """With what would be right."""
    result = pytester.runpytest_subprocess(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([words])


def test_without_a_server_the_fixtures_say_what_to_give(project: pytest.Pytester) -> None:
    """And a run without our options shows nothing of us."""
    result = project.runpytest_subprocess()
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*no server to test: give --ws-url URL, or --ws-server COMMAND*"])
    result.stdout.no_fnmatch_line("websocket: *")


def test_a_server_that_does_not_start_is_told_with_its_last_words(project: pytest.Pytester) -> None:
    """Not after a time-out."""
    result = project.runpytest_subprocess(
        "--ws-server", f"{sys.executable} server.py", "--ws-profile", "echo"
    )
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*ended with exit code 1 before it was up*", "*IndexError*"])


def test_loading_it_imports_nothing_of_the_test_kit(pytester: pytest.Pytester) -> None:
    """Every run of pytest loads it, whether it is used or not."""
    pytester.makepyfile(
        "import sys\n"
        "def test_it():\n"
        "    loaded = {name for name in sys.modules if name.startswith('omega_ai')}\n"
        "    plugins = {'omega_ai.testkit.pytest_plugin', 'omega_ai.testkit.pytest_faults'}\n"
        "    assert loaded == {'omega_ai', 'omega_ai.testkit', *plugins}\n"
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


LOAD = """
import pytest
from omega_ai.testkit.assertions import assert_thresholds

def test_load(ws_load):
    run = ws_load(clients=5, rate=100, seconds=1, lag_limit_s=20)
    assert_thresholds(run, "lost == 0", "latency.p99 < 10s", "received > 50")
    with pytest.raises(AssertionError, match="fail: latency.p50 < 1ns: "):
        assert_thresholds(run, "latency.p50 < 1ns")
    with pytest.raises(AssertionError, match="unknown: cpu.max < 1%: not measured"):
        assert_thresholds(run, "cpu.max < 1%")
    with pytest.raises(TypeError):
        assert_thresholds(run)
"""


def test_load_and_thresholds_in_a_test(project: pytest.Pytester) -> None:
    """On a right server; on one that loses, the loss is named."""
    project.makepyfile(test_mine=LOAD)
    arguments = ("--ws-profile", "echo", "-p", "no:cacheprovider")
    right = project.runpytest_subprocess("--ws-server", command(), *arguments)
    right.assert_outcomes(passed=1)
    losing = project.runpytest_subprocess("--ws-server", command(lose=10), *arguments)
    losing.assert_outcomes(failed=1)
    losing.stdout.fnmatch_lines(["*fail: lost == 0: *"])


def test_the_example_of_the_page_on_load(project: pytest.Pytester) -> None:
    """As it stands there. On a machine that holds the generator up, it says so, and nothing else."""
    text = (ROOT / "docs" / "testkit" / "load.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    project.makepyfile(test_mine=example)
    result = project.runpytest_subprocess("--ws-server", command(), "--ws-profile", "echo")
    outcomes = result.parseoutcomes()
    held_up = "unknown: the generator" in result.stdout.str()
    assert outcomes == ({"failed": 1} if held_up else {"passed": 1})
