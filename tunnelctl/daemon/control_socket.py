"""The socket that makes a daemon the only one of its user: directory, lock, bind, unlink.

Owns who may be the daemon (a flock, never a pid file) and who may talk to it (a directory of mode
0700, a socket of mode 0600). Must never remove a socket that something still answers on, and never
trust a directory that somebody else could change.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import socket
import stat
from pathlib import Path

from tunnelctl.config.paths import Paths
from tunnelctl.errors import Code, Failure

_BACKLOG = 128


class ControlSocket:
    """A bound, listening, non-blocking unix socket and the lock that goes with it.

    One that is `lent` by a service manager stays there for the next daemon.
    """

    def __init__(self, sock: socket.socket, path: Path, lock: int, *, lent: bool = False) -> None:
        self.socket = sock
        self._path = path
        self._lock = lock
        self._inode = None if lent else os.lstat(path).st_ino

    def close(self) -> None:
        """Stop listening and remove the socket; the lock stays until `release`."""
        with contextlib.suppress(FileNotFoundError):
            if os.lstat(self._path).st_ino == self._inode:
                os.unlink(self._path)
        self.socket.close()

    def release(self) -> None:
        """Let the next daemon begin. The lock's file stays: removing it would let two hold it."""
        os.close(self._lock)


def claim(paths: Paths, passed: socket.socket | None = None) -> ControlSocket | None:
    """Become this user's daemon, on the listening socket that was `passed` or on one of our own;
    None when another holds the lock.

    Raises:
        Failure: PERMISSION_DENIED, the directory or the socket is not safely ours.
    """
    check_directory(paths.runtime_dir)
    lock = _lock(paths.lock)
    if lock is None:
        return None
    try:
        if passed is not None:
            # Again, by us: clients look who listens (SO_PEERCRED), which would be the manager.
            passed.listen(_BACKLOG)
            passed.setblocking(False)
            return ControlSocket(passed, paths.socket, lock, lent=True)
        _remove_stale(paths.socket)
        return ControlSocket(_bind(paths.socket), paths.socket, lock)
    except BaseException:
        os.close(lock)
        raise


def answers(path: Path) -> bool:
    """Whether something accepts connections on the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:  # a full backlog, or no right to connect: somebody is there
            return True
        return True


def check_directory(directory: Path) -> None:
    """Make the directory, or see that it is ours alone.

    Raises:
        Failure: PERMISSION_DENIED, with what is wrong with it.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = os.lstat(directory)
    except OSError as error:
        raise _refused(directory, error.strerror or str(error)) from None
    if not stat.S_ISDIR(found.st_mode):
        raise _refused(directory, "it is a symbolic link or no directory")
    if found.st_uid != os.geteuid():
        raise _refused(directory, f"it belongs to the user id {found.st_uid}")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise _refused(
            directory,
            "other users can enter it",
            f"if it is yours alone: chmod 700 {shlex.quote(str(directory))}",
        )


def _lock(path: Path) -> int | None:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        lock = os.open(path, flags, 0o600)
    except OSError as error:
        raise _refused(path, error.strerror or str(error)) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    except OSError as error:
        os.close(lock)
        raise _refused(path, error.strerror or str(error)) from None
    return lock


def _remove_stale(path: Path) -> None:
    """Remove what a killed daemon left. The lock is held, so nobody binds meanwhile."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise _refused(path, "it is there and is no socket")
    if answers(path):
        raise _refused(path, "another program listens on it")
    os.unlink(path)


def _bind(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # Between bind and a later chmod others could connect; the umask leaves no such moment.
    umask = os.umask(0o177)
    try:
        sock.bind(str(path))
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise _refused(path, error.strerror or str(error)) from None
    finally:
        os.umask(umask)
    return sock


def _refused(path: Path, why: str, hint: str = "") -> Failure:
    return Failure(
        Code.PERMISSION_DENIED, f"{path} cannot be used for the control socket: {why}", hint
    )
