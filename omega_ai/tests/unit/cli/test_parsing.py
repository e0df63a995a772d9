"""Options that are read again while the command runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import omega_ai.cli.serve  # noqa: F401 - so that it is among the modules
from omega_ai.cli.app import main
from omega_ai.cli.parsing import parse_again
from omega_ai.data_feed.settings import FeedSettings, SettingsError

Read = Callable[[], FeedSettings]


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Read | None]:
    """What ``omega serve ARGUMENTS`` hands to the feed to read its settings again with; nothing is served."""
    taken: dict[str, Any] = {}
    module = sys.modules["omega_ai.cli.serve"]
    monkeypatch.setattr(module, "run_feed", lambda _settings, **options: taken.update(options))
    monkeypatch.setattr(module, "run", lambda _: None)
    monkeypatch.setattr(module, "set_up_logs", lambda *_: None)

    def do(*arguments: str) -> Read | None:
        assert main(["serve", *arguments]) == 0
        read: Read | None = taken["read_again"]
        return read

    return do


def test_the_file_is_read_again_after_options_and_variables(
    reader: Callable[..., Read | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the same order as at the start."""
    monkeypatch.setenv("OMEGA_CONNECTION_BURST", "7")
    file = tmp_path / "omega.toml"
    file.write_text("[serve]\nmax-connections = 5\n")
    read = reader("--config", str(file), "--rate-limit", "3")
    assert read is not None
    assert read().max_connections == 5
    file.write_text("[serve]\norigin = ['https://a.example']\nrate-limit = 4\nconnection-burst = 8\n")
    again = read()
    assert (again.rate_limit, again.connection_burst) == (3.0, 7)
    assert again.origins == ("https://a.example",)
    assert again.max_connections == FeedSettings().max_connections


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("[serve", "not valid TOML"),
        ("serve = 1", "must be a table"),
        ("[serve]\nnonsense = 1", "nonsense"),
        ("[serve]\nmax-connections = 'many'", "max-connections"),
        ("[serve]\nmax-connections = 0", "--max-connections"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_is_broken_says_what_is_wrong(
    reader: Callable[..., Read | None], tmp_path: Path, content: str | None, text: str
) -> None:
    """As an error that the feed expects, whatever it is."""
    file = tmp_path / "omega.toml"
    file.write_text("[serve]\n")
    read = reader("--config", str(file))
    assert read is not None
    if content is None:
        file.unlink()
    else:
        file.write_text(content)
    with pytest.raises(SettingsError, match=text):
        read()


def test_without_a_file_there_is_nothing_to_read_again(reader: Callable[..., Read | None]) -> None:
    """Nor without a command line."""
    assert reader() is None
    assert parse_again() is None
