"""The pytest plugin: a server of one's own, clients that record, assertions on what they saw, cases as items.

Nothing but pytest is imported before it is used, because every run of pytest loads this file.
"""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from omega_ai.testkit.case import Case
    from omega_ai.testkit.context import Context
    from omega_ai.testkit.load.record import LoadRecord
    from omega_ai.testkit.portal import Portal, Tester
    from omega_ai.testkit.result import CaseResult, SuiteResult
    from omega_ai.testkit.target import Target

_SEED = pytest.StashKey[int]()
_TARGETS = pytest.StashKey[dict[str, "Target"]]()
WIRE_LINES = 60
LAG_LIMIT_S = 0.05
"""How late the generator may be: machines on which tests are run are busy."""
LOAD_LIMIT_S = 90.0
"""How much longer than its plan a load run may take."""
pytest_plugins = ("omega_ai.testkit.pytest_faults",)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Our options, in ``pytest --help``."""
    group = parser.getgroup("websocket", "WebSocket servers under test")
    group.addoption("--ws-url", metavar="URL", help="the server under test: ws://... or wss://...")
    group.addoption(
        "--ws-server",
        metavar="COMMAND",
        help="start the server under test with this command; {port} in it is replaced by a free port",
    )
    group.addoption(
        "--ws-server-url",
        metavar="URL",
        default="ws://127.0.0.1:{port}/",
        help="where the server that was started listens (default: %(default)s)",
    )
    group.addoption(
        "--ws-profile",
        metavar="PROFILE",
        help="how to speak to it: omega, echo ... or a TOML file; or found out",
    )
    group.addoption(
        "--ws-seed", metavar="N", type=int, help="makes what is random the same as in another run"
    )
    group.addoption(
        "--ws-suite",
        metavar="NAMES",
        help="add the cases of these suites, joined by commas, as tests of --ws-url",
    )
    group.addoption(
        "--ws-conformance", metavar="URL", help="add the conformance cases as tests of this server"
    )
    group.addoption(
        "--ws-conformance-client",
        metavar="COMMAND",
        help="add the conformance cases for clients as tests of this client; {url} in the command is "
        "replaced by where it is to connect, and to send back what it is sent",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse what is wrong before anything is collected."""
    seed = config.getoption("--ws-seed")
    config.stash[_SEED] = secrets.randbelow(2**32) if seed is None else seed
    config.stash[_TARGETS] = {}
    for option in ("--ws-url", "--ws-conformance"):
        _check_url(option, config.getoption(option))
    if config.getoption("--ws-url") and config.getoption("--ws-server"):
        raise pytest.UsageError("--ws-url and --ws-server: one server, not two")
    client = config.getoption("--ws-conformance-client")
    if client is not None and "{url}" not in client:
        raise pytest.UsageError("--ws-conformance-client: the command has no {url} in it")
    profile = config.getoption("--ws-profile")
    if profile is not None:
        from omega_ai.testkit.profile import ProfileError, load_profile

        try:
            load_profile(profile)
        except ProfileError as error:
            raise pytest.UsageError(f"--ws-profile: {error}") from None
    _suites(config)


def _check_url(option: str, url: str | None) -> None:
    if url is None:
        return
    from omega_ai.testkit.connection import Address, ConnectFailed

    try:
        Address.of(url)
    except ConnectFailed as error:
        raise pytest.UsageError(f"{option}: {error}") from None


def _suites(config: pytest.Config) -> list[tuple[str, str]]:
    """(suite, URL) of what is to be added as tests; for clients, the command instead of the URL."""
    wanted: list[tuple[str, str]] = []
    names = config.getoption("--ws-suite")
    url = config.getoption("--ws-url")
    if names is not None:
        if url is None:
            raise pytest.UsageError("--ws-suite: needs --ws-url, the server to test")
        wanted += [(name.strip(), url) for name in names.split(",") if name.strip()]
    if config.getoption("--ws-conformance") is not None:
        wanted.append(("conformance", config.getoption("--ws-conformance")))
    if config.getoption("--ws-conformance-client") is not None:
        wanted.append(("client", config.getoption("--ws-conformance-client")))
    if wanted:
        from omega_ai.testkit.suites import SuiteMissing, available, load_suite

        for name, _ in wanted:
            if name not in available():
                raise pytest.UsageError(f"no suite {name!r}; there are: {', '.join(available())}")
            try:
                load_suite(name)
            except SuiteMissing as error:  # pragma: no cover - available() said that it is there
                raise pytest.UsageError(str(error)) from None
    return wanted


def seed_of(config: pytest.Config) -> int:
    """What makes the run repeatable: ``--ws-seed``, or one that was drawn."""
    return config.stash[_SEED]


