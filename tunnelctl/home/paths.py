"""Paths on this machine: the control socket, state, and the folders of profiles.

Owns the XDG rules, and how far up from a project's folder profiles are looked for. Reads the disk
only for that, and for the runtime folder of a login session that the environment does not name, as
under cron, su and sudo. Must import quickly: the command line needs it first.
"""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from tunnelctl.home import sentences
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.endpoint import SOCKET_PATH_BYTES
from tunnelctl.spec.environment import home

APPLICATION = "tunnelctl"
SOCKET_VARIABLE = "TUNNELCTL_SOCKET"
CONFIG_DIR_VARIABLE = "TUNNELCTL_CONFIG_DIR"
# The hint if the environment names another user's folder, as after `sudo -E`.
ANOTHER_USERS = (
    "sudo without -E, or su -; or env -u XDG_RUNTIME_DIR -u TUNNELCTL_SOCKET tunnelctl …: the "
    "daemon of a user is in a folder of that user's"
)
# The hint if it names none and the home belongs to another user, as in a container without a user.
NO_PLACE = (
    "export HOME=FOLDER, or export XDG_RUNTIME_DIR=FOLDER, with a folder that this user may write "
    "to, and try again"
)
_OF_A_PROJECT = ("configs", f".{APPLICATION}")
_SYSTEM = Path("/run")
_SESSIONS = Path("/run/user")  # pam_systemd(8): each user's runtime folder, by user id


@dataclass(frozen=True, slots=True)
class Paths:
    """The files and folders of one user; all absolute."""

    runtime_dir: Path  # holds the socket and the lock; 0700
    socket: Path
    lock: Path
    is_named: bool  # set by TUNNELCTL_SOCKET: a daemon in addition to the user's usual one
    is_placed: bool  # the environment names the socket's folder, not only the home
    user_lock: Path  # also locked, wherever the socket is; see net/user_lock.py
    state_dir: Path
    # The profiles that the next daemon on this socket brings up; one file for each socket.
    wanted_file: Path
    log_file: Path
    dump_file: Path  # the stacks of a daemon that hung
    config_dirs: tuple[Path, ...]  # where profiles are looked for; the first match wins

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], cwd: Path | None = None) -> Paths:
        """The paths for an environment, by README.md and docs/api.md; `cwd` defaults to the real
        one.

        Raises:
            Failure: USAGE, if the socket's path is longer than the system can bind.
        """
        here = current_folder() if cwd is None else cwd
        socket = _socket(environ, here)
        state_dir = xdg_dir(environ, "XDG_STATE_HOME", ".local/state") / APPLICATION
        is_named = bool(environ.get(SOCKET_VARIABLE))
        which = f"-{_short(socket)}" if is_named else ""
        return cls(
            runtime_dir=socket.parent,
            socket=socket,
            lock=socket.with_name(socket.name + ".lock"),
            is_named=is_named,
            is_placed=is_named or bool(environ.get("XDG_RUNTIME_DIR")),
            user_lock=state_dir / f"daemon{which}@{os.uname().nodename}.lock",
            state_dir=state_dir,
            wanted_file=state_dir / f"wanted-{_short(socket)}.json",
            log_file=state_dir / "daemon.log",
            dump_file=state_dir / "daemon.stuck",
            config_dirs=config_dirs(environ, here),
        )


def current_folder() -> Path:
    """The current folder; if it was removed, the path that it had, which does not exist (Linux adds
    " (deleted)" to it)."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path("/proc/self/cwd").readlink()


def xdg_dir(environ: Mapping[str, str], variable: str, default: str) -> Path:
    """One base directory; a relative value is ignored, as the XDG specification requires."""
    named = environ.get(variable, "")
    return Path(named) if named.startswith("/") else home(environ) / default


def config_dirs(environ: Mapping[str, str], cwd: Path) -> tuple[Path, ...]:
    """The folders of profiles, each once, in the order of README.md."""
    named = environ.get(CONFIG_DIR_VARIABLE, "")
    folders = (cwd, *_above(cwd, home(environ)))
    places = (
        *([cwd / named] if named else []),
        *(folder / name for folder in folders for name in _OF_A_PROJECT),
        xdg_dir(environ, "XDG_CONFIG_HOME", ".config") / APPLICATION,
        Path("/etc") / APPLICATION,
    )
    return tuple(dict.fromkeys(places))


def _above(cwd: Path, home: Path) -> Iterator[Path]:
    """The folders above `cwd` that may belong to its project, the nearest first: up to the home or
    to a git work tree, and only as far as no other user can put a profile there.

    git stops there for the same reason (safe.directory in git-config(1)): programs that a profile
    names are run.
    """
    top = os.path.realpath(home)
    for folder in (cwd, *cwd.parents):
        try:
            found = folder.stat()
        except OSError:
            return
        if found.st_uid != os.geteuid() or found.st_mode & stat.S_IWOTH:
            return
        if folder != cwd:
            yield folder
        if os.path.realpath(folder) == top or os.path.lexists(folder / ".git"):
            return


def _short(path: Path) -> str:
    """Eight characters that identify a path."""
    return f"{zlib.crc32(os.fsencode(path)):08x}"


def _socket(environ: Mapping[str, str], cwd: Path) -> Path:
    named = environ.get(SOCKET_VARIABLE, "")
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    if named:
        socket = Path(os.path.abspath(cwd / named))
    elif runtime.startswith("/"):
        socket = _in_runtime_dir(Path(runtime))
    else:
        socket = _without_session(environ)
    length = len(os.fsencode(socket))
    if length > SOCKET_PATH_BYTES:
        raise sentences.socket_path_too_long(socket, length, SOCKET_PATH_BYTES, SOCKET_VARIABLE)
    return socket


def _in_runtime_dir(runtime: Path) -> Path:
    return runtime / APPLICATION / "control.sock"


def _without_session(environ: Mapping[str, str]) -> Path:
    """The folder of the socket for a command that was started outside a login session."""
    session = _SESSIONS / str(os.geteuid())
    if os.geteuid() == 0:
        # A system service has it here; a daemon that root's own session started is found as well.
        system, own = _in_runtime_dir(_SYSTEM), _in_runtime_dir(session)
        return own if own.is_socket() and not system.is_socket() else system
    if session.is_dir():
        return _in_runtime_dir(session)
    return home(environ) / ".local/state" / APPLICATION / "run" / "control.sock"
