"""The judge's verdicts as text."""

from __future__ import annotations

from pathlib import Path

import pytest

from omega_ai.tests.conformance.table import Results, is_pass, summary, table, write_table

GOOD: Results = {
    "1.1.1": ("OK", "OK"),
    "7.1.6": ("INFORMATIONAL", "INFORMATIONAL"),
    "6.4.3": ("NON-STRICT", "OK"),
}


def test_nothing_failed_is_a_pass_and_nothing_seen_is_not() -> None:
    """An unclean close is a failure; so are cases that could not be run."""
    assert is_pass(GOOD)
    assert not is_pass({})
    for pair in (("FAILED", "OK"), ("OK", "UNCLEAN"), ("OK", "WRONG CODE"), ("UNIMPLEMENTED", "OK")):
        assert not is_pass({**GOOD, "1.1.2": pair})


def test_the_summary_names_every_case_that_is_not_plainly_good() -> None:
    """In the order of their numbers."""
    text = summary("server", {**GOOD, "10.1.1": ("OK", "UNCLEAN"), "7.1.2": ("FAILED", "OK")})
    assert text.splitlines() == [
        "server: 5 cases: 2 OK, 1 INFORMATIONAL, 1 NON-STRICT, 1 FAILED; 1 closed uncleanly",
        "  6.4.3: NON-STRICT, closing OK",
        "  7.1.2: FAILED, closing OK",
        "  10.1.1: OK, closing UNCLEAN",
    ]


def test_the_table_counts_by_group() -> None:
    """And in all."""
    rows = table(GOOD).splitlines()
    assert rows[2:] == [
        "| 1 | framing | 1 | 1 | 0 | 0 | 0 | 0 | 0 |",
        "| 6 | UTF-8 | 1 | 0 | 0 | 1 | 0 | 0 | 0 |",
        "| 7 | closing handshake | 1 | 0 | 1 | 0 | 0 | 0 | 0 |",
        "| all | | 3 | 1 | 1 | 1 | 0 | 0 | 0 |",
    ]


def test_the_table_replaces_the_one_before_it(tmp_path: Path) -> None:
    """Between its marks; a page without marks is an error that says so."""
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- server: begin -->\nold\n<!-- server: end -->\nafter\n")
    write_table(page, "server", GOOD)
    write_table(page, "server", GOOD)
    text = page.read_text()
    assert text.startswith("before\n<!-- server: begin -->\n\n| group |")
    assert text.endswith("|\n\n<!-- server: end -->\nafter\n")
    assert "old" not in text
    with pytest.raises(ValueError, match="client: begin"):
        write_table(page, "client", GOOD)
