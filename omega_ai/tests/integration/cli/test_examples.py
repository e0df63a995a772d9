"""The examples of the documents do what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import msgspec

from omega_ai.client.messages import Price, decode
from omega_ai.data_feed.settings import FeedSettings
from omega_ai.tests.conftest import ROOT
from omega_ai.tests.feed_server import FeedThread, quiet_settings


def examples(document: str, language: str) -> list[str]:
    """The code blocks of a document in one language."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)


def test_readme_program_prints_prices(tmp_path: Path) -> None:
    """As it stands there, but for the port."""
    (program,) = examples("README.md", "python")
    with FeedThread(quiet_settings(source="simulated")) as feed:
        file = tmp_path / "example.py"
        file.write_text(program.replace("ws://localhost:8765", feed.at.ws))
        process = subprocess.Popen(
            [sys.executable, "-u", file],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        process.kill()
        process.communicate()
    first, second, third = (line.split() for line in lines)
    assert first[1] == "BTC-USD"
    assert first[3] == "simulated"
    assert [int(second[0]), int(third[0])] == [int(first[0]) + 1, int(first[0]) + 2]


def test_message_of_the_readme_is_one_of_the_contract() -> None:
    """Shortened where it says so."""
    (message,) = examples("README.md", "json")
    whole = message.replace('"...": "..."', '"source_timestamp":null,"sources":{}')
    assert isinstance(decode(whole.encode()), Price)


def test_file_of_the_reference_sets_what_there_is() -> None:
    """Keys of the example are options of the command."""
    (file,) = examples("docs/commands.md", "toml")
    names = {field.name for field in msgspec.structs.fields(FeedSettings)}
    assert {key.replace("venue", "venues") for key in tomllib.loads(file)["serve"]} <= names
