"""Private files: whole, never open to others, never over a file that must stay."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from omega_ai.core.private_files import (
    PrivateFileError,
    make_private_directory,
    readable_by_others,
    write_private,
)


def test_a_file_is_written_whole_with_its_mode(tmp_path: Path) -> None:
    """0600 even where the umask would allow more, and nothing else is left in the directory."""
    old = os.umask(0)
    try:
        write_private(tmp_path / "key", b"one")
        write_private(tmp_path / "key", b"two")
    finally:
        os.umask(old)
    assert (tmp_path / "key").read_bytes() == b"two"
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert not readable_by_others(tmp_path / "key")
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_replacing_leaves_an_open_file_to_its_reader(tmp_path: Path) -> None:
    """A reader sees the old content or the new, and never a mixture."""
    write_private(tmp_path / "key", b"old" * 1000)
    with (tmp_path / "key").open("rb") as reader:
        write_private(tmp_path / "key", b"new")
        assert reader.read() == b"old" * 1000


def test_an_existing_file_can_be_kept(tmp_path: Path) -> None:
    """Not replaced, and nothing is left beside it."""
    write_private(tmp_path / "secret", b"one", replace=False)
    with pytest.raises(FileExistsError):
        write_private(tmp_path / "secret", b"two", replace=False)
    assert (tmp_path / "secret").read_bytes() == b"one"
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """A link in the key's place is replaced; what it points to stays as it was."""
    (tmp_path / "other").write_bytes(b"precious")
    (tmp_path / "key").symlink_to(tmp_path / "other")
    write_private(tmp_path / "key", b"key")
    assert (tmp_path / "other").read_bytes() == b"precious"
    assert not (tmp_path / "key").is_symlink()


def test_where_nothing_can_be_written_the_path_is_named(tmp_path: Path) -> None:
    """A directory that does not exist; a file where a directory should be."""
    with pytest.raises(PrivateFileError, match="none/key"):
        write_private(tmp_path / "none" / "key", b"")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(PrivateFileError, match="file"):
        make_private_directory(tmp_path / "file")


def test_a_directory_is_made_for_us_alone(tmp_path: Path) -> None:
    """0700, with its parents; made again, it stays; writable for others, it is refused."""
    make_private_directory(tmp_path / "a" / "b")
    make_private_directory(tmp_path / "a" / "b")
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    (tmp_path / "a" / "b").chmod(0o722)
    with pytest.raises(PrivateFileError, match="chmod go-w"):
        make_private_directory(tmp_path / "a" / "b")
