"""``omega test``: the test suite against any WebSocket server, one verdict."""

from __future__ import annotations

import importlib.util
import secrets
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from omega_ai.cli.chaos import EXPERIMENTS, experiments, started
from omega_ai.cli.exit_codes import ExitCode, UsageError
from omega_ai.cli.running import run
from omega_ai.cli.terminal import command_line, say
from omega_ai.core.certificates import CertificateError
from omega_ai.testkit.case import Case, Suite
from omega_ai.testkit.conformance.clients.arrivals import Arrivals, CannotListen, NoClient
from omega_ai.testkit.conformance.clients.meeting import meet
from omega_ai.testkit.connection import ConnectFailed
from omega_ai.testkit.contract.document import HOW, Contract, ContractError, load_contract
from omega_ai.testkit.probe import limits_of, probe
from omega_ai.testkit.profile import Profile, ProfileError, load_profile
from omega_ai.testkit.report.terminal import Screen
from omega_ai.testkit.report.writing import Destinations, ReportError, write_reports
from omega_ai.testkit.result import RunResult
from omega_ai.testkit.runner import Runner
from omega_ai.testkit.server_process import OwnServer, ServerFailed, ServerProcess
from omega_ai.testkit.suites import SuiteMissing, available, load_suite
from omega_ai.testkit.target import Target


def test(
    url: str | None = None,
    *,
    suite: tuple[str, ...] = (),
    experiment: tuple[str, ...] = (),
    start: str | None = None,
    case: tuple[str, ...] = (),
    profile: str | None = None,
    secure_url: str | None = None,
    ca: Path | None = None,
    token: str | None = None,
    contract: str | None = None,
    server_pid: int | None = None,
    server_metrics: str | None = None,
    client: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    client_port: int = 0,
    report_dir: Path | None = None,
    junit: Path | None = None,
    json: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    seed: int | None = None,
    list_cases: Annotated[bool, Parameter(negative="")] = False,
    config: Path | None = None,
) -> int:
    """Test a WebSocket server, and give one verdict: exit code 0 pass, 1 fail, 2 unknown.

    Without a URL it starts a feed of its own and tests that. Without a profile it finds out by a few harmless
    messages how the server is spoken to, and says what it can check and what not.

    Args:
        url: The server: ws://HOST:PORT/ or wss://HOST:PORT/.
        suite: Suites to run, joined by commas (repeatable); by default all those done in under a minute.
        experiment: Run this experiment (repeatable): a TOML file, or the name of one that is built in.
        start: Start the server with this command, so that it may be killed and started again. {port} in it
            and in the URL (by default ws://127.0.0.1:{port}/) is replaced by a free port.
        case: Run this case alone (repeatable), such as connectivity.ping.
        profile: How to speak to the server: omega, echo, coinbase, binance, kraken, or a TOML file.
        secure_url: The same server over TLS: wss://HOST:PORT/.
        ca: PEM file of the authority to trust for wss.
        contract: Also test the server by its contract: an AsyncAPI 3 document, a file or an http URL.
        client: Test a client instead: a command with {url} in it that makes it connect there and send back
            what it is sent; or - to wait for a client that is started by hand.
        client_port: Port on which a client under test is waited for; 0 takes a free one.
        token: Token to show to the server. Better given as OMEGA_TOKEN: others can see a command line.
        server_pid: Process of the server on this machine, to see in a soak what it takes.
        server_metrics: Its metrics page for Prometheus, to see the same: http://HOST:PORT/metrics.
        report_dir: Write every kind of report into this directory.
        junit: Write a JUnit report to this file.
        json: Write the result as JSON to this file; - is standard output.
        seed: Makes what is random the same as in another run.
        list_cases: Show the suites and their cases, and run none.
        config: TOML file with a [test] table of options.
    """
    del config  # read while the options were gathered
    if client is not None and not suite and not case:
        suite = ("client",)
    if contract is not None and not suite and not case:
        quick = [name for name in available() if name != "contract" and load_suite(name).quick]
        suite = (",".join([*quick, "contract"]),)
    suites = [*experiments(experiment), *(_suites(suite, case) if suite or case or not experiment else ())]
    if list_cases:
        _list(suites)
        return ExitCode.PASS
    chosen = secrets.randbelow(2**32) if seed is None else seed
    destinations = Destinations(directory=report_dir, junit=junit, json=json)
    options = {
        "start": start,
        "experiment": ",".join(experiment) or None,
        "profile": profile,
        "secure-url": secure_url,
        "ca": ca,
        "client": client,
        "contract": contract,
        "server-pid": server_pid,
        "server-metrics": server_metrics,
    }
    again = Again(url, {name: str(value) for name, value in options.items() if value is not None}, chosen)
    if client is not None:
        command = client_command(client, url, suites)
    try:
        destinations.check()
        known = None if profile is None else load_profile(profile)
        promised = None if contract is None else usable_contract(contract)
        if client is not None:
            result = run(test_client(command, client_port, suites, case, chosen, again))
        else:
            asked = Asked(url, known, secure_url, ca, token, promised, start, server_pid, server_metrics)
            asked = replace(asked, tls_alone=all(suite.name == "tls" for suite in suites))
            result = run(_test(asked, suites, case, chosen, again))
    except (ProfileError, ContractError, CannotListen, ServerFailed, CertificateError, ReportError) as error:
        raise UsageError(f"{error}.") from None
    except NoClient as error:
        raise UsageError(f"{error}.", "A client has to connect to the URL that stands for {url}.") from None
    except ConnectFailed as error:
        raise UsageError(f"{url}: {error}.", "Is the server running, and is the URL right?") from None
    try:
        written = write_reports(result, destinations)
    except ReportError as error:
        raise UsageError(f"{error}.") from None
    for path in written:
        say(f"Report: {path}")
    return result.verdict.exit_code


