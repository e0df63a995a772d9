#!/usr/bin/env python3
"""Build the documents as a site, in which nothing is loaded from elsewhere; a warning is an error.

``docs/`` and the documents at the root of the project are laid together in one folder, with links between
them set right, and handed to Sphinx. Pages that the order below does not name come at the end of their
section.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import SphinxError

from omega_ai import __version__

ROOT = Path(__file__).resolve().parents[1]
ROOT_DOCUMENTS = ("BENCHMARKS.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")

SECTIONS: dict[str, tuple[str, ...]] = {
    "Start": ("tutorial.md", "troubleshooting.md"),
    "How to": ("howto.md", "client.md", "deploying.md", "broker.md", "scaling.md", "metrics.md"),
    "Test a server": (
        "testkit/README.md",
        "testkit/profiles.md",
        "testkit/pytest.md",
        "testkit/load.md",
        "testkit/proxy.md",
        "testkit/chaos.md",
        "testkit/conformance.md",
        "testkit/zoo.md",
        "extending.md",
    ),
    "Reference": (
        "wire.md",
        "messages.md",
        "codes.md",
        "commands.md",
        "configuration.md",
        "http.md",
        "conformance.md",
        "seed-suite.md",
        "BENCHMARKS.md",
    ),
    "Alerts": (),
    "About": (
        "architecture.md",
        "decisions/README.md",
        "security.md",
        "compatibility.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
    ),
}
"""What stands in the list of pages, in this order. A page that is not there yet is left out."""

REST = {"testkit": "Test a server", "alerts": "Alerts", "decisions": "About"}
"""Folder -> section of its pages that are not named above; of other pages it is the reference."""

STYLE = {
    "html_theme": "furo",
    "html_title": f"OMEGA BTC AI {__version__}",
    "html_show_sourcelink": False,
    "html_copy_source": False,
    "html_show_sphinx": False,
    "html_theme_options": {
        "light_css_variables": {"color-brand-primary": "#b23c00", "color-brand-content": "#b23c00"},
        "dark_css_variables": {"color-brand-primary": "#ffab7a", "color-brand-content": "#ffab7a"},
    },
}


def main() -> int:
    """Build; exit code 1 after a warning."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "site", help="where it goes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="omega-site-") as work:
        source = Path(work) / "source"
        lay_out(source)
        shutil.rmtree(options.output, ignore_errors=True)
        try:
            app = Sphinx(
                srcdir=source,
                confdir=None,
                outdir=options.output,
                doctreedir=Path(work) / "doctrees",
                buildername="html",
                status=None,
                warning=sys.stderr,
                warningiserror=True,
                confoverrides={
                    "project": "OMEGA BTC AI",
                    "extensions": ["myst_parser"],
                    "myst_heading_anchors": 4,
                    "myst_links_external_new_tab": False,
                    "exclude_patterns": [],
                    "html_extra_path": [],
                    "nitpicky": True,
                    **STYLE,
                },
            )
            app.build()
        except SphinxError as error:
            print(f"the site was not built: {error}", file=sys.stderr)
            return 1
        if app.statuscode:
            return app.statuscode
    print(f"{options.output / 'index.html'}", file=sys.stderr)
    return 0


def lay_out(source: Path) -> None:
    """Copy every document to where the site has it, and give the first page the list of all."""
    shutil.copytree(ROOT / "docs", source)
    for name in ROOT_DOCUMENTS:
        (source / name).write_text(from_root((ROOT / name).read_text(encoding="utf-8")), encoding="utf-8")
    for path in source.rglob("*.md"):
        name = path.relative_to(source).as_posix()
        path.write_text(from_docs(path.read_text(encoding="utf-8"), name.count("/")), encoding="utf-8")
    index = source / "index.md"
    index.write_text(index.read_text(encoding="utf-8") + tables_of_contents(source), encoding="utf-8")


def from_root(text: str) -> str:
    """A document of the project's root, as one beside ``docs/``'s own."""
    return re.sub(r"\]\(docs/", "](", text)


def from_docs(text: str, depth: int) -> str:
    """A document of ``docs/``: links to the root lead to pages, those to the source become a file's name."""
    up = "../" * depth
    for name in ROOT_DOCUMENTS:
        text = text.replace(f"]({up}../{name}", f"]({up}{name}")
    return re.sub(
        r"\[([^\]]+)\]\((?:\.\./)*(?:deploy|omega_ai|scripts|benchmarks|LICENSE)[^)\s]*\)", r"\1", text
    )


def tables_of_contents(source: Path) -> str:
    """The list of all pages, by section."""
    pages = {path.relative_to(source).as_posix() for path in source.rglob("*.md")} - {"index.md"}
    sections = {title: [name for name in names if name in pages] for title, names in SECTIONS.items()}
    named = {name for names in sections.values() for name in names}
    for name in sorted(pages - named):
        sections[REST.get(name.partition("/")[0], "Reference")].append(name)
    made = ""
    for title, names in sections.items():
        if names:
            made += f"\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n" + "\n".join(names) + "\n```\n"
    return made


if __name__ == "__main__":
    sys.exit(main())
