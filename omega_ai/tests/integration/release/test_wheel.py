"""What ``pip install omega-btc-ai`` gives: everything works without a checkout."""

from __future__ import annotations

import json
import re
import tarfile
import urllib.request
import zipfile
from pathlib import Path

import pytest

import omega_ai
from omega_ai.tests.conftest import ROOT
from omega_ai.tests.integration.release.conftest import FROM_INDEX, Installed

pytestmark = pytest.mark.slow

PLUGIN_TEST = """
from omega_ai.testkit.assertions import assert_delivered


def test_messages_come_back(ws):
    client = ws.connect("alice")
    client.echo(5)
    ws.settle()
    assert_delivered(ws)
"""

IMPORT_ALL = """
import importlib, pkgutil, sys
for extra in ("pytest", "hypothesis", "jsonschema", "yaml", "playwright", "locust", "gevent", "websocket"):
    sys.modules[extra] = None  # as where nobody asked for an extra
import omega_ai
names = [m.name for m in pkgutil.walk_packages(omega_ai.__path__, "omega_ai.")]
assert "omega_ai.tests" not in names, "tests are in the wheel"
missing = []
for name in names:
    if not name.endswith("__main__"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            missing.append(name)
print(len(names), *missing)
"""

WITHOUT_EXTRAS = """
import sys
for extra in ("hypothesis", "jsonschema", "yaml"):
    sys.modules[extra] = None
from omega_ai.cli.app import main
sys.exit(main(sys.argv[1:]))
"""


def test_it_says_its_version_and_lies_outside_the_checkout(installed: Installed) -> None:
    """Otherwise every other test here would prove nothing."""
    assert installed.run("omega", "--version").stdout == f"omega {omega_ai.__version__}\n"
    shown = installed.run("python", "-c", "import omega_ai; print(omega_ai.__file__)").stdout.strip()
    assert Path(shown) == installed.packages / "omega_ai" / "__init__.py"
    assert ROOT not in Path(shown).parents


def test_every_module_can_be_imported_without_what_is_only_for_tests(installed: Installed) -> None:
    """Whoever does not want an extra does not need it. The pytest plugin is for where pytest is."""
    count, *missing = installed.run("python", "-c", IMPORT_ALL).stdout.split()
    assert int(count) > 200
    of_extras = ("testkit.contract", "testkit.pytest_", "testkit.load.locust_user", "testkit.zoo")
    assert [
        name for name in missing if not name.startswith(tuple(f"omega_ai.{part}" for part in of_extras))
    ] == []


def test_what_an_extra_is_needed_for_says_which(installed: Installed) -> None:
    """Without it, everything else of the command works."""
    listed = installed.run("python", "-c", WITHOUT_EXTRAS, "test", "--list-cases")
    assert "messages.echo" in listed.stdout
    assert "contract:" not in listed.stdout
    refused = installed.run(
        "python", "-c", WITHOUT_EXTRAS, "test", "ws://127.0.0.1:9", "--suite", "contract", check=False
    )
    assert refused.returncode == 3
    assert "pip install 'omega-btc-ai[contract]'" in refused.stderr


def test_data_files_and_types_came_along(wheel: Path, installed: Installed) -> None:
    """Every file that is listed is there, the page, the profiles and ``py.typed`` among them."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.startswith("omega_ai/")]
        different = [n for n in names if (installed.packages / n).read_bytes() != archive.read(n)]
    assert different == []
    assert {
        "omega_ai/py.typed",
        "omega_ai/data_feed/dashboard/static/index.html",
        "omega_ai/testkit/profiles/omega.toml",
        "omega_ai/testkit/report/static/report.css",
    } <= set(names)


def test_the_feed_gives_prices_over_ws_and_wss(installed: Installed, feed: dict[str, str]) -> None:
    """Its development certificate is made in the user's home, and trusted there."""
    for name in ("ws", "wss"):
        shown = installed.run("omega", "watch", feed[name], "--count", "3", "--json").stdout
        prices = [
            message for line in shown.splitlines() if (message := json.loads(line)).get("type") == "btc_price"
        ]
        assert [price["state"] for price in prices] == ["simulated"] * 3


def test_the_page_is_served_whole(feed: dict[str, str]) -> None:
    """Every script, style sheet and picture that it names."""
    page = _get(feed["http"]).decode()
    parts = set(re.findall(r'<(?:script|link|img)\b[^>]*(?:src|href)="(?!https?:|data:|#)([^"]+)"', page))
    assert len(parts) >= 3, page[:500]
    for part in parts:
        assert _get(feed["http"].rstrip("/") + "/" + part.lstrip("/")), part
    assert b"asyncapi" in _get(feed["http"].rstrip("/") + "/asyncapi.json")
    assert b"omega_connections" in _get(feed["http"].rstrip("/") + "/metrics")


def test_omega_test_gives_a_verdict_and_reports(
    installed: Installed, feed: dict[str, str], tmp_path: Path
) -> None:
    """The report's style and script are package data too."""
    done = installed.run(
        "omega", "test", feed["ws"], "--case", "messages.echo", "--report-dir", str(tmp_path), check=False
    )
    assert done.returncode == 0, done.stderr
    assert "messages.echo" in (tmp_path / "result.json").read_text()
    assert "<style" in next(tmp_path.glob("*.html")).read_text()


def test_the_pytest_plugin_is_found(installed: Installed, feed: dict[str, str], tmp_path: Path) -> None:
    """By pytest itself, in a project that has nothing of ours but the package."""
    if FROM_INDEX:
        installed.run("python", "-m", "pip", "install", "--quiet", "pytest")
    (tmp_path / "test_mine.py").write_text(PLUGIN_TEST)
    done = installed.run(
        "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path),
        "--ws-url", feed["ws"], "--ws-profile", "omega",
    )  # fmt: skip
    assert "1 passed" in done.stdout


def test_the_source_archive_holds_what_a_packager_needs(wheel: Path) -> None:
    """Code, tests, documents, locks and the Makefile; nothing that lies around in a checkout."""
    (archive,) = wheel.parent.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    assert names >= {
        *("pyproject.toml", "Makefile", "README.md", "CHANGELOG.md", "LICENSE", "requirements/test.lock"),
        *("scripts/install", "docs/wire.md", "omega_ai/tests/conftest.py"),
    }
    assert [name for name in names if re.search(r"__pycache__|\.venv|\.pyc$|(^|/)\.git/|^dist/", name)] == []
    tops = {name.partition("/")[0] for name in names}
    assert tops <= {
        *("benchmarks", "deploy", "docs", "omega_ai", "requirements", "scripts", "Makefile", "LICENSE"),
        *("pyproject.toml", "PKG-INFO", ".gitignore"),
        *(path.name for path in ROOT.glob("*.md")),
    }


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=20) as answer:
        body: bytes = answer.read()
        return body