def pytest_report_header(config: pytest.Config) -> str | None:
    """The seed, where there is a server to test."""
    url = config.getoption("--ws-url") or config.getoption("--ws-conformance")
    url = url or config.getoption("--ws-conformance-client")
    server = config.getoption("--ws-server")
    if not url and not server:
        return None
    return f"websocket: {url or server}, seed {config.stash[_SEED]} (--ws-seed)"


# Cases as tests.


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, items: list[pytest.Item]) -> None:
    """Add the cases that were asked for."""
    for name, url in _suites(session.config):
        items.extend(SuiteCollector.from_parent(session, name=f"ws-{name}", suite=name, url=url).collect())


class SuiteCollector(pytest.Collector):
    """The cases of one suite against one server; all are run when the first is asked for."""

    def __init__(self, *, suite: str, url: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._suite = suite
        self._url = url
        self._results: dict[str, CaseResult] | None = None

    def collect(self) -> Sequence[CaseItem]:
        """One item for each case."""
        from omega_ai.testkit.suites import load_suite

        return [
            CaseItem.from_parent(self, name=case.id.partition(".")[2], case=case)
            for case in load_suite(self._suite)
        ]

    def result(self, case: Case) -> CaseResult:
        """The result of one case. The first call runs all that were not deselected."""
        if self._results is None:
            import uvloop

            wanted = {
                item.case.id
                for item in self.session.items
                if isinstance(item, CaseItem) and item.parent is self
            }
            work = self._run_client(wanted) if self._suite == "client" else self._run_server(wanted)
            done = uvloop.run(work)
            self._results = {result.id: result for result in done.cases}
        return self._results[case.id]

    async def _run_server(self, wanted: set[str]) -> SuiteResult:
        return await self._run(await _known_target(self.config, self._url), wanted, "")

    async def _run_client(self, wanted: set[str]) -> SuiteResult:
        from omega_ai.testkit.conformance.clients.arrivals import Arrivals, NoClient
        from omega_ai.testkit.conformance.clients.meeting import meet

        async with Arrivals(shlex.split(self._url)) as arrivals:
            try:
                target = await meet(arrivals)
            except NoClient as error:
                raise pytest.UsageError(f"--ws-conformance-client: {error}") from None
            return await self._run(target, wanted, "--client ")

    async def _run(self, target: Target, wanted: set[str], option: str) -> SuiteResult:
        from omega_ai.testkit.runner import Runner
        from omega_ai.testkit.suites import load_suite

        seed = self.config.stash[_SEED]
        runner = Runner(
            target,
            seed=seed,
            only=wanted,
            reproduce=lambda known: (
                f"omega test {option}{shlex.quote(self._url)} --case {known.id} --seed {seed}"
            ),
        )
        return await runner.run_suite(load_suite(self._suite))


class CaseItem(pytest.Item):
    """One case as a test."""

    def __init__(self, *, case: Case, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.case = case

    def runtest(self) -> None:
        """Fail unless the case passed; skip if it does not apply."""
        assert isinstance(self.parent, SuiteCollector)  # noqa: S101 - it made this item
        result = self.parent.result(self.case)
        if result.skipped is not None:
            pytest.skip(result.skipped)
        if result.verdict != "pass":
            raise CaseDidNotPass(result)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What was expected and seen, with the wire log, instead of a trace through the test kit."""
        if isinstance(excinfo.value, CaseDidNotPass):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[str, None, str]:
        """How the test is called in reports."""
        return f"ws-{self.case.suite}", None, self.case.id


class CaseDidNotPass(Exception):
    """A case failed, or is unknown."""

    def __init__(self, result: CaseResult) -> None:
        from omega_ai.testkit.report.machines import wire_text

        lines = [
            f"{result.verdict}: {result.title}",
            f"expected: {result.expectation}",
            f"seen:     {result.finding}",
            *([f"by:       {result.spec}"] if result.spec else []),
            *(f"  {finding.severity}: {finding.text}" for finding in result.findings),
            f"again:    {result.reproduce}",
            *map(wire_text, result.evidence),
        ]
        super().__init__("\n".join(lines))


async def _known_target(config: pytest.Config, url: str) -> Target:
    """The target at ``url``; what it is is found out once."""
    known = config.stash[_TARGETS]
    if url in known:
        return known[url]
    from omega_ai.testkit.connection import ConnectFailed
    from omega_ai.testkit.probe import probe
    from omega_ai.testkit.profile import Profile, load_profile
    from omega_ai.testkit.target import Target

    name = config.getoption("--ws-profile")
    target = Target(url, Profile(name="unknown") if name is None else load_profile(name))
    if name is None:
        try:
            found = await probe(target, seed=config.stash[_SEED])
        except ConnectFailed as error:
            raise pytest.UsageError(f"{url}: {error}") from None
        target.profile, target.facts, target.limits = found.profile, found.facts, found.limits
    known[url] = target
    return target


# Fixtures.


@pytest.fixture(scope="session")
def ws_server_command(pytestconfig: pytest.Config) -> list[str] | None:
    """The command that starts the server under test: ``--ws-server``. Override it in a conftest."""
    command = pytestconfig.getoption("--ws-server")
    return None if command is None else shlex.split(command)


@pytest.fixture(scope="session")
def ws_portal() -> Iterator[Portal]:
    """An event loop in a thread, for tests that are not coroutines."""
    from omega_ai.testkit.portal import Portal

    with Portal() as portal:
        yield portal


@pytest.fixture(scope="session")
def ws_url(
    pytestconfig: pytest.Config, request: pytest.FixtureRequest, ws_server_command: list[str] | None
) -> Iterator[str]:
    """Where the server under test is: ``--ws-url``, or the one that ``ws_server_command`` starts."""
    given = pytestconfig.getoption("--ws-url")
    if given is not None:
        yield given
        return
    if ws_server_command is None:
        raise pytest.UsageError("no server to test: give --ws-url URL, or --ws-server COMMAND")
    from omega_ai.testkit.server_process import ServerFailed, ServerProcess

    portal: Portal = request.getfixturevalue("ws_portal")
    server = ServerProcess(ws_server_command, url=pytestconfig.getoption("--ws-server-url"))
    try:
        portal.call(server.start())
    except ServerFailed as error:
        raise pytest.UsageError(f"the server under test: {error}") from None
    try:
        assert server.url is not None  # noqa: S101 - it was given one
        yield server.url
    finally:
        portal.call(server.stop())


@pytest.fixture(scope="session")
def ws_target(pytestconfig: pytest.Config, ws_url: str, ws_portal: Portal) -> Target:
    """The server under test, and how to speak to it: ``--ws-profile``, or what probing found."""
    return ws_portal.call(_known_target(pytestconfig, ws_url))


@pytest.fixture
def ws_context(request: pytest.FixtureRequest, ws_target: Target) -> Context:
    """For coroutines: ``async with ws_context as context``, then ``await context.connect(...)``."""
    from omega_ai.testkit.context import Context

    return Context(ws_target, seed=request.config.stash[_SEED], name=request.node.nodeid)


@pytest.fixture
def ws(ws_context: Context, ws_portal: Portal) -> Iterator[Tester]:
    """For plain functions: ``ws.connect("a", listen=True)``, ``ws.settle()``, ``assert_no_loss(ws)``."""
    from omega_ai.testkit.portal import Tester

    try:
        yield Tester(ws_portal, ws_context)
    finally:
        ws_portal.call(ws_context.release())


@pytest.fixture
def ws_load(pytestconfig: pytest.Config, ws_target: Target, ws_portal: Portal) -> Callable[..., LoadRecord]:
    """Puts load on the server under test: ``ws_load(clients=50, rate=100, seconds=5)``; what was seen.

    Also ``ws_load(scenario="market-open")``, or a ``Scenario``. A run in which the generator was later than
    ``lag_limit_s`` (50 ms) proves nothing. See ``assert_thresholds``.
    """

    def load(
        *,
        clients: int = 10,
        rate: float | None = None,
        seconds: float = 2.0,
        scenario: Any = None,
        lag_limit_s: float = LAG_LIMIT_S,
    ) -> LoadRecord:
        from omega_ai.testkit.load.building import Wish, planned
        from omega_ai.testkit.load.scenario import load_scenario
        from omega_ai.testkit.load.session import ServerView, Session

        profile, urls = ws_target.profile, (ws_target.url,)
        fields: dict[str, Any] = {
            "seed": pytestconfig.stash[_SEED],
            "token": ws_target.token,
            "lag_limit_s": lag_limit_s,
        }
        if isinstance(scenario, str):
            scenario = load_scenario(scenario)
        if scenario is None:
            plan = planned(Wish(clients=clients, rate=rate, duration_s=seconds), urls, profile, **fields)
        else:
            plan = scenario.plan(urls, profile, **fields)
        session = Session(plan, view=ServerView(pid=ws_target.pid))
        return ws_portal.call(session.carry_out(), limit=plan.duration_s + plan.grace_s + LOAD_LIMIT_S)

    return load


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With a failure, show what went over the wire."""
    report = yield
    if call.when == "call" and report.failed:
        context = getattr(item, "funcargs", {}).get("ws_context")
        if context is not None and context.history.clients:
            from omega_ai.testkit.report.machines import wire_text

            text = "\n".join(map(wire_text, context.history.wire(limit=WIRE_LINES)))
            report.sections.append((f"WebSocket wire log (--ws-seed {item.config.stash[_SEED]})", text))
    return report
