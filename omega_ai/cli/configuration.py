"""Options from the environment and from a file, for those that the command line does not give.

Order: command line, ``OMEGA_<NAME>``, the ``[command]`` table of the file that ``--config`` names, the
customary variables of others (``REDIS_URL``), the default.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cyclopts import App, ArgumentCollection, Token
from cyclopts.argument import Argument

from omega_ai.cli.exit_codes import UsageError

PREFIX = "OMEGA_"

CUSTOMARY = {
    ("serve", "broker"): "REDIS_URL",
    ("serve", "cert"): "SSL_CERT_PATH",
    ("cert", "cert"): "SSL_CERT_PATH",
    ("doctor", "broker"): "REDIS_URL",
    ("doctor", "cert"): "SSL_CERT_PATH",
}
"""Variables that other programs use for the same thing, honoured after our own."""


class Configuration:
    """Fills in arguments that have no value yet; called once, after the command line was read.

    An empty variable counts as unset, because container tools set it so. A variable with our prefix that is
    no option of the command is left alone: it may belong to another command.
    """

    def __init__(self, command: str, environ: Mapping[str, str]) -> None:
        self._command = command
        self._environ = environ

    def __call__(self, _app: App, _commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        """Add the tokens.

        Raises:
            UsageError: the file cannot be read, is not TOML, or sets what the command does not know.
        """
        named = {_option(argument): argument for argument in arguments if argument.parse}
        for option, argument in named.items():
            self._from_environment(argument, variable_of(option))
        chosen = named.get("config")
        if chosen is not None and chosen.tokens:
            self._from_file(Path(chosen.tokens[-1].value).expanduser(), named)
        for (owner, option), variable in CUSTOMARY.items():
            if owner == self._command and option in named:
                self._from_environment(named[option], variable)

    def _from_environment(self, argument: Argument, variable: str) -> None:
        text = self._environ.get(variable, "").strip()
        if argument.tokens or not text:
            return
        values = text.split(",") if _takes_many(argument) else [text]
        _add(argument, [value.strip() for value in values], keyword=variable, source="the environment")

    def _from_file(self, path: Path, named: dict[str, Argument]) -> None:
        command = self._command
        for key, value in _table(path, command).items():
            option = key.replace("_", "-")
            argument = named.get(option)
            if argument is None or option == "config":
                near = difflib.get_close_matches(option, named, n=1)
                guess = f" Did you mean {near[0]!r}?" if near else f" See: omega {command} --help"
                raise UsageError(f"{path}: [{command}] has the key {key!r}, which is no option of it.{guess}")
            if not argument.tokens:
                _add(argument, list(_texts(value, path, key)), keyword=key, source=str(path))


def variable_of(option: str) -> str:
    """``tls-port`` -> ``OMEGA_TLS_PORT``."""
    return PREFIX + option.upper().replace("-", "_")


def _option(argument: Argument) -> str:
    return argument.name.lstrip("-").lower()


def _takes_many(argument: Argument) -> bool:
    return argument.parameter.consume_multiple is not None or argument.hint in (tuple[str, ...], list[str])


def _add(argument: Argument, values: list[str], *, keyword: str, source: str) -> None:
    for index, value in enumerate(values):
        argument.append(Token(keyword=keyword, value=value, source=source, index=index))


def _table(path: Path, command: str) -> dict[str, Any]:
    if command == "proxy" and path.suffix.lower() == ".json":
        return {}  # Toxiproxy's list of proxies, which the command reads; there are no options in it
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--config {path} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"--config {path} is not valid TOML: {error}.") from None
    table = content.get(command, {})
    if not isinstance(table, dict):
        raise UsageError(f"--config {path}: {command!r} must be a table: [{command}]")
    return table


def _texts(value: object, path: Path, key: str) -> Iterator[str]:
    if isinstance(value, bool):
        yield "true" if value else "false"
    elif isinstance(value, str | int | float):
        yield str(value)
    elif isinstance(value, list) and all(isinstance(item, str) for item in value):
        yield from value
    else:
        raise UsageError(
            f"{path}: {key} must be a text, a number, true, false or a list of texts, not {value!r}"
        )
