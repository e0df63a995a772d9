"""The examples of all documents: blocks with a language, and lines of commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from omega_ai.tests.conftest import ROOT


class Block(NamedTuple):
    """One fenced block: where it begins, its language, the file that it is to be saved as, its text."""

    document: str
    line: int
    language: str
    title: str | None
    text: str

    @property
    def name(self) -> str:
        """For a test's id."""
        return f"{self.document}:{self.line}"


def documents() -> list[Path]:
    """Every document of the project."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), ROOT / "deploy" / "README.md"]


def blocks(language: str | None = None) -> list[Block]:
    """All fenced blocks, or those of one language."""
    found = [block for path in documents() for block in _fenced(path)]
    return [block for block in found if language is None or block.language == language]


def _fenced(path: Path) -> Iterator[Block]:
    document = path.relative_to(ROOT).as_posix()
    text = path.read_text()
    for match in re.finditer(r"^( *)```(\S*)([^\n]*)\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL):
        title = re.search(r'title="([^"]+)"', match[3])
        line = text.count("\n", 0, match.start()) + 1
        yield Block(document, line, match[2], title[1] if title else None, match[4])


class Command(NamedTuple):
    """A line that a reader may type."""

    document: str
    line: int
    words: list[str]

    @property
    def name(self) -> str:
        """For a test's id."""
        return f"{self.document}:{self.line}"


def commands(program: str) -> list[Command]:
    """Lines of shell blocks and indented blocks that begin with ``program``, without comments."""
    found = []
    for path in documents():
        document = path.relative_to(ROOT).as_posix()
        text = path.read_text().replace("\\\n", "  ")
        for number, line in enumerate(text.splitlines(), 1):
            typed = line.strip()
            typed = typed.removeprefix("$ ").removeprefix(".venv/bin/")
            indented = line.startswith("    ") or _in_shell_block(text, number)
            if not indented or not typed.startswith(program + " "):
                continue
            words = shlex.split(typed, comments=True)
            for end in ("|", "&&", "&", ";", ">", "2>"):
                if end in words:
                    words = words[: words.index(end)]
            found.append(Command(document, number, words[1:]))
    return found


def _in_shell_block(text: str, number: int) -> bool:
    before = text.splitlines()[: number - 1]
    fences = [line.strip() for line in before if line.strip().startswith("```")]
    return len(fences) % 2 == 1 and fences[-1] in ("```sh", "```console", "```bash")
