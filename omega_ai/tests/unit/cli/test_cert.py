"""Showing certificates."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from omega_ai.cli.app import main


def test_development_certificate_is_made_once_and_explained(
    state_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second time shows the same one."""
    assert main(["cert"]) == 0
    first = capsys.readouterr()
    assert first.out == ""
    assert "localhost" in first.err
    assert "To trust it" in first.err
    assert str(state_home) in first.err
    assert main(["cert"]) == 0
    assert capsys.readouterr().err == first.err


def test_facts_as_json(tmp_path: Path, state_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On standard output alone, or in a file."""
    assert main(["cert", "--directory", str(tmp_path / "tls"), "--json", "-"]) == 0
    shown = capsys.readouterr()
    facts = json.loads(shown.out)
    assert shown.err == ""
    assert facts["development"] is True
    assert {"localhost", "127.0.0.1", "::1"} <= set(facts["names"])
    assert facts["days_left"] > 300
    target = tmp_path / "facts.json"
    assert main(["cert", "--directory", str(tmp_path / "tls"), "--json", str(target)]) == 0
    assert json.loads(target.read_text()) == facts


def test_own_certificate_is_checked_with_its_key(
    tmp_path: Path, state_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Named as a directory, without the talk about trusting our authority; also by SSL_CERT_PATH."""
    directory = tmp_path / "tls"
    assert main(["cert", "--directory", str(directory)]) == 0
    capsys.readouterr()
    assert main(["cert", "--cert", str(directory)]) == 0
    shown = capsys.readouterr().err
    assert shown.startswith("Certificate\n")
    assert "To trust it" not in shown


def test_unusable_certificate_is_an_error(
    tmp_path: Path, state_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 3 and the reason, never another certificate instead."""
    monkeypatch.setenv("SSL_CERT_PATH", str(tmp_path / "missing.pem"))
    assert main(["cert"]) == 3
    assert "missing.pem does not exist" in capsys.readouterr().err


def test_target_that_cannot_be_written_is_told(
    state_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 3."""
    assert main(["cert", "--json", str(tmp_path)]) == 3
    assert "cannot be written" in capsys.readouterr().err
