#!/usr/bin/env python3
"""Write the references that are made from the code; with --check, only say which are out of date."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from cyclopts import Group
from docstring_parser import parse

from omega_ai import __version__
from omega_ai.cli.configuration import CUSTOMARY, variable_of
from omega_ai.cli.exit_codes import ExitCode
from omega_ai.cli.options import Option, function_of, options_of
from omega_ai.data_feed.exchanges.detect import VENUES
from omega_ai.data_feed.settings import _BOUNDS, RELOADABLE, REPEATABLE, FeedSettings
from omega_ai.data_feed.websocket.asyncapi import ANSWERS, CLIENT_MESSAGES, document
from omega_ai.data_feed.websocket.close_codes import CloseCode, may_reconnect
from omega_ai.data_feed.websocket.errors import NOT_THE_CLIENTS_FAULT, TEMPORARY, ErrorCode

DOCS = Path(__file__).resolve().parents[1] / "docs"

# ------------------------------------------------------------------ configuration

CONFIGURATION = """\
# Settings of the feed

Made from the settings by `make docs`. Each can be given in three ways, and the first that is given counts:

1. as an option: `omega serve --port 9000`
2. in the environment: `OMEGA_PORT=9000 omega serve`; several values are joined by commas, and an empty variable counts
   as not set
3. in the table `[serve]` of a TOML file that `--config` (or `OMEGA_CONFIG`) names: `port = 9000`

Then come variables that others use too (`REDIS_URL`, `SSL_CERT_PATH`), then the default. A key that is no setting, a
value of the wrong type and one out of bounds end the start with a sentence and exit code 3. An annotated example of
the file is `deploy/omega.toml` in the source.

