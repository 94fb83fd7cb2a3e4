"""One daemon for each user: a lock, wherever its socket is, that also names the socket.

The lock beside a socket goes with the folder of a login session, and is not seen by a command that
looks for its daemon elsewhere (cron, su, sudo). This one is in the user's state folder. Its name
contains that of the machine, because a home may be on several machines. Must never keep a daemon
from starting if the lock cannot be created.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from contextlib import suppress
from pathlib import Path

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_MOST = 4096  # bytes of a path
_HELD = {errno.EAGAIN, errno.EACCES}  # EACCES of flock(2) on a file system that emulates it


class LockHeld(Exception):
    """Another daemon has the lock."""


def take(path: Path, control: Path) -> int | None:
    """Take the lock, and record that the daemon is at `control`. Returns the descriptor that holds
    it; None if it cannot be created, or the file system has no locks.

    Raises:
        Held: another daemon has it; `holder` says where that one is.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(path, _FLAGS, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with suppress(OSError):  # a full disk: the lock is held anyway
            os.ftruncate(lock, 0)
            os.write(lock, os.fsencode(control))
    except OSError as error:
        os.close(lock)
        if error.errno in _HELD:
            raise LockHeld from None
        return None
    return lock


def holder(path: Path) -> Path | None:
    """The socket of the daemon that holds the lock, or None."""
    try:
        lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        said = os.read(lock, _MOST) if error.errno in _HELD else b""
        return Path(os.fsdecode(said)) if said.startswith(b"/") else None
    finally:
        os.close(lock)
    return None


def beside(path: Path) -> list[Path]:
    """The sockets of this user's other daemons on this machine, including those that were started
    with a socket of their own; `path` is the lock of the daemon that is looked for."""
    found = []
    for lock in sorted(path.parent.glob(f"daemon*@{path.name.partition('@')[2]}")):
        with suppress(OSError), lock.open("rb") as file:
            said = file.read(_MOST)
            # Not by the lock: trying it could keep a daemon from starting.
            if lock != path and said.startswith(b"/") and answers(Path(os.fsdecode(said))):
                found.append(Path(os.fsdecode(said)))
    return found


def answers(path: Path) -> bool:
    """Whether something accepts connections on a unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            return False
        except OSError:  # a full backlog, or no permission to connect: something listens
            return True
        return True
