"""The rules for Prometheus: valid, tested by its own tool, and the same as those evaluated inside."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from omega_ai.data_feed.observability.alerts import RULES

ONLY_A_SCRAPER_SEES = {"OmegaDown"}


@pytest.fixture
def promtool() -> str:
    path = shutil.which("promtool")
    if path is None:
        pytest.skip("needs promtool: apt install prometheus")
    return path


@pytest.fixture
def folder(root: Path) -> Path:
    return root / "docs" / "alerts"


@pytest.mark.parametrize(
    "command", [["check", "rules", "omega.rules.yml"], ["test", "rules", "omega.rules.test.yml"]]
)
def test_promtool_accepts_the_rules_and_their_tests_pass(
    promtool: str, folder: Path, command: list[str]
) -> None:
    """Each alert fires on its fault, after its time, and not before or otherwise."""
    run = subprocess.run([promtool, *command], cwd=folder, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stdout + run.stderr


def rules(folder: Path) -> dict[str, str]:
    text = (folder / "omega.rules.yml").read_text()
    parts = re.split(r"^      - alert: (\w+)$", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_inside_and_outside_have_the_same_rules(folder: Path) -> None:
    """Names, severities and how long each must hold."""
    outside = rules(folder)
    assert set(outside) - ONLY_A_SCRAPER_SEES == {rule.name for rule in RULES}
    for rule in RULES:
        text = outside[rule.name]
        assert f"severity: {rule.severity}" in text, rule.name
        held = re.search(r"^        for: (\d+)(s|m)$", text, re.MULTILINE)
        seconds = 0 if held is None else int(held[1]) * {"s": 1, "m": 60}[held[2]]
        assert seconds == rule.hold, rule.name


def test_every_alert_has_its_page_and_its_test(folder: Path) -> None:
    """A page that says what to do, linked from the rule; a case of ``promtool test rules``."""
    tests = (folder / "omega.rules.test.yml").read_text()
    for name, text in rules(folder).items():
        page = folder / f"{name}.md"
        assert f"runbook: docs/alerts/{name}.md" in text
        assert page.is_file(), name
        assert "## What to do" in page.read_text()
        assert re.search(rf"alertname: {name}\n        exp_alerts:\n          - ", tests), name
