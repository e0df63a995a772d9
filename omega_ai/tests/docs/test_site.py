"""The site: built without a warning, every link leads somewhere, and nothing is loaded from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from omega_ai.tests.conftest import ROOT

LOADS = {("script", "src"), ("link", "href"), ("img", "src"), ("iframe", "src"), ("source", "src")}


class Page(HTMLParser):
    """What a page loads, where it leads, and what can be led to in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect."""
        for name, value in attrs:
            if (tag, name) in LOADS and value:
                self.loads.append(value)
            elif (tag, name) == ("a", "href") and value:
                self.links.append(value)
            elif name == "id" and value:
                self.anchors.add(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    """Every page that ``make site`` makes."""
    for package in ("sphinx", "furo", "myst_parser"):
        pytest.importorskip(package, reason="comes with make check")
    directory = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "scripts/site.py", "--output", str(directory)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr.lower()
    return {path: Page(path.read_text()) for path in directory.rglob("*.html")}


def test_every_document_is_a_page_and_is_listed(site: dict[Path, Page]) -> None:
    """A page that the list does not name would never be found."""
    (index,) = (path for path in site if path.name == "index.html" and (path.parent / "_static").is_dir())
    listed = {(index.parent / unquote(urlsplit(link).path)).resolve() for link in site[index].links}
    for document in [*(ROOT / "docs").rglob("*.md"), ROOT / "CHANGELOG.md", ROOT / "BENCHMARKS.md"]:
        base = ROOT / "docs" if (ROOT / "docs") in document.parents else ROOT
        page = index.parent / document.relative_to(base).with_suffix(".html")
        assert page in site, document
        assert page == index or page.resolve() in listed, f"{document} is in no list"


def test_nothing_is_loaded_from_elsewhere(site: dict[Path, Page]) -> None:
    """No font, script, style or picture of another server: the site works without a network."""
    for path, page in site.items():
        loads = [load for load in page.loads if load != "#" and not load.startswith("data:")]
        assert [load for load in loads if re.match(r"[a-z]+:|//", load)] == [], path.name
        missing = [load for load in loads if not (path.parent / unquote(urlsplit(load).path)).is_file()]
        assert missing == [], path.name
    root = next(path.parent for path in site if (path.parent / "_static").is_dir())
    for style in root.rglob("*.css"):
        assert re.findall(r"(?:url\(|@import\s+)[\"']?(?:https?:)?//", style.read_text()) == [], style.name


def test_every_link_within_the_site_leads_somewhere(site: dict[Path, Page]) -> None:
    """To a page or a file, and to a place in it."""
    resolved = {path.resolve(): page for path, page in site.items()}
    broken = []
    for path, page in resolved.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists() or (
                parts.fragment
                and target in resolved
                and unquote(parts.fragment) not in resolved[target].anchors
            ):
                broken.append(f"{path.name}: {link}")
    assert broken == []
