"""Reads the file of a profile, if nobody else could have written it.

Owns the checks of the file itself (owner, mode, kind, size); knows nothing of its content.
"""

from __future__ import annotations

import functools
import grp
import os
import pwd
import shlex
import stat
from pathlib import Path

from tunnelctl.errors import reason
from tunnelctl.net.files import ask

MAX_BYTES = 1024 * 1024


class Unreadable(Exception):
    """The file cannot be used; `reasons` says why, each a sentence without a full stop."""

    def __init__(self, *reasons: str) -> None:
        super().__init__(*reasons)
        self.reasons = reasons


def read_profile_file(path: Path) -> bytes:
    """The bytes of a regular file of at most 1 MiB that only root or this user can change.

    Raises:
        Unreadable: with every reason why it is not that.
    """
    try:
        return ask(path, "a profile", functools.partial(_read_checked, path))
    except ValueError:
        raise Unreadable("the path contains a NUL byte") from None
    except OSError as error:
        raise Unreadable(f"the file cannot be read: {reason(error)}") from None


def _read_checked(path: Path) -> bytes:
    # Not blocking, so that a pipe of that name cannot block us.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _check(os.fstat(descriptor), path)
        return _read(descriptor)
    finally:
        os.close(descriptor)


def _check(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise Unreadable("this is not a regular file")
    reasons = []
    if status.st_uid not in (os.geteuid(), 0):
        reasons.append(
            f"the file belongs to user id {status.st_uid}; it must belong to you or to root"
        )
    if _others_may_write(status):
        reasons.append(f"other users may change the file; run: chmod go-w {shlex.quote(str(path))}")
    for folder in path.resolve().parents:
        around = folder.stat()
        if _others_may_write(around) and not around.st_mode & stat.S_ISVTX:
            reasons.append(
                f"other users may replace the file; run: chmod go-w {shlex.quote(str(folder))}"
            )
    if status.st_size > MAX_BYTES:
        reasons.append(_too_large())
    if reasons:
        raise Unreadable(*reasons)


def _others_may_write(status: os.stat_result) -> bool:
    """A group whose only member is the owner is harmless: many systems have a group for each user,
    and a umask of 002, so that every fresh checkout is writable for it."""
    if status.st_mode & stat.S_IWOTH:
        return True
    return bool(status.st_mode & stat.S_IWGRP) and not _is_private_group(status)


def _is_private_group(status: os.stat_result) -> bool:
    try:
        owner = pwd.getpwuid(status.st_uid)
        group = grp.getgrgid(status.st_gid)
    except KeyError:
        return False
    alone = set(group.gr_mem) <= {owner.pw_name}
    return owner.pw_gid == status.st_gid and group.gr_name == owner.pw_name and alone


def _read(descriptor: int) -> bytes:
    raw = bytearray()
    while len(raw) <= MAX_BYTES and (block := os.read(descriptor, 65536)):
        raw += block
    if len(raw) > MAX_BYTES:
        raise Unreadable(_too_large())
    return bytes(raw)


def _too_large() -> str:
    return f"the file is larger than {MAX_BYTES // 1024**2} MiB"
