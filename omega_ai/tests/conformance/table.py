"""The judge's verdicts as text: a summary for the terminal, a table for the documentation."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

Results = dict[str, tuple[str, str]]
"""Case -> (behaviour, behaviour on closing), in the judge's words."""

GROUPS = {
    "1": "framing",
    "2": "pings and pongs",
    "3": "reserved bits",
    "4": "opcodes",
    "5": "fragmentation",
    "6": "UTF-8",
    "7": "closing handshake",
    "9": "limits and large messages",
    "10": "automatic fragmentation",
    "12": "compression: messages of many sizes",
    "13": "compression: parameters negotiated",
}
VERDICTS = ("OK", "INFORMATIONAL", "NON-STRICT", "UNIMPLEMENTED", "FAILED")
_GOOD_CLOSES = ("OK", "INFORMATIONAL")


def is_pass(results: Results) -> bool:
    """Whether nothing failed, and something was seen. NON-STRICT and INFORMATIONAL are no failures."""
    return bool(results) and all(
        behavior in ("OK", "INFORMATIONAL", "NON-STRICT") and close in _GOOD_CLOSES
        for behavior, close in results.values()
    )


def summary(side: str, results: Results) -> str:
    """One line, and one more for every case that is not plainly good."""
    counts = Counter(behavior for behavior, _ in results.values())
    unclean = sum(close not in _GOOD_CLOSES for _, close in results.values())
    told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict])
    lines = [f"{side}: {len(results)} cases: {told}; {unclean} closed uncleanly"]
    lines += [
        f"  {case}: {behavior}, closing {close}"
        for case, (behavior, close) in sorted(results.items(), key=_order)
        if behavior not in ("OK", "INFORMATIONAL") or close not in _GOOD_CLOSES
    ]
    return "\n".join(lines)


def table(results: Results) -> str:
    """A Markdown table: a row for every group of cases."""
    lines = [
        f"| group | | cases | {' | '.join(VERDICTS)} | unclean |",
        f"|---|---|{'---:|' * (len(VERDICTS) + 2)}",
    ]
    total: Counter[str] = Counter()
    for group, about in GROUPS.items():
        pairs = [pair for case, pair in results.items() if case.split(".")[0] == group]
        if not pairs:
            continue
        counts = Counter(behavior for behavior, _ in pairs)
        counts["unclean"] = sum(close not in _GOOD_CLOSES for _, close in pairs)
        counts["cases"] = len(pairs)
        total += counts
        lines.append(_row(group, about, counts))
    lines.append(_row("all", "", total))
    return "\n".join(lines)


def write_table(path: Path, side: str, results: Results) -> None:
    """Replace the table between the marks of ``side`` in a Markdown file.

    Raises ``ValueError`` if the file has no such marks.
    """
    begin, end = f"<!-- {side}: begin -->", f"<!-- {side}: end -->"
    text = path.read_text()
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"{path} has no place for the table: put '{begin}' and '{end}' into it")
    block = f"{begin}\n\n{table(results)}\n\n{end}"
    path.write_text(pattern.sub(lambda _: block, text))


def _row(group: str, about: str, counts: Counter[str]) -> str:
    cells = [str(counts["cases"]), *(str(counts[verdict]) for verdict in VERDICTS), str(counts["unclean"])]
    return f"| {group} | {about + ' ' if about else ''}| {' | '.join(cells)} |"


def _order(item: tuple[str, tuple[str, str]]) -> list[int]:
    return [int(part) for part in item[0].split(".")]
