"""``omega doctor``: says what is wrong around a feed, and how to mend it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.text import Text

from omega_ai.cli.diagnosis import Asked, Finding, State, diagnose
from omega_ai.cli.exit_codes import ExitCode
from omega_ai.cli.output import write_json
from omega_ai.cli.ports import PortOrOff
from omega_ai.cli.running import run
from omega_ai.cli.terminal import console

_LABELS = {State.OK: ("ok", "green"), State.WARNING: ("WARN", "yellow"), State.FAILURE: ("FAIL", "red")}
_UNSPECIFIED = ("0.0.0.0", "::")  # noqa: S104 - compared with, not listened on


def doctor(
    *,
    host: str = "localhost",
    port: Annotated[int | None, PortOrOff] = 8765,
    tls_port: Annotated[int | None, PortOrOff] = 8766,
    http_port: Annotated[int | None, PortOrOff] = 8767,
    broker: str = "embedded",
    cert: Path | None = None,
    key: Path | None = None,
    ca: Path | None = None,
    token: str | None = None,
    json: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    config: Path | None = None,
) -> int:
    """Look at a feed and what it needs: ports, certificate, Redis, a round trip, a price. Changes nothing.

    Exit code 0 if all is well or nearly so, 1 if something must be mended.

    Args:
        host: Where the feed is.
        port: Port of ws; 'off' if it has none.
        tls_port: Port of wss; 'off' if it has none.
        http_port: Port of HTTP; 'off' if it has none.
        broker: What the feed is served with: embedded, memory, redis://... or rediss://... Also REDIS_URL.
        cert: Certificate that the feed is served with. Also SSL_CERT_PATH.
        key: Its private key, if it is not in the same file or beside it.
        ca: PEM file of the authority to trust for wss.
        token: Token to show to the server. Better given as OMEGA_TOKEN: others can see a command line.
        json: Write the findings as JSON to this file; - is standard output.
        config: TOML file with a [doctor] table of options.
    """
    del config  # read while the options were gathered
    asked = Asked(
        host="localhost" if host in _UNSPECIFIED else host,
        port=port,
        tls_port=tls_port,
        http_port=http_port,
        broker=broker,
        cert=cert,
        key=key,
        ca=ca,
        token=token,
    )
    findings = run(_look(asked, quiet=json is not None))
    if json is not None:
        write_json(json, [finding._asdict() for finding in findings])
    failed = any(finding.state is State.FAILURE for finding in findings)
    return ExitCode.FAIL if failed else ExitCode.PASS


async def _look(asked: Asked, *, quiet: bool) -> list[Finding]:
    findings: list[Finding] = []
    screen = console()
    async for finding in diagnose(asked):
        findings.append(finding)
        if not quiet:
            screen.print(_line(finding))
    return findings


def _line(finding: Finding) -> Text:
    label, colour = _LABELS[finding.state]
    line = Text.assemble((f"{label:<5}", colour), f"{finding.check:<13}{finding.detail}")
    if finding.advice is not None:
        line.append(f"\n{'':<18}-> {finding.advice}", style="bold" if finding.state is State.FAILURE else "")
    return line
