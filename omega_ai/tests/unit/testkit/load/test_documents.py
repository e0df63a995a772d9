"""The pages on load say what there is, and their examples work."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from omega_ai.cli.options import options_of
from omega_ai.testkit.experiment.model import FaultStep
from omega_ai.testkit.load.measured import COUNTS, SERIES, TIMES
from omega_ai.testkit.load.plan import Group, Role
from omega_ai.testkit.load.scenario import Scenario, builtin_scenarios, load_scenario, parse_scenario
from omega_ai.testkit.load.scenario_table import SHAPES
from omega_ai.testkit.load.thresholds import ThresholdError, parse_threshold
from omega_ai.testkit.zoo.catalogue import ENDURING

PAGES = ("load", "scenarios", "stress", "load-machines")


@pytest.fixture
def pages(root: Path) -> dict[str, str]:
    """Their texts."""
    return {name: (root / "docs" / "testkit" / f"{name}.md").read_text(encoding="utf-8") for name in PAGES}


def _blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def _table(text: str, heading: str) -> list[str]:
    """First cells of the first table after ``heading``."""
    rows = text[text.index(heading) :].split("\n\n")
    table = next(block for block in rows if block.lstrip().startswith("|"))
    return [line.split("|")[1].strip() for line in table.strip().splitlines()[2:]]


def test_every_threshold_of_the_page_is_one(pages: dict[str, str]) -> None:
    """Those of the table, and those of the commands."""
    cells = _table(pages["load"], "## Thresholds")
    assert len(cells) > 12
    for cell in cells:
        parse_threshold(cell.strip("`"))
    for text in re.findall(r"--(?:threshold|find) '([^']*)'", "".join(pages.values())):
        parse_threshold(text)


def test_every_metric_is_on_the_page(pages: dict[str, str]) -> None:
    """And no other."""
    cells = " ".join(_table(pages["load"], "| metric | is |"))
    assert set(re.findall(r"`(\w+)`", cells)) == {*TIMES, *COUNTS, *SERIES, "rate"}


def test_the_error_of_the_page_is_what_is_said(pages: dict[str, str]) -> None:
    """To the letter."""
    with pytest.raises(ThresholdError) as caught:
        parse_threshold("latency.p99 < 5MB")
    wanted = "\n".join(f"    {line}" for line in str(caught.value).splitlines())
    assert wanted in pages["load"]


def test_every_option_of_the_pages_is_one_of_the_commands(pages: dict[str, str]) -> None:
    """Of load, test and report, in whole lines and in the text."""
    known = {option.name for command in ("load", "test", "report") for option in options_of(command)}
    for name, text in pages.items():
        for option in re.findall(r"(?<![\w-])--([a-z][a-z-]*[a-z])", _without_other_commands(text)):
            assert option in known or option.startswith("ws-"), f"{name}: --{option}"


def _without_other_commands(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if "kubectl" not in line)


def test_the_scenarios_of_the_page_are_right(pages: dict[str, str], tmp_path: Path) -> None:
    """As TOML and as Python."""
    for text in _blocks(pages["scenarios"], "toml"):
        assert parse_scenario(text, "page").groups
    for number, text in enumerate(_blocks(pages["scenarios"], "python")):
        path = tmp_path / f"example{number}.py"
        path.write_text(text)
        assert load_scenario(str(path)).groups


def test_every_field_and_shape_is_on_the_page(pages: dict[str, str]) -> None:
    """And no other; and each shape, as it is written there, is one."""
    text = pages["scenarios"]
    top = set(re.findall(r"`(\w+)`", " ".join(_table(text, "## Fields"))))
    fields = {field.removesuffix("_s") for field in Scenario.__struct_fields__} - {
        "groups",
        "phases",
        "faults",
    }
    assert top == fields
    fault = set(re.findall(r"`(\w+)`", " ".join(_table(text[text.index("## Faults") :], "| field |"))))
    assert fault == {field.removesuffix("_s") for field in FaultStep.__struct_encode_fields__}
    group = set(re.findall(r"`(\w+)`", " ".join(_table(text, "`[[group]]`"))))
    assert group == {field.removesuffix("_s") for field in Group.__struct_fields__}
    shapes = [cell.strip("`") for cell in _table(text, "| shape |")]
    for shape in shapes:
        parse_scenario(f'duration = 90\n[[group]]\nrole = "echo"\nclients = 1\nmessages = {shape}\n', "page")
    assert [re.findall(r'shape = "(\w+)"', shape) for shape in shapes] == [[name] for name in SHAPES]
    assert all(f"`{role}`" in text for role in Role)


def test_every_scenario_is_on_the_page(pages: dict[str, str]) -> None:
    """Of those that come with the kit."""
    names = [cell.strip("`") for cell in _table(pages["scenarios"], "## Those that come with the kit")]
    assert sorted(names) == list(builtin_scenarios())


def test_every_enduring_fault_is_on_the_page(pages: dict[str, str]) -> None:
    """With what it is and what catches it."""
    for exhibit in ENDURING:
        assert f"| `{exhibit.name}` | {exhibit.fault.rstrip('.')} | `{exhibit.case}` |" in pages["stress"]


def test_python_of_the_pages_compiles(pages: dict[str, str]) -> None:
    """What is imported there is run elsewhere: by the plugin's test, and in a Locust cluster."""
    for name in ("load", "load-machines"):
        for text in _blocks(pages[name], "python"):
            compile(text, name, "exec")
