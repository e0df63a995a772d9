"""Every example of every document is what it says: it runs, is read, or is valid. None is left out."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from cyclopts import App, CycloptsError, Parameter

from omega_ai.cli.app import COMMANDS
from omega_ai.cli.configuration import Configuration
from omega_ai.cli.exit_codes import UsageError
from omega_ai.cli.options import function_of
from omega_ai.data_feed.settings import FeedSettings
from omega_ai.data_feed.websocket.asyncapi import document
from omega_ai.testkit.experiment.model import parse as parse_experiment
from omega_ai.testkit.load.scenario import parse_scenario
from omega_ai.tests.conftest import ROOT
from omega_ai.tests.docs.blocks import Block, Command, blocks, commands
from omega_ai.tests.feed_server import FeedThread, quiet_settings

READ = {"": "", "text": "", "promql": "by a Prometheus, in the tests of the metrics", "mermaid": ""}
"""Languages of which no example is run, and what holds it instead."""
ELSEWHERE = {
    "docs/client.md": "integration/client/test_documentation.py",
    "README.md": "integration/cli/test_examples.py",
    "docs/tutorial.md": "docs/test_tutorial.py",
    "docs/testkit/load.md": "plugin/test_pytest_plugin.py",  # where a busy machine is no failure
}
"""Documents whose programs are run by tests of their own."""
PIECES = {
    "docs/testkit/chaos.md": "integration/testkit/test_experiments.py",
    "docs/testkit/clients.md": "integration/testkit/conformance",
    "docs/testkit/contract.md": "integration/testkit/contract",
    "docs/testkit/load-machines.md": "unit/testkit/load/test_locust_user.py",
    "docs/testkit/scenarios.md": "unit/testkit/load/test_documents.py",
}
"""Documents whose programs are pieces of one: they are compiled here, and what they import is there; what
they show is held by the tests named."""
WHOLE = [b for b in blocks("python") if b.document not in {**ELSEWHERE, **PIECES}]
READERS: dict[str, Callable[[str, str], object]] = {
    "docs/testkit/chaos.md": parse_experiment,
    "docs/testkit/scenarios.md": parse_scenario,
}
"""Documents whose TOML is no settings, and what reads it."""
PATIENCE = 120.0

FEED = re.compile(r"ws://localhost:8765")
ENDLESS = re.compile(r"^ *(async )?for .* in feed:$|serve_forever", re.MULTILINE)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A feed with prices."""
    with FeedThread(quiet_settings(source="simulated")) as feed:
        yield feed.at.ws


@pytest.fixture(scope="module")
def silent_url() -> Iterator[str]:
    """A feed that says nothing by itself, so that tests of it settle soon."""
    with FeedThread(quiet_settings()) as feed:
        yield feed.at.ws


def each(language: str) -> Any:
    """A test for each block of a language."""
    return pytest.mark.parametrize("block", [pytest.param(b, id=b.name) for b in blocks(language)])


def test_every_language_of_a_block_is_looked_at() -> None:
    """A new one needs a test here."""
    looked_at = {"python", "sh", "console", "json", "toml", "yaml", "js", "html", *READ}
    assert {block.language for block in blocks()} <= looked_at
    assert len(blocks("python")) > 10
    assert len(blocks("json")) > 5


@pytest.mark.parametrize(
    "block",
    [pytest.param(b, id=b.name) for b in blocks("python") if b.document not in {**ELSEWHERE, **PIECES}],
)
def test_a_program_runs(block: Block, url: str, silent_url: str, tmp_path: Path) -> None:
    """Scripts to their end; tests by pytest, against a feed."""
    assert not ENDLESS.search(block.text), "needs a test of its own, named in ELSEWHERE"
    program = tmp_path / (block.title or "test_example.py")
    program.write_text(FEED.sub(url, block.text))
    arguments = [str(program)]
    if "def test_" in block.text:
        arguments = ["-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", *arguments]
        arguments += ["--ws-url", silent_url, "--ws-profile", "omega"]
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout


