"""Profiles: the built-in ones hold, and what is wrong with one is said by file and field."""

from __future__ import annotations

from pathlib import Path

import pytest

from omega_ai.testkit.profile import (
    Profile,
    ProfileError,
    builtin_names,
    field_of,
    fill,
    load_profile,
    matches,
    parse_profile,
)

MESSAGE = {"type": "news", "data": [{"price": 5, "ok": True}], "none": None}


@pytest.mark.parametrize("name", builtin_names())
def test_every_builtin_profile_is_right(name: str) -> None:
    """And is called as its file."""
    profile = load_profile(name)
    assert profile.name == name
    assert profile.description
    assert profile.problems() == []


def test_public_feeds_are_only_listened_to() -> None:
    """Nobody allowed us to strain them."""
    for name in ("coinbase", "binance", "kraken"):
        profile = load_profile(name)
        assert profile.read_only
        assert profile.echo is None
        assert profile.publish is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name = ", "not TOML"),
        ('description = "no name"', "name"),
        ('name = "x"\nnmae = "y"', "nmae"),
        ('name = "x"\nformat = "xml"', "format"),
        ('name = "x"\n[echo]\nsend = "hello"', "echo.send: needs ${stamp}"),
        ('name = "x"\n[echo]\nsend = "${stamp} ${nonsense}"', "no ${nonsense}; there are stamp"),
        ('name = "x"\n[publish]\nsend = "${stamp} costs 5$ or"', "write $$ for a dollar sign"),
        ('name = "x"\n[resume]\nsend = "x"\nstream = "s"\nanswer = {}', "needs feed.sequence"),
        ('name = "x"\nread_only = true\n[echo]\nsend = "${stamp}"', "read_only"),
    ],
)
def test_what_is_wrong_is_named(text: str, words: str) -> None:
    """With the file, so that it can be mended."""
    with pytest.raises(ProfileError) as caught:
        parse_profile(text, "mine.toml")
    assert "mine.toml" in str(caught.value)
    assert words in str(caught.value)


def test_a_file_that_is_missing_or_no_text_is_said(tmp_path: Path) -> None:
    """With the names that would have been known."""
    with pytest.raises(ProfileError, match=r"none of binance, coinbase, echo, kraken, omega"):
        load_profile(str(tmp_path / "absent.toml"))
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ProfileError, match="not UTF-8"):
        load_profile(str(binary))


def test_a_file_is_loaded(tmp_path: Path) -> None:
    """By its path."""
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\n[echo]\nsend = "${stamp}"\n')
    assert load_profile(str(path)).name == "mine"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("type", "news"),
        ("data.0.price", 5),
        ("data.1.price", None),
        ("data.x", None),
        ("type.x", None),
        (None, None),
    ],
)
def test_fields_are_found_by_path(path: str | None, value: object) -> None:
    """Through objects and arrays; a path that leads nowhere is None."""
    assert field_of(MESSAGE, path) == value


@pytest.mark.parametrize(
    ("match", "fits"),
    [
        ({}, True),
        ({"type": "news"}, True),
        ({"type": "*"}, True),
        ({"absent": "*"}, False),
        ({"none": "*"}, False),
        ({"data.0.ok": True}, True),
        ({"data.0.price": True}, False),
        ({"type": "news", "data.0.price": 6}, False),
    ],
)
def test_a_match_needs_every_value(match: dict[str, str | int | float | bool], fits: bool) -> None:
    """And any value where there is a star."""
    assert matches(MESSAGE, match) is fits


def test_texts_are_filled() -> None:
    """A doubled dollar sign is one."""
    assert fill('{"a":"${stamp}","b":"$$5"}', {"stamp": "s"}) == b'{"a":"s","b":"$5"}'
    assert Profile(name="x").problems() == []
