"""Ports as options."""

from __future__ import annotations

import pytest
from cyclopts import Token

from omega_ai.cli.ports import read_port


@pytest.mark.parametrize(
    ("text", "port"), [("0", 0), ("8765", 8765), ("65535", 65535), ("off", None), (" OFF ", None)]
)
def test_numbers_and_off(text: str, port: int | None) -> None:
    """``off`` means no port."""
    assert read_port(int, [Token(value=text)]) == port


@pytest.mark.parametrize("text", ["", "-1", "65536", "none", "80a", "²", "tcp://10.0.0.1:8765"])
def test_anything_else_is_refused(text: str) -> None:
    """The sentence quotes it, and says what is taken."""
    with pytest.raises(ValueError, match="give 0 to 65535, or 'off'"):
        read_port(int, [Token(value=text)])
