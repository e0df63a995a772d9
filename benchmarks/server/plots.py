"""Draw the results (``server.json``) as one HTML page. Run by the environment that has plotly.

python plots.py server.json server.html
"""

from __future__ import annotations

import html
import json
import sys
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

OURS, OTHERS = "#e8590c", "#868e96"


def main() -> int:
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    data = json.loads(source.read_text())
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>Benchmarks of the server</title>",
        "<style>body{font:16px system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem}</style>",
        "<h1>Benchmarks of the server</h1>",
        f"<p>{html.escape(', '.join(' '.join(fact) for fact in data['machine'].items()))}.</p>",
        f"<p>{html.escape(data['noise'])}.</p>",
    ]
    first = True
    for case in data["cases"]:
        parts += [f"<h2>{html.escape(case['title'])}</h2><p>{html.escape(case['about'])}</p>"]
        draw = growth if case["name"] == "growth" else bars
        parts.append(draw(case).to_html(full_html=False, include_plotlyjs=first))
        first = False
    target.write_text("\n".join(parts))
    return 0


def bars(case: dict[str, Any]) -> go.Figure:
    rows = [row for row in case["rows"] if row["value"]][::-1]
    values = [row["value"] for row in rows]
    plot = go.Figure(
        go.Bar(
            orientation="h",
            x=[value["median"] for value in values],
            y=[row["label"] for row in rows],
            marker_color=[OURS if row["label"].startswith("OMEGA") else OTHERS for row in rows],
            insidetextanchor="start",
            text=[f"{row['ratio']['median']:.2f}x" if row["ratio"] else "" for row in rows],
            error_x={
                "type": "data",
                "array": [value["high"] - value["median"] for value in values],
                "arrayminus": [value["median"] - value["low"] for value in values],
            },
        )
    )
    word = "less" if case["better"] == "lower" else "more"
    plot.update_layout(
        xaxis_title=f"{case['unit']} ({word} is better)", height=120 + 40 * len(rows), margin={"t": 10}
    )
    return plot


def growth(case: dict[str, Any]) -> go.Figure:
    plot = go.Figure()
    series: dict[str, list[tuple[int, float]]] = {}
    for row in case["rows"]:
        if row["value"]:
            label = row["label"].rpartition(", ")[0]
            series.setdefault(label, []).append((int(row["row"].partition("@")[2]), row["value"]["median"]))
    for label, points in series.items():
        colour = OURS if label.startswith("OMEGA") else None
        plot.add_scatter(x=[p[0] for p in points], y=[p[1] for p in points], name=label, line_color=colour)
    plot.update_layout(xaxis={"type": "log", "title": "clients"}, yaxis_title=case["unit"], margin={"t": 10})
    return plot


if __name__ == "__main__":
    sys.exit(main())
