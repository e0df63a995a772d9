"""Header values of a handshake (RFC 6455 section 9.1, RFC 9110 section 5.6)."""

from __future__ import annotations

import pytest

from omega_ai.core.websocket.headers import Extension, is_token, parse_extensions, tokens


def test_a_list_is_read_over_all_lines_of_the_header() -> None:
    """RFC 9110 section 5.6.1: empty members are ignored."""
    assert tokens(["keep-alive, Upgrade", " x,,\ty "]) == ["keep-alive", "Upgrade", "x", "y"]
    assert tokens([]) == []


def test_tokens_are_told_from_other_text() -> None:
    """RFC 9110 section 5.6.2."""
    assert is_token("permessage-deflate")
    assert not any(is_token(text) for text in ("", "a b", "a,b", "ü", "a=b", '"a"', "a\n"))


def test_extensions_are_read_with_their_parameters_in_order() -> None:
    """RFC 6455 section 9.1: flags, values, quoted values, several extensions, several lines."""
    assert parse_extensions(['a; x; y=1;z="q" , b', "c"]) == [
        Extension("a", (("x", None), ("y", "1"), ("z", "q"))),
        Extension("b"),
        Extension("c"),
    ]
    assert parse_extensions(["", " , ,"]) == []


def test_a_quoted_value_may_escape() -> None:
    """RFC 9110 section 5.6.4."""
    assert parse_extensions([r'a; x="1\0"']) == [Extension("a", (("x", "10"),))]


@pytest.mark.parametrize(
    "value", ["a b", "=a", "a;", "a; x=", 'a; x="', 'a; x="not a token"', "a; x y", "a;;b", "ü"]
)
def test_what_does_not_follow_the_grammar_is_refused_with_the_place(value: str) -> None:
    """RFC 6455 section 9.1: such a handshake must be failed."""
    with pytest.raises(ValueError, match=r"character|token"):
        parse_extensions([value])
