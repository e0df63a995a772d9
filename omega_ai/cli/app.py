"""``omega``: finds the command, reads its options, turns errors into one sentence and an exit code.

Each command lives in a module of its own, and neither that nor the library that reads options is imported
before a command is given: ``omega --help`` is asked often and must answer at once.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Sequence

from omega_ai import __version__
from omega_ai.cli.exit_codes import ExitCode, UsageError
from omega_ai.cli.terminal import complain

COMMANDS = {
    "serve": "serve live BTC prices over WebSocket, secure WebSocket and HTTP",
    "test": "test a WebSocket server, ours or any other, and give one verdict",
    "load": "put load on a WebSocket server: rates, latency, every message accounted for",
    "report": "compare two results of omega test, or join those of several machines",
    "watch": "show the live price of a running feed",
    "proxy": "stand between clients and a server, and harm what passes: faults over TCP, TLS and WebSocket",
    "exchange": "stand in for exchanges, with recorded or made-up trades and misbehaviour",
    "cert": "show or make the development certificate for wss",
    "token": "make a token, or the secret that signs tokens",
    "doctor": "say what is wrong here, and how to mend it",
}

HELP = """\
Live BTC prices over WebSocket without loss.

Usage: omega COMMAND [OPTIONS]

{commands}

  omega COMMAND --help    the options of a command
  omega --version         the version

Each option can also be set in the environment as OMEGA_<NAME>, or in a TOML file (--config FILE).
Exit codes: 0 pass, 1 fail, 2 unknown, 3 usage or environment."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Never raises what a user can cause."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("--help", "-h", "help"):
        commands = "\n".join(f"  {name:<8}{text}" for name, text in COMMANDS.items())
        print(HELP.format(commands=commands), file=sys.stdout if given else sys.stderr)
        return ExitCode.PASS if given else ExitCode.USAGE
    if given[0] in ("--version", "-V"):
        print(f"omega {__version__}")
        return ExitCode.PASS
    try:
        return _run(given[0], given[1:])
    except UsageError as error:
        complain(str(error), error.advice)
        return ExitCode.USAGE
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away (omega watch --json | head); Python would complain when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.PASS


def _run(command: str, arguments: list[str]) -> int:
    if command not in COMMANDS:
        near = difflib.get_close_matches(command, COMMANDS, n=1)
        guess = f"Did you mean: omega {near[0]}" if near else f"There are: {', '.join(COMMANDS)}"
        raise UsageError(f"there is no command {command!r}.", guess)

    # Imported here and not above: see the module's text.
    from omega_ai.cli.parsing import run_command

    result = run_command(command, arguments)
    return ExitCode(result) if isinstance(result, int) else ExitCode.PASS