On SIGHUP the file is read again (and the certificate), with the same order of precedence. Settings marked *reloadable*
hold from then on, in every worker, and nobody is dropped; a log line, `settings_reloaded`, names them and any others
that were changed and wait for a restart (`restart_needed`). If the file is broken or a value is bad, no setting changes,
and `settings_not_reloaded` says why.
"""

SPECIAL = {
    "rate_limit": "none on loopback, 100 elsewhere, and behind a proxy that the settings name",
    "history_rate": "no limit on loopback, 262144 elsewhere, and behind a proxy that the settings name",
    "max_connections_per_address": "no limit of its own on loopback, 100 elsewhere, and behind a proxy that the settings "
    "name",
    "venues": "all",
    "cert": "a development certificate",
    "key": "in the same file as the certificate, or beside it",
    "seed": "chance",
}

VARIABLES = {
    "OMEGA_IO_URING": "`0` sends without io_uring, also where the kernel has it",
    "OTEL_SERVICE_NAME": "the feed's name in traces (`--trace-every`); `omega-feed` if there is none",
    "TERM": "`dumb`, or nothing: `omega watch` prints lines instead of drawing",
    "WSS_URL_<VENUE>": "Another address for a venue's WebSocket, such as that of `omega exchange`",
    "REST_URL_<VENUE>": "The same for its REST trades",
    "XDG_STATE_HOME": "Where the development certificate, the token secret and the private Valkey's data are kept "
    "(below it, in `omega-btc-ai`); `~/.local/state` by default",
    "XDG_RUNTIME_DIR": "Where the private Valkey's socket is",
}


def configuration() -> str:
    """Every setting of ``omega serve``."""
    documented = parse(function_of("serve").__doc__ or "")
    texts = {item.arg_name: " ".join((item.description or "").split()) for item in documented.params}
    bounds = {name: (low, high) for name, low, high in _BOUNDS}
    fields = {field.name: field for field in msgspec.structs.fields(FeedSettings)}
    groups: dict[str, list[str]] = {}
    for option in options_of("serve"):
        if option.name == "config":
            continue
        name = REPEATABLE.get(option.parameter.name, option.parameter.name)
        shown = option.name
        variables = [variable_of(shown)]
        if other := CUSTOMARY.get(("serve", shown)):
            variables.append(other)
        text = texts[option.parameter.name]
        if name in RELOADABLE:
            text += " *Reloadable.*"
        rows = [
            f"### `{shown}`\n",
            f"{text}\n",
            "| | |\n|---|---|",
            f"| option | `--{shown}` |",
            f"| environment | {', '.join(f'`{variable}`' for variable in variables)} |",
            f"| value | {_kind(option, name in REPEATABLE.values())}{_bounded(bounds.get(name))} |",
            f"| default | {_default(name, fields[name].default)} |\n",
        ]
        groups.setdefault(_group(option), []).append("\n".join(rows))
    made = [CONFIGURATION]
    for group, entries in groups.items():
        made.append(f"## {group}\n\n" + "\n".join(entries))
    rows = [f"| `{name}` | {text} |" for name, text in VARIABLES.items()]
    venues = ", ".join(f"`{name.upper()}`" for name in VENUES)
    made.append(
        "## Variables that are no options\n\n| variable | |\n|---|---|\n"
        + "\n".join(rows)
        + f"\n\n`<VENUE>` is one of {venues}.\n"
    )
    return "\n".join(made)


def _group(option: Option) -> str:
    return next(
        group.name for extra in option.extras for group in extra.group or () if isinstance(group, Group)
    )


def _kind(option: Option, many: bool) -> str:
    annotation = str(option.parameter.annotation)
    if many:
        return "texts; repeat the option, a list in the file"
    if "Literal[" in annotation:
        return "one of " + annotation.partition("Literal[")[2].partition("]")[0].replace("'", "`")
    if "PortOrOff" in annotation:
        return "a port, or `off`"
    for mark, text in (
        ("bool", "true or false"),
        ("float", "a number"),
        ("int", "a whole number"),
        ("Path", "a path"),
    ):
        if mark in annotation:
            return text
    return "a text"


def _bounded(bounds: tuple[float, float] | None) -> str:
    if bounds is None:
        return ""
    return f", {bounds[0]:,} to {bounds[1]:,}".replace(",", " ").replace("  ", ", ", 1)


def _default(name: str, value: object) -> str:
    if name in SPECIAL:
        return SPECIAL[name]
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`"


# ------------------------------------------------------------------ codes

ERRORS = {
    ErrorCode.INVALID_JSON: "The frame is not JSON. Mend the encoder; the text says where it went wrong.",
    ErrorCode.NOT_AN_OBJECT: "It is JSON, but no object.",
    ErrorCode.MISSING_FIELD: "`field` is required.",
    ErrorCode.INVALID_FIELD: "`field` has a wrong type or is out of bounds; the text says which.",
    ErrorCode.UNKNOWN_TYPE: "There is no such `type`. Perhaps the server is older than the client.",
    ErrorCode.UNKNOWN_CHANNEL: "There is no such channel; the text names those that there are.",
    ErrorCode.UNAUTHORIZED: "It takes a token, or another one: send `auth`, then the message again.",
    ErrorCode.FORBIDDEN: "The token does not allow it: ask for one whose claims name the channel.",
    ErrorCode.RATE_LIMITED: "Too many messages, or too much history. Wait for `retry_after_ms`, and ask for less.",
    ErrorCode.LIMIT_EXCEEDED: "More than this server gives to one client: fewer at once, or later.",
    ErrorCode.UNRECOVERABLE_POSITION: "What was asked for is no longer held: subscribe without `since`.",
    ErrorCode.INTERNAL: "The server's fault. Try again, with back-off.",
}
CLOSES = {
    CloseCode.NORMAL: "The client closed.",
    CloseCode.GOING_AWAY: "The server stops. Come back, to whichever is there.",
    CloseCode.PROTOCOL_ERROR: "The frames break RFC 6455: the WebSocket library is to be mended.",
    CloseCode.UNSUPPORTED_DATA: "Binary frames are not taken: send text.",
    CloseCode.INVALID_TEXT: "A text frame that is not UTF-8.",
    CloseCode.POLICY_VIOLATION: "Too many errors of the client's own making: read what the `error` messages said.",
    CloseCode.MESSAGE_TOO_BIG: "A message larger than `--max-message-size`.",
    CloseCode.INTERNAL_ERROR: "An error of the server's; its log has it.",
    CloseCode.SERVICE_RESTART: "This process is being replaced, or drains. Come back, and resume.",
    CloseCode.TRY_AGAIN_LATER: "The server has too much to do.",
    CloseCode.SLOW_CONSUMER: "The client reads too slowly, and its queue is full. Read faster, or ask for `latest`.",
    CloseCode.NO_PONG: "The client did not answer a ping: a dead network, or a program that does not turn its loop.",
    CloseCode.BAD_TOKEN: "The token is bad or has ended. Connect with another one.",
    CloseCode.FORBIDDEN: "What was asked for is not allowed.",
}
EXITS = {
    ExitCode.PASS: "Pass.",
    ExitCode.FAIL: "Fail: something was seen to be wrong.",
    ExitCode.UNKNOWN: "Unknown: nothing was seen, or what was seen proves nothing.",
    ExitCode.USAGE: "Usage or environment: a bad option, a busy port, a missing file, no server.",
    ExitCode.INTERRUPTED: "Interrupted before there was a result.",
}


def codes() -> str:
    """Error codes, close codes, exit codes."""
    assert ERRORS.keys() == set(ErrorCode)
    assert CLOSES.keys() == set(CloseCode)
    assert EXITS.keys() == set(ExitCode)
    made = [
        "# Codes\n",
        "Made from the code by `make docs`. HTTP statuses before the upgrade are in "
        "[the wire contract](wire.md#connecting).\n",
        "## Errors\n",
        "In an `error` message; the connection stays open. *Temporary*: the same message may succeed later. "
        "*Violation*: 20 of them within 10 s close the connection with 1008 (one, with `--strict`).\n",
        "| code | temporary | violation | what it means, and what to do |\n|---|---|---|---|",
    ]
    for error, text in ERRORS.items():
        temporary = "yes" if error in TEMPORARY else ""
        violation = "" if error in NOT_THE_CLIENTS_FAULT else "yes"
        made.append(f"| `{error.value}` | {temporary} | {violation} | {text} |")
    made += [
        "\n## Closes\n",
        "The reason text says it in words. *Comes back*: what a client should do, with back-off; 1005 and 1006 (no "
        "code, no close frame at all) too. Any other from 3000 to 4499: yes; from 4500: no.\n",
        "| code | comes back | what it means, and what to do |\n|---|---|---|",
    ]
    for close, text in CLOSES.items():
        made.append(f"| {int(close)} | {'yes' if may_reconnect(close) else 'no'} | {text} |")
    made += ["\n## Exit codes\n", "Of every command.\n", "| code | |\n|---|---|"]
    made += [f"| {int(code)} | {text} |" for code, text in EXITS.items()]
    return "\n".join(made) + "\n"


# ------------------------------------------------------------------ messages


def messages() -> str:
    """Every message, field by field, as the AsyncAPI document has it."""
    contract = document(version=__version__)
    components = contract["components"]
    made = [
        "# Messages, field by field\n",
        "Made by `make docs` from the message types, by way of the AsyncAPI 3 document that a running feed serves at "
        "`/asyncapi.json`. What they mean together is told in [the wire contract](wire.md).\n",
    ]
    for direction, title in (("to-server", "From the client"), ("to-client", "From the server")):
        made.append(f"## {title}\n")
        for name, message in components["messages"].items():
            kind, _, way = name.rpartition("-to-")
            if f"to-{way}" != direction:
                continue
            made.append(f"### {kind}\n")
            made.append(_fields(message["payload"], components["schemas"]))
    assert all(any(f"### {kind}\n" in part for part in made) for kind in (*CLIENT_MESSAGES, *ANSWERS))
    return "\n".join(made)


def _fields(payload: dict[str, Any], schemas: dict[str, Any]) -> str:
    schema = _resolve(payload, schemas)
    required = set(schema.get("required", ()))
    text = f"{schema['description'].strip()}\n\n".replace("``", "`") if schema.get("description") else ""
    rows = []
    for field, described in schema.get("properties", {}).items():
        resolved = _resolve(described, schemas)
        need = "" if field in required else "optional"
        about = " ".join(str(described.get("description", "")).split())
        rows.append(f"| `{field}` | {_type(described, schemas)} | {need} | {about or _more(resolved)} |")
    return text + "| field | type | | |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"


def _resolve(node: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    if "$ref" in node:
        merged = _resolve(schemas[node["$ref"].rpartition("/")[2]], schemas)
    for part in node.get("allOf", ()):
        part = _resolve(part, schemas)
        merged = {
            **merged,
            **part,
            "properties": {**merged.get("properties", {}), **part.get("properties", {})},
            "required": [*merged.get("required", ()), *part.get("required", ())],
        }
    own = {key: value for key, value in node.items() if key not in ("$ref", "allOf")}
    if "properties" in own and "properties" in merged:
        own["properties"] = {**merged["properties"], **own["properties"]}
        own["required"] = [*merged.get("required", ()), *own.get("required", ())]
    return {**merged, **own}


def _type(node: dict[str, Any], schemas: dict[str, Any]) -> str:
    resolved = _resolve(node, schemas)
    if "const" in resolved:
        return f"`{msgspec.json.encode(resolved['const']).decode()}`"
    if "enum" in resolved:
        return " or ".join(f"`{value}`" for value in resolved["enum"])
    if "anyOf" in resolved:
        return " or ".join(_type(part, schemas) for part in resolved["anyOf"])
    kind = resolved.get("type", "anything")
    if isinstance(kind, list):
        return " or ".join(kind)
    if kind == "array":
        return f"list of {_type(resolved.get('items', {}), schemas)}"
    limits = [
        f"{sign} {resolved[key]:,}".replace(",", " ")
        for key, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"))
        if key in resolved and abs(resolved[key]) < 2**53
    ]
    return " ".join([str(kind), *limits])


def _more(resolved: dict[str, Any]) -> str:
    if resolved.get("type") == "array" and "maxItems" in resolved:
        return f"at most {resolved['maxItems']}"
    if "maxLength" in resolved:
        return f"at most {resolved['maxLength']} characters"
    return ""


REFERENCES: dict[str, Callable[[], str]] = {
    "configuration.md": configuration,
    "codes.md": codes,
    "messages.md": messages,
}


def main() -> int:
    """Write all, or check all."""
    stale = [name for name, make in REFERENCES.items() if _read(DOCS / name) != make()]
    if "--check" in sys.argv[1:]:
        for name in stale:
            print(f"docs/{name} is out of date: make docs", file=sys.stderr)
        return 1 if stale else 0
    for name in stale:
        (DOCS / name).write_text(REFERENCES[name](), encoding="utf-8")
    return 0


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
