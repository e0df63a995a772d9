"""The Grafana dashboard: every query is one that Prometheus can answer, over metrics that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from omega_ai.data_feed.observability.metrics import make_registry
from omega_ai.tests.unit.data.observability.snapshots import snapshot


@pytest.fixture
def dashboard(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / "docs/grafana/omega.json").read_text())
    return found


def queries(dashboard: dict[str, Any]) -> Iterator[str]:
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            # What Grafana puts in for its variables.
            yield target["expr"].replace("$job", ".*").replace("$instance", ".*")


def test_every_query_is_over_a_metric_that_is_exposed(dashboard: dict[str, Any]) -> None:
    """A renamed metric would leave an empty panel, which nobody notices until it is needed."""
    names = {
        line.partition("{")[0].partition(" ")[0]
        for line in generate_latest(make_registry(snapshot)).decode().splitlines()
        if not line.startswith("#")
    }
    used = set(re.findall(r"\b(?:omega|process)_\w+", " ".join(queries(dashboard))))
    assert len(used) > 20
    assert used - names == set()


def test_every_query_can_be_parsed(dashboard: dict[str, Any], tmp_path: Path) -> None:
    """By Prometheus' own tool, as rules that record them."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool: apt install prometheus")
    rules = [{"record": f"query:{at}", "expr": query} for at, query in enumerate(queries(dashboard))]
    file = tmp_path / "queries.yml"
    file.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))  # JSON is YAML
    run = subprocess.run([promtool, "check", "rules", str(file)], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_panels_do_not_overlap_and_have_a_title_and_words(dashboard: dict[str, Any]) -> None:
    """Each is within the 24 columns, alone in its place, and says what it shows."""
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        assert panel["title"]
        assert panel["type"] == "row" or panel["description"]
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
