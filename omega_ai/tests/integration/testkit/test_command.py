"""``omega test`` and ``omega report``, as people run them."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from omega_ai.testkit.zoo.certificates import Authority
from omega_ai.testkit.zoo.delivery import LosesEcho
from omega_ai.testkit.zoo.secure import no_intermediate
from omega_ai.testkit.zoo.site import EchoSite, Site
from omega_ai.tests.integration.testkit.servers import Chat, Market, echo, serving

LIMIT = 90.0


async def omega(*arguments: str) -> tuple[int, str, str]:
    """Run a command; its exit code, standard output and standard error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "omega_ai",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(LIMIT):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


@pytest.mark.usefixtures("state_home")
async def test_without_a_url_it_tests_a_feed_of_its_own(tmp_path: Path) -> None:
    """Which passes; standard output is JSON and nothing else."""
    code, output, errors = await omega(
        "test", "--suite", "connectivity", "--json", "-", "--seed", "5", "--report-dir", str(tmp_path)
    )
    assert code == 0, errors
    result = json.loads(output)
    assert result["seed"] == 5
    verdicts = {case["id"]: case["verdict"] for case in result["suites"][0]["cases"]}
    assert set(verdicts.values()) == {"pass"}
    assert "connectivity.secure" in verdicts
    assert ET.parse(tmp_path / "junit.xml").getroot().get("failures") == "0"
    assert (tmp_path / "report.html").stat().st_size > 1000


async def test_a_faulty_server_fails_and_the_command_to_see_it_again_works() -> None:
    """Exit code 1, with the case, the finding and the command."""
    async with LosesEcho() as server:
        code, _, errors = await omega("test", server.url, "--case", "messages.burst", "--seed", "8")
        assert code == 1, errors
        assert "lost" in errors
        assert "--case messages.burst --seed 8" in errors


async def test_a_server_that_nobody_knows_is_probed() -> None:
    """And what was found, and what cannot be checked, is said."""
    async with serving(echo) as url:
        code, output, errors = await omega("test", url, "--suite", "connectivity,messages", "--json", "-")
    assert code == 0, errors
    result = json.loads(output)
    assert result["target"]["profile"] == "echo"
    assert any("the same bytes" in fact for fact in result["target"]["facts"])
    assert any("reaches all others" in limit for limit in result["target"]["limits"])


@pytest.mark.parametrize(
    ("handler", "profile"), [(Chat(), "silent"), (Market(), "silent")], ids=["chat", "market"]
)
async def test_a_server_that_answers_nothing_we_know_is_tested_as_far_as_that_goes(handler, profile) -> None:
    """Whatever cannot be put to it is skipped, not passed."""
    async with serving(handler) as url:
        code, output, errors = await omega("test", url, "--suite", "messages", "--json", "-")
    assert code == 2, errors
    result = json.loads(output)
    assert result["target"]["profile"] == profile
    assert all(case.get("skipped") for case in result["suites"][0]["cases"])


async def test_a_certificate_that_is_at_fault_does_not_keep_the_tls_suite_from_saying_so(
    tmp_path: Path,
) -> None:
    """It is named; what needs a connection cannot be asked, and says why."""
    authority = Authority(tmp_path)
    async with EchoSite(tls=no_intermediate(authority)) as server:
        assert server.secure_url is not None
        asked = ("test", server.secure_url, "--ca", str(authority.ca), "--suite")
        code, output, errors = await omega(*asked, "tls", "--json", "-")
        assert code == 1, errors
        findings = {case["id"]: case["finding"] for case in json.loads(output)["suites"][0]["cases"]}
        assert "an intermediate certificate is missing: CN=intermediate" in findings["tls.chain"]
        assert findings["tls.versions"].startswith("spoken: TLS 1.2")
        code, _, errors = await omega(*asked, "tls,connectivity")
    assert code == 3
    assert "an authority that is not trusted here" in errors


async def test_nobody_there_is_a_matter_of_the_environment() -> None:
    """Exit code 3, and what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        code, output, errors = await omega("test", f"ws://127.0.0.1:{port}/")
    assert code == 3
    assert output == ""
    assert "connection refused" in errors
    assert "Is the server running" in errors


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--suite", "nonsense"), "there is no suite 'nonsense'; there are: connectivity, messages"),
        (("--case", "messages.nonsense"), "there is no case 'messages.nonsense'"),
        (("--profile", "absent.toml"), "no profile 'absent.toml'"),
        (("http://localhost/",), "is no WebSocket URL"),
        (("--junit", "absent/j.xml"), "there is no directory absent"),
        (("ws://localhost:99999/",), "is no URL"),
    ],
)
async def test_a_mistake_is_one_sentence(arguments: tuple[str, ...], words: str) -> None:
    """And exit code 3."""
    code, output, errors = await omega("test", *arguments)
    assert code == 3
    assert words in errors
    assert "Traceback" not in errors
    assert output == ""


async def test_the_cases_are_listed() -> None:
    """Without a server."""
    code, output, _ = await omega("test", "--list-cases", "--suite", "tls")
    assert code == 0
    assert "tls.versions" in output


async def test_two_results_are_compared(tmp_path: Path) -> None:
    """A case that fails in the second run is worse; the same run is not; rubbish is refused."""
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    for site, path in ((EchoSite, before), (LosesEcho, after)):
        async with site() as server:
            await omega("test", server.url, "--case", "messages.burst", "--json", str(path))
    code, _, errors = await omega("report", "compare", str(before), str(after))
    assert code == 1
    assert "worse" in errors
    assert "messages.burst" in errors
    assert (await omega("report", "compare", str(before), str(before)))[0] == 0
    code, _, errors = await omega("report", "show", str(after))
    assert code == 1
    assert "Verdict: FAIL" in errors
    after.write_text("{}")
    code, _, errors = await omega("report", "compare", str(before), str(after))
    assert code == 3
    assert "format None" in errors


async def test_the_zoos_right_server_is_found_to_answer_json() -> None:
    """By probing: its echo is known, its broadcast is not."""
    async with Site() as server:
        code, output, errors = await omega("test", server.url, "--case", "connectivity.ping", "--json", "-")
    assert code == 0, errors
    assert any("JSON object" in fact for fact in json.loads(output)["target"]["facts"])
