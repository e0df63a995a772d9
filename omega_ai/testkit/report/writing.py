"""Writes reports where they were asked for."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from omega_ai.testkit.report.html import page
from omega_ai.testkit.report.machines import hgrm, junit, prometheus
from omega_ai.testkit.result import RunResult

STANDARD_OUTPUT: Final = "-"


class ReportError(Exception):
    """A report cannot be written; ``str(error)`` names the file and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destinations:
    """Which reports are wanted, and where."""

    directory: Path | None = None
    """Every kind of report goes in here."""
    junit: Path | None = None
    json: str | None = None
    """A file, or ``-`` for standard output."""

    def check(self) -> None:
        """Find out before a long run, and not after it, that a report cannot be written.

        Raises:
            ReportError: a directory that is missing or cannot be made.
        """
        if self.directory is not None:
            try:
                self.directory.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ReportError(f"{self.directory} cannot be made: {error.strerror}") from None
        json = None if self.json in (None, STANDARD_OUTPUT) else Path(str(self.json))
        files = [self.junit, json]
        for path in files:
            if path is not None and not path.parent.is_dir():
                raise ReportError(f"{path}: there is no directory {path.parent}")


def write_reports(result: RunResult, wanted: Destinations) -> list[Path]:
    """Write what is wanted; which files were written.

    Raises:
        ReportError: a file cannot be written.
    """
    written: list[Path] = []

    def write(path: Path, content: str | bytes) -> None:
        data = content.encode("utf-8") if isinstance(content, str) else content
        try:
            path.write_bytes(data)
        except OSError as error:
            raise ReportError(f"{path} cannot be written: {error.strerror}") from None
        written.append(path)

    if wanted.json == STANDARD_OUTPUT:
        sys.stdout.write(result.to_json().decode())
        sys.stdout.flush()
    elif wanted.json is not None:
        write(Path(wanted.json), result.to_json())
    if wanted.junit is not None:
        write(wanted.junit, junit(result))
    if wanted.directory is not None:
        directory = wanted.directory
        write(directory / "result.json", result.to_json())
        write(directory / "junit.xml", junit(result))
        write(directory / "metrics.prom", prometheus(result))
        for case in result.cases:
            if case.reproducer is not None:
                write(directory / Path(case.reproducer[0]).name, case.reproducer[1])
        for name, histogram in result.histograms.items():
            write(directory / f"{_file_name(name)}.hgrm", hgrm(histogram))
        write(directory / "report.html", page(result))
    return written


def _file_name(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "histogram"
