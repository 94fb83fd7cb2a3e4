"""Writes a file whole or not at all, even if this process is killed, whatever lies beside it.

Owns the name of the draft, which is unique, so that neither another process nor a file that it left
behind is in the way. Must never follow a link, nor leave a draft if it fails.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

_TRIES = 100


def write_whole(
    path: Path, content: bytes, *, mode: int = 0o600, is_new: bool = False, sync: bool = False
) -> None:
    """Write `content` to the file at `path` (rename(2)), whose folder must exist.

    `is_new`: no file may exist there yet. `sync`: return only when the file survives a loss of
    power.

    Raises:
        FileExistsError: a file exists there, and `is_new` was set.
        OSError: it cannot be written; `path`, which the error names, is unchanged.
    """
    try:
        draft, descriptor = _draft(path, mode)
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                if sync:
                    os.fsync(file.fileno())
            if is_new:
                os.link(draft, path)
            else:
                draft.replace(path)
        finally:
            with contextlib.suppress(OSError):  # it no longer exists after a success
                draft.unlink()
        if sync:
            _sync_folder(path.parent)
    except OSError as error:
        # The user does not know the draft's name, and an error of write(2) names no file at all.
        error.filename, error.filename2 = str(path), None
        raise


def _draft(path: Path, mode: int) -> tuple[Path, int]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    for left in reversed(range(_TRIES)):
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            return draft, os.open(draft, flags, mode)
        except FileExistsError:
            if not left:
                raise
    raise AssertionError  # the last attempt returns or raises


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
