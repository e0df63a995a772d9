"""The command that runs the judge, as far as it goes without one."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from omega_ai.tests.conformance.autobahn import ENVIRONMENT, NoJudge, find_python27, main


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any Python 2.7 and without an installed judge."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("OMEGA_PYTHON27", raising=False)
    return tmp_path


def program(path: Path, text: str) -> Path:
    """An executable script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_without_a_python_27_it_says_so_and_what_to_do(
    bare: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 3: the environment, not the engine."""
    assert main(["server"]) == ENVIRONMENT
    told = capsys.readouterr().err
    assert told.startswith("skipped: Autobahn|Testsuite needs CPython 2.7")
    assert "OMEGA_PYTHON27" in told


def test_a_python_27_is_found_by_name_on_the_path_or_in_pyenv(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that does not run is passed over: pyenv puts such on the PATH."""
    works = "echo '(2, 7)'"
    program(bare / "python2.7", "exit 127")
    with pytest.raises(NoJudge, match="tried"):
        find_python27()
    in_pyenv = program(bare / "pyenv" / "versions" / "2.7.18" / "bin" / "python2.7", works)
    assert find_python27() == str(in_pyenv)
    on_path = program(bare / "python2.7", works)
    assert find_python27() == str(on_path)
    named = program(bare / "mine", works)
    monkeypatch.setenv("OMEGA_PYTHON27", str(named))
    assert find_python27() == str(named)
    monkeypatch.setenv("OMEGA_PYTHON27", str(bare / "absent"))
    with pytest.raises(NoJudge, match="absent"):
        find_python27()