class Again:
    """The command that repeats a run, or one case of it."""

    def __init__(self, url: str | None, options: dict[str, str], seed: int) -> None:
        self._words = [command_line(), "test", *([] if url is None else [url])]
        for name, value in options.items():
            self._words += [f"--{name}", value]
        self._seed = ["--seed", str(seed)]

    def run(self, suites: list[Suite]) -> str:
        """The command for everything."""
        named = [suite.name for suite in suites if suite.name != EXPERIMENTS]
        return shlex.join([*self._words, *(["--suite", ",".join(named)] if named else []), *self._seed])

    def case(self, case: Case) -> str:
        """The command for one case."""
        return shlex.join([*self._words, "--case", case.id, *self._seed])


def usable_contract(source: str) -> Contract:
    """The contract, if it can be tested here. Raises ``ContractError``."""
    for name in ("hypothesis", "jsonschema"):
        if importlib.util.find_spec(name) is None:
            raise ContractError(f"tests from a contract need {name}, which is not installed: {HOW}")
    return load_contract(source)


def client_command(client: str, url: str | None, suites: list[Suite]) -> list[str] | None:
    """The words of ``--client``; None: it is waited for.

    Raises:
        UsageError: it cannot be run, or other options do not go with it.
    """
    if url is not None:
        raise UsageError(f"a client is to be tested, and a server: {url}.", "Leave one of them out.")
    others = [suite.name for suite in suites if suite.name != "client"]
    if others:
        raise UsageError(f"the suite {others[0]} is for servers; for clients there is: client.")
    if client == "-":
        return None
    try:
        words = shlex.split(client)
    except ValueError as error:
        raise UsageError(f"--client {client!r}: {error}.") from None
    if not any("{url}" in word for word in words):
        raise UsageError(
            "--client has no {url} in it, which stands for where the client is to connect.",
            "For example: omega test --client 'python client.py {url}'",
        )
    return words


