"""Proxies and toxics from files and from the command line, and what is said of mistakes."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from omega_ai.testkit.faults import build
from omega_ai.testkit.faults.model import Window, place
from omega_ai.testkit.proxy.configuration import BadConfiguration, load_proxies, parse_toxic
from omega_ai.testkit.proxy.documents import read_toxic

DOCUMENT = "docs/testkit/proxy.md"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ws_no_pong", place(build("ws_no_pong", {}))),
        (
            "latency:latency=100,jitter=2.5,stream=upstream,toxicity=0.5",
            place(build("latency", {"latency": 100, "jitter": 2.5}), stream="upstream", toxicity=0.5),
        ),
        (
            "ws_close:code=4008;swallow=false;name=bye",
            place(build("ws_close", {"code": 4008, "swallow": False}), name="bye"),
        ),
        (
            "stall:start=1.5,duration=2,every=60",
            place(build("stall", {}), window=Window(start=1.5, duration=2.0, every=60.0)),
        ),
    ],
)
def test_a_toxic_is_read_from_one_argument(text, expected):
    assert parse_toxic(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("latncy:latency=1", "did you mean 'latency'"),
        ("latency:latncy=1", "did you mean 'latency'"),
        ("latency:latency", "'latency' is not NAME=VALUE"),
        ("latency:latency=fast", "Expected `int | float`, got `str`"),
        ("latency:latency=1,stream=sideways", "'upstream' or 'downstream'"),
        ("latency:latency=1,toxicity=2", "between 0 and 1"),
        ("latency:start=-1", "Expected `float` >= 0.0"),
        ("latency:duration=5,every=5", "shorter than that period"),
    ],
)
def test_a_mistake_in_it_is_named(text, words):
    with pytest.raises(BadConfiguration) as caught:
        parse_toxic(text)
    assert words in str(caught.value)
    assert str(caught.value).startswith(repr(text))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("p.json", "{}", "expected an array of proxies"),
        ("p.json", "[", "p.json: "),
        ("p.json", '[{"name":"a"}]', "proxy 1 has no upstream"),
        ("p.json", '[{"upstream":"a:1"}]', "proxy 1 has no name"),
        ("p.json", '[{"name":"a","upstream":"a:1","toxics":[{"type":"magic"}]}]', "invalid toxic type"),
        ("p.json", '[{"name":"a","upstream":"a:1","tls":{"ca":5}}]', "p.json: "),
        ("p.toml", "proxies = 5", "write each proxy as a table"),
        ("p.toml", "[[proxies", "is not valid TOML"),
    ],
)
def test_a_mistake_in_a_file_is_named_with_the_file(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(BadConfiguration) as caught:
        load_proxies(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_that_is_missing_or_too_large_is_refused(tmp_path):
    with pytest.raises(BadConfiguration, match="No such file"):
        load_proxies(tmp_path / "missing.json")
    big = tmp_path / "big.json"
    big.write_bytes(b" " * (2 << 20))
    with pytest.raises(BadConfiguration, match="larger than"):
        load_proxies(big)


@pytest.mark.parametrize(("language", "suffix"), [("json", ".json"), ("toml", ".toml")])
def test_the_examples_of_the_documentation_can_be_used(root, tmp_path, language, suffix):
    (example,) = re.findall(rf"```{language}\n(.*?)```", (root / DOCUMENT).read_text(), re.DOTALL)
    path = tmp_path / f"example{suffix}"
    path.write_text(example)
    (proxy,) = load_proxies(path)
    assert proxy.name == "feed"
    assert [read_toxic(toxic).fault for toxic in proxy.toxics]
    assert (proxy.tls is not None) == (language == "toml")


def test_the_toxics_of_the_documentation_s_commands_can_be_placed(root):
    given = re.findall(r"--toxic ([a-z]\S+)", (root / DOCUMENT).read_text())
    assert len(given) >= 3
    for text in given:
        parse_toxic(text.strip("`"))


def test_the_reference_of_toxics_is_up_to_date(root):
    command = [sys.executable, "scripts/toxics_reference.py", "--check"]
    assert subprocess.run(command, cwd=root, check=False).returncode == 0, "make docs writes it anew"
