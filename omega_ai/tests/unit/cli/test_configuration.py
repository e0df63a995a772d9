"""Where the value of an option comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from cyclopts import App

from omega_ai.cli.configuration import Configuration, variable_of
from omega_ai.cli.exit_codes import UsageError


def run(
    arguments: Sequence[str], environ: Mapping[str, str] | None = None, command: str = "serve"
) -> dict[str, Any]:
    """The values that a command with some options gets."""
    seen: dict[str, Any] = {}

    def command_(
        *,
        port: int = 1,
        tls_port: int | None = 2,
        strict: bool = False,
        venue: tuple[str, ...] = (),
        broker: str = "embedded",
        rate: float | None = None,
        config: Path | None = None,
    ) -> None:
        seen.update(locals())

    app = App(
        name="test",
        config=Configuration(command, environ or {}),
        result_action="return_value",
        print_error=False,
        exit_on_error=False,
    )
    app.default(command_)
    app(list(arguments))
    return seen


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that sets most options of ``serve``."""
    path = tmp_path / "omega.toml"
    path.write_text(
        "[serve]\nport = 30\ntls-port = 31\nstrict = true\n"
        'venue = ["a", "b"]\nbroker = "memory"\nrate = 0.5\n'
        "[watch]\nport = 99\n"
    )
    return path


def test_defaults_hold_where_nothing_is_said() -> None:
    """No option, no variable, no file."""
    assert run([])["port"] == 1


def test_environment_is_used() -> None:
    """Each option has a variable with our prefix."""
    assert variable_of("tls-port") == "OMEGA_TLS_PORT"
    seen = run([], {"OMEGA_PORT": "10", "OMEGA_TLS_PORT": "11", "OMEGA_STRICT": "1"})
    assert (seen["port"], seen["tls_port"], seen["strict"]) == (10, 11, True)


def test_file_is_used(file: Path) -> None:
    """Every kind of value; keys with dashes or underscores; the table of the command alone."""
    seen = run(["--config", str(file)])
    assert seen["port"] == 30
    assert seen["tls_port"] == 31
    assert seen["strict"] is True
    assert seen["venue"] == ("a", "b")
    assert seen["broker"] == "memory"
    assert seen["rate"] == 0.5


def test_file_can_be_named_in_the_environment(file: Path) -> None:
    """``OMEGA_CONFIG`` is ``--config``."""
    assert run([], {"OMEGA_CONFIG": str(file)})["port"] == 30


def test_command_line_goes_before_environment_before_file_before_customs(file: Path) -> None:
    """The nearer to the person who typed, the stronger."""
    environ = {"OMEGA_PORT": "10", "REDIS_URL": "redis://custom", "OMEGA_CONFIG": str(file)}
    assert run(["--port", "5"], environ)["port"] == 5
    assert run([], environ)["port"] == 10
    assert run([], environ)["broker"] == "memory"
    assert run([], {"REDIS_URL": "redis://custom"})["broker"] == "redis://custom"
    assert (
        run([], {"REDIS_URL": "redis://custom", "OMEGA_BROKER": "redis://ours"})["broker"] == "redis://ours"
    )


def test_a_repeatable_option_is_taken_whole_from_one_place(file: Path) -> None:
    """Values of the command line and of the file are not mixed."""
    assert run(["--config", str(file), "--venue", "c"])["venue"] == ("c",)
    assert run([], {"OMEGA_VENUE": "a, b"})["venue"] == ("a", "b")


@pytest.mark.parametrize("empty", ["", "  "])
def test_an_empty_variable_counts_as_unset(empty: str) -> None:
    """Container tools set variables to nothing."""
    assert run([], {"OMEGA_PORT": empty, "REDIS_URL": empty})["port"] == 1


def test_variables_of_other_commands_are_left_alone() -> None:
    """``OMEGA_COUNT`` may be for ``omega watch``; one that begins like ours is not ours."""
    assert run([], {"OMEGA_COUNT": "x", "OMEGA_PORT_8765_TCP": "tcp://10.0.0.1:8765"})["port"] == 1


def test_customs_of_one_command_do_not_reach_another() -> None:
    """``REDIS_URL`` means nothing to a command that keeps nothing."""
    assert run([], {"REDIS_URL": "redis://custom"}, command="watch")["broker"] == "embedded"


def test_file_without_the_table_sets_nothing(file: Path) -> None:
    """Each command has its own table."""
    assert run(["--config", str(file)], command="cert")["port"] == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[serve\n", "is not valid TOML"),
        ("serve = 3\n", "'serve' must be a table"),
        ("[serve]\nprot = 3\n", "has the key 'prot', which is no option of it. Did you mean 'port'?"),
        ("[serve]\nzzz = 3\n", "See: omega serve --help"),
        ('[serve]\nconfig = "x"\n', "has the key 'config'"),
        ("[serve]\nport = {a = 1}\n", "port must be a text, a number, true, false or a list of texts"),
        ("[serve]\nvenue = [1]\n", "venue must be"),
    ],
)
def test_a_bad_file_is_told_with_its_name(content: str, said: str, tmp_path: Path) -> None:
    """Nothing in a file is passed over in silence."""
    path = tmp_path / "bad.toml"
    path.write_text(content)
    with pytest.raises(UsageError) as caught:
        run(["--config", str(path)])
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_text_is_told(tmp_path: Path) -> None:
    """Not an exception of the decoder."""
    path = tmp_path / "bad.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="is not valid TOML"):
        run(["--config", str(path)])