async def test_client(
    command: list[str] | None,
    port: int,
    suites: list[Suite],
    cases: tuple[str, ...],
    seed: int,
    again: Again,
) -> RunResult:
    """Be the server for a client under test.

    Raises:
        NoClient: none comes.
        CannotListen: the port is taken.
    """
    async with Arrivals(command, port=port) as arrivals:
        if command is None:
            say(f"Waiting for a client at {arrivals.url}")
            say("It is to send back what it is sent, and to come again whenever a connection ends.")
        target = await meet(arrivals)
        with Screen(target, seed) as screen:
            runner = Runner(target, seed=seed, observer=screen, reproduce=again.case, only=cases)
            result = await runner.run(suites, command=again.run(suites))
        screen.summary(result)
        return result


@dataclass(frozen=True, slots=True)
class Asked:
    """The server that is to be tested, as the command line names it."""

    url: str | None
    profile: Profile | None
    secure_url: str | None
    ca: Path | None
    token: str | None
    contract: Contract | None
    start: str | None
    server_pid: int | None
    server_metrics: str | None
    tls_alone: bool = False
    """Nothing but its TLS is asked about: it need not be right for that."""

    async def target(self, seed: int) -> tuple[Target, ServerProcess | None]:
        """Reach it, starting it first if it is ours or its command was given; whoever asks stops it."""
        if self.url is None and self.start is None:
            return await self._own()
        server = None if self.start is None else await started(self.start, self.url)
        url = self.url if server is None else server.url
        assert url is not None  # noqa: S101 - given, or where the server was started
        try:
            target = Target(
                url,
                self.profile or Profile(name="unknown"),
                self.secure_url,
                self.ca,
                self.token,
                control=server,
            )
            target.server_pid, target.server_metrics = self.server_pid, self.server_metrics
            if self.profile is None:
                await self._find_out(target, seed)
            else:
                target.limits = limits_of(self.profile)
        except BaseException:
            if server is not None:
                await server.stop()
            raise
        return target, server

    async def _find_out(self, target: Target, seed: int) -> None:
        try:
            found = await probe(target, seed=seed)
        except ConnectFailed as error:
            if error.stage != "tls" or not self.tls_alone:
                raise
            target.facts = (f"cannot be connected to: {error}",)
            return
        target.profile, target.facts = found.profile, found.facts
        target.limits, target.server = found.limits, found.server

    async def _own(self) -> tuple[Target, ServerProcess]:
        server = OwnServer()
        await server.start()
        assert server.url is not None  # noqa: S101 - it is up
        known = self.profile or load_profile("omega")
        target = Target(
            server.url, known, server.secure_url, self.ca or server.ca, self.token, control=server
        )
        target.limits = limits_of(known)
        return target, server


async def _test(
    asked: Asked, suites: list[Suite], cases: tuple[str, ...], seed: int, again: Again
) -> RunResult:
    target, server = await asked.target(seed)
    try:
        target.contract = asked.contract
        with Screen(target, seed) as screen:
            runner = Runner(target, seed=seed, observer=screen, reproduce=again.case, only=cases)
            result = await runner.run(suites, command=again.run(suites))
        screen.summary(result)
        return result
    finally:
        if server is not None:
            await server.stop()


def _suites(named: tuple[str, ...], cases: tuple[str, ...]) -> list[Suite]:
    names = [name.strip() for text in named for name in text.split(",") if name.strip()]
    try:
        if cases and not names:
            names = list(dict.fromkeys(case_id.partition(".")[0] for case_id in cases))
        if names == ["all"]:
            names = available()
        suites = [load_suite(name) for name in names or available()]
    except SuiteMissing as error:
        raise UsageError(f"{error}.") from None
    ids = {known.id for suite in suites for known in suite}
    for case_id in cases:
        if case_id not in ids:
            raise UsageError(
                f"there is no case {case_id!r} in {', '.join(s.name for s in suites)}.", _HOW_TO_LIST
            )
    return suites if names else [suite for suite in suites if suite.quick]


_HOW_TO_LIST = "See: omega test --list-cases"


def _list(suites: list[Suite]) -> None:
    for suite in suites:
        print(f"{suite.name}: {suite.title}")
        for known in suite:
            print(f"  {known.id:<36} {known.title}")