@pytest.mark.parametrize(
    "block", [pytest.param(b, id=b.name) for b in blocks("python") if b.document in PIECES]
)
def test_a_piece_of_a_program_compiles(block: Block) -> None:
    """And names nothing of ours that is not there."""
    tree = ast.parse(block.text)
    compile(tree, block.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert (ROOT / "omega_ai" / "tests" / PIECES[block.document]).exists()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("omega_ai."):
            if "locust" in str(node.module):
                pytest.importorskip("locust", reason="an extra: pip install 'omega-btc-ai[locust]'")
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                assert hasattr(module, alias.name) or importlib.import_module(f"{node.module}.{alias.name}")


def parse(words: list[str]) -> None:
    """Have the command line read the options of a command, without running it."""
    command, *rest = words
    if command.startswith("-"):
        assert command in ("--version", "--help"), command
        return
    assert command in COMMANDS, f"there is no omega {command}"
    app = App(
        name=f"omega {command}",
        default_parameter=Parameter(negative_iterable=(), negative_bool="no-"),
        config=Configuration(command, {}),
        print_error=False,
        exit_on_error=False,
        result_action="return_value",
    )
    app.default(function_of(command))
    app.parse_args(rest, print_error=False, exit_on_error=False)


@pytest.mark.parametrize("command", [pytest.param(c, id=c.name) for c in commands("omega")])
def test_a_command_is_understood(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name, options and their values are those of the program; a file that ``--config`` names is made up."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "omega.toml").write_text("")
    words = ["omega.toml" if word.endswith("omega.toml") else word for word in command.words]
    if "COMMAND" in words:
        return
    parse(words)


def test_a_wrong_command_would_be_found() -> None:
    """So that the test above proves something."""
    assert len(commands("omega")) > 30
    for wrong in (["serve", "--prot", "1"], ["watch", "--count", "three"], ["sevre"]):
        with pytest.raises((CycloptsError, UsageError, AssertionError)):
            parse(wrong)


@pytest.fixture(scope="module")
def contract() -> dict[str, Any]:
    """The wire contract, as machines read it."""
    made: dict[str, Any] = json.loads(json.dumps(document(version="1")))
    return made


@each("json")
def test_a_message_is_one_of_the_contract(block: Block, contract: dict[str, Any]) -> None:
    """Any JSON is JSON; what has a ``type`` of the wire is a valid message of it, in one direction."""
    text = block.text.replace('"...": "..."', '"source_timestamp": null, "sources": {}')
    message = json.loads(text)
    if not isinstance(message, dict):
        return  # a file of proxies, which its own tests read
    messages = contract["components"]["messages"]
    names = [f"{message.get('type')}-{way}" for way in ("to-server", "to-client")]
    schemas = [messages[name]["payload"] for name in names if name in messages]
    if not schemas or "docs/http.md" in block.document:
        return  # an answer of the HTTP side has the same words, but not the same fields
    errors = []
    for schema in schemas:
        whole = {"components": contract["components"], **schema}
        errors.append(
            [error.message for error in jsonschema.Draft202012Validator(whole).iter_errors(message)]
        )
    assert [] in errors, errors


@each("toml")
def test_a_file_of_settings_is_read(block: Block, tmp_path: Path) -> None:
    """Tables of commands have keys that the commands know; profiles have tests of their own."""
    content = tomllib.loads(block.text)
    if (reader := READERS.get(block.document)) is not None:
        reader(block.text, block.name)
        return
    tables = content.keys() & COMMANDS.keys()
    path = tmp_path / "omega.toml"
    path.write_text(block.text)
    for command in tables:
        parse([command, "--config", str(path)])
    assert tables or "name" in content or "contract" in content


@each("yaml")
def test_yaml_is_yaml(block: Block) -> None:
    """Pieces of others' configuration."""
    yaml = pytest.importorskip("yaml", reason="comes with make check")
    assert yaml.safe_load(block.text)


@each("js")
def test_javascript_is_javascript(block: Block, tmp_path: Path) -> None:
    """Its syntax; the client that it uses is tested in Node and in a browser."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    program = tmp_path / "example.mjs"
    program.write_text(block.text)
    done = subprocess.run([node, "--check", str(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_settings_that_documents_name_exist() -> None:
    """``--option`` in running text is an option of some command, of pytest's plugin or of a script."""
    known = set()
    for command in COMMANDS:
        text = (ROOT / "docs" / "commands.md").read_text()
        known |= set(re.findall(r"`(--[a-z-]+)`", text.partition(f"## omega {command}")[2]))
    known |= {
        "--help",
        "--version",
        "--config",
        "--no-deps",
        "--require-hashes",
        "--quick",
        "--list-cases",
        "--cov",
        "--enable-feature",
    }
    sources = "".join(path.read_text() for path in (ROOT / "omega_ai").rglob("*.py"))
    sources += "".join(path.read_text() for path in (ROOT / "benchmarks").rglob("*.py"))
    named: set[str] = set()
    for block_free in (re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL) for path in _documents()):
        named |= set(re.findall(r"`(--[a-z][a-z-]+)[ `=]", block_free))
    assert sorted(name for name in named - known if f'"{name}"' not in sources) == []
    assert len(FeedSettings.__struct_fields__) > 30


def _documents() -> list[Path]:
    from omega_ai.tests.docs.blocks import documents

    return documents()
