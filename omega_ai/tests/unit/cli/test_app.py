"""The command line itself: what it prints, and how it ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

from omega_ai import __version__
from omega_ai.cli import app
from omega_ai.cli.app import COMMANDS, main
from omega_ai.cli.exit_codes import ExitCode, UsageError


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """``omega --help`` is data that was asked for: on standard output, exit code 0."""
    assert main(["--help"]) == 0
    shown = capsys.readouterr()
    assert all(f"  {name}" in shown.out for name in COMMANDS)
    assert shown.err == ""


def test_no_command_shows_the_help_as_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    """``omega`` alone did nothing: exit code 3, and nothing on standard output."""
    assert main([]) == 3
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "omega COMMAND" in shown.err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """The version is that of the package."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"omega {__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """``omega COMMAND --help`` works for each, and explains every option."""
    assert main([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"omega {command}" in shown
    assert "--config" in shown


def test_unknown_command_is_answered_with_a_near_one(capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt command ends with 3 and a guess."""
    assert main(["sreve"]) == 3
    assert capsys.readouterr().err.splitlines() == [
        "omega: there is no command 'sreve'.",
        "       Did you mean: omega serve",
    ]


def test_command_unlike_any_is_answered_with_all(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a guess, the commands that there are."""
    assert main(["xyzzy"]) == 3
    assert f"There are: {', '.join(COMMANDS)}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serve", "--prot", "1"], "Unknown option: --prot. Did you mean --port?"),
        (["serve", "--port", "many"], 'Invalid value for --port: unable to convert "many" into int.'),
        (["serve", "--tls-port", "many"], "'many' is no port: give 0 to 65535, or 'off'"),
        (["serve", "--port", "65536"], "--port must be 0 to 65535"),
        (["serve", "--source", "elsewhere"], "--source must be one of live, none, simulated, replay:FILE"),
        (["serve", "--log-level", "loud"], "--log-level"),
        (["serve", "extra"], "extra"),
        (["watch", "--count", "0"], "--count must be 1 or more"),
        (["watch", "http://localhost"], "must begin with ws:// or wss://"),
        (["cert", "--config", "/does/not/exist"], "--config /does/not/exist cannot be read"),
    ],
)
def test_a_bad_option_ends_with_one_sentence(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 3, one sentence on what is wrong, at most one on what to do, never a traceback."""
    assert main(arguments) == 3
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in shown.err
    assert len(shown.err.splitlines()) <= 2
    assert "Traceback" not in shown.err


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (UsageError("it is broken."), ExitCode.USAGE),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED),
    ],
)
def test_what_a_command_raises_becomes_an_exit_code(
    raised: BaseException, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Expected errors are told, an interruption is quiet."""

    def fail(_command: str, _arguments: list[str]) -> int:
        raise raised

    monkeypatch.setattr(app, "_run", fail)
    assert main(["serve"]) == code


def test_a_mistake_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """What no user can cause keeps its traceback, so that it can be reported."""

    def fail(_command: str, _arguments: list[str]) -> int:
        raise LookupError("a defect")

    monkeypatch.setattr(app, "_run", fail)
    with pytest.raises(LookupError):
        main(["serve"])


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_and_version_import_no_library(argument: str) -> None:
    """They are asked often, and cost no more than Python's own start."""
    code = (
        "import sys; from omega_ai.cli.app import main; main(sys.argv[1:]); "
        "print({m.partition('.')[0] for m in sys.modules} & "
        "{'asyncio', 'cyclopts', 'msgspec', 'rich', 'ssl', 'structlog', 'uvloop'})"
    )
    shown = subprocess.run([sys.executable, "-c", code, argument], capture_output=True, text=True, check=True)
    assert shown.stdout.endswith("set()\n")
