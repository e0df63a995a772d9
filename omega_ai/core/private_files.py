"""Files that nobody else may read (keys, secrets): never wider than 0600, never half written."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path


class PrivateFileError(OSError):
    """A private file or directory cannot be used; the text is one sentence that says what to do."""


def make_private_directory(path: Path) -> None:
    """Make ``path`` (and its parents) for our eyes alone: 0700; one that exists is left as it is.

    Raises:
        PrivateFileError: it cannot be made, is no directory, or others may write to it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        mode = path.stat().st_mode
    except OSError as error:
        raise PrivateFileError(f"cannot make the directory {path}: {error.strerror}") from error
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        # Whoever may write there may exchange the key for their own.
        raise PrivateFileError(f"others may write to {path}: run chmod go-w '{path}'")


def write_private(path: Path, data: bytes, *, mode: int = 0o600, replace: bool = True) -> None:
    """Write ``data`` to ``path`` whole or not at all; no moment at which it is open wider than ``mode``.

    A new file beside it takes the data and then its name, so a reader sees the old content or the new.
    With ``replace=False`` a file that exists is left alone, even if it appears at the same moment.

    Raises:
        FileExistsError: ``replace`` is False and the file exists.
        PrivateFileError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if replace:
                temporary.replace(path)
            else:
                path.hardlink_to(temporary)  # unlike a rename, a link never replaces
        finally:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
    except FileExistsError:
        raise
    except OSError as error:
        raise PrivateFileError(f"cannot write {path}: {error.strerror}") from error


def readable_by_others(path: Path) -> bool:
    """Whether every user of this machine may read the file; its group is the administrator's choice."""
    return bool(path.stat().st_mode & stat.S_IROTH)
