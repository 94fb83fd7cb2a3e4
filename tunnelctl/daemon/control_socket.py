"""The socket that makes a daemon the only one of its user: directory, lock, bind, unlink.

Owns which process is the daemon (by flock, never a pid file) and who may talk to it (a directory of
mode 0700, a socket of mode 0600). Must never remove a socket that something still answers on, and
never trust a directory that somebody else could change.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from tunnelctl.daemon import sentences
from tunnelctl.errors import Failure, reason
from tunnelctl.home.paths import Paths
from tunnelctl.net import user_lock
from tunnelctl.net.user_lock import answers

_BACKLOG = 128


class ControlSocket:
    """A bound, listening, non-blocking unix socket and its locks.

    One that is `lent` by a service manager stays for the next daemon.
    """

    def __init__(
        self,
        sock: socket.socket,
        paths: Paths,
        lock: int,
        users_lock: int | None,
        *,
        lent: bool = False,
    ) -> None:
        self.socket = sock
        self._paths = paths
        self._lock = lock
        self._users_lock = users_lock
        self._is_lent = lent
        self._file = _identity(os.lstat(paths.socket))

    @property
    def is_in_place(self) -> bool:
        """Whether clients find the socket, and other daemons the lock, at their paths. Blocking."""
        return self._is_listening and self._holds_lock

    @property
    def _is_listening(self) -> bool:
        try:
            return _identity(os.lstat(self._paths.socket)) == self._file
        except OSError:
            return False

    @property
    def _holds_lock(self) -> bool:
        try:
            return _identity(os.lstat(self._paths.lock)) == _identity(os.fstat(self._lock))
        except OSError:
            return False

    def renew(self) -> socket.socket | None:
        """Create again whichever of directory, lock and socket is missing. Blocking.

        Returns the previous socket, which the caller closes; None if it is still in use.

        Raises:
            Failure: PERMISSION_DENIED, it cannot be made; ALREADY_RUNNING, another daemon has taken
                the place.
        """
        check_directory(self._paths)
        if not self._holds_lock:
            lock = _lock(self._paths.lock)
            if lock is None:
                raise sentences.taken_over(self._paths.socket)
            os.close(self._lock)
            self._lock = lock
        if self._is_listening:
            return None
        _remove_stale(self._paths.socket)
        before, self.socket = self.socket, _bind(self._paths.socket)
        self._file = _identity(os.lstat(self._paths.socket))
        self._is_lent = False
        return before

    def close(self) -> None:
        """Stop listening and remove the socket; the locks are kept until `release`."""
        if not self._is_lent:
            with contextlib.suppress(FileNotFoundError):  # removed between the two calls
                if self._is_listening:
                    os.unlink(self._paths.socket)
        self.socket.close()

    def release(self) -> None:
        """Let the next daemon start. The lock files stay: if they were removed, two daemons could
        hold them."""
        os.close(self._lock)
        _close(self._users_lock)


def claim(paths: Paths, passed: socket.socket | None = None) -> ControlSocket | None:
    """Become this user's daemon, on the listening socket that was `passed` or on a new one; None if
    another process holds a lock.

    Raises:
        Failure: PERMISSION_DENIED, the directory or the socket is not safely ours.
    """
    check_directory(paths)
    try:
        # First: a daemon that creates the other lock again must not find it held by us.
        users_lock = user_lock.take(paths.user_lock, paths.socket)
    except user_lock.LockHeld:
        return None
    lock = None
    try:
        lock = _lock(paths.lock)
        if lock is None:
            _close(users_lock)
            return None
        if passed is not None:
            # Listen again, in this process: clients check the listener's process (SO_PEERCRED),
            # which would be the manager's.
            passed.listen(_BACKLOG)
            passed.setblocking(False)
            return ControlSocket(passed, paths, lock, users_lock, lent=True)
        _remove_stale(paths.socket)
        return ControlSocket(_bind(paths.socket), paths, lock, users_lock)
    except BaseException:
        _close(lock)
        _close(users_lock)
        raise


@contextlib.contextmanager
def in_place_of_a_daemon(paths: Paths) -> Iterator[bool]:
    """Whether no daemon runs, starts or ends; none can start while the block runs.

    Raises:
        Failure: PERMISSION_DENIED, the directory is not safely ours.
    """
    check_directory(paths)
    try:
        users_lock = user_lock.take(paths.user_lock, paths.socket)
    except user_lock.LockHeld:
        yield False
        return
    lock = None
    try:
        lock = _lock(paths.lock)
        yield lock is not None
    finally:
        _close(lock)
        _close(users_lock)


def _close(lock: int | None) -> None:
    if lock is not None:
        os.close(lock)


def check_directory(paths: Paths) -> None:
    """Make the directory of the control socket, or check that it is private to this user.

    Raises:
        Failure: PERMISSION_DENIED, with what is wrong with it.
    """
    directory = paths.runtime_dir
    try:
        _make(directory)
        found = os.lstat(directory)
    except OSError as error:
        raise _unmade(paths, reason(error)) from None
    if not stat.S_ISDIR(found.st_mode):
        raise sentences.not_a_folder(directory)
    if found.st_uid != os.geteuid():
        raise sentences.folder_of_another_user(directory, found.st_uid)
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise sentences.folder_open_to_others(directory)


def _make(directory: Path) -> None:
    """Make it and its missing parents. Root makes none in another user's folder, because that user
    could not use or remove it (`sudo -E` keeps the caller's runtime folder)."""
    if directory.is_dir():
        return
    owner = os.stat(_nearest(directory)).st_uid
    if os.geteuid() == 0 and owner != 0:
        raise sentences.root_in_anothers_folder(directory, _nearest(directory), owner)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)


def _nearest(directory: Path) -> Path:
    """The nearest existing parent folder."""
    return next(parent for parent in directory.parents if parent.is_dir())


def _unmade(paths: Paths, why: str) -> Failure:
    """The failure to make the directory. The hint depends on the owner of its parent, and on
    whether the environment names the place."""
    directory = paths.runtime_dir
    if os.access(_nearest(directory), os.W_OK):
        return sentences.place_unusable(directory, why)
    if paths.is_placed:
        return sentences.place_in_anothers_folder(directory, why)
    return sentences.no_place(directory, why)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _lock(path: Path) -> int | None:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        lock = os.open(path, flags, 0o600)
    except OSError as error:
        raise sentences.place_unusable(path, reason(error)) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    except OSError as error:
        os.close(lock)
        raise sentences.place_unusable(path, reason(error)) from None
    return lock


def _remove_stale(path: Path) -> None:
    """Remove the socket of a killed daemon. The lock is held, so nobody binds meanwhile."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise sentences.not_a_socket(path)
    if answers(path):
        raise sentences.socket_in_use(path)
    os.unlink(path)


def _bind(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(str(path))
        # Nobody can connect before it listens. Not umask(2), which other threads share.
        os.chmod(path, 0o600)
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise sentences.place_unusable(path, reason(error)) from None
    return sock
