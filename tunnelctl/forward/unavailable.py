"""Why nobody can listen at an address of this machine, as a failure with what to do.

Owns who or what is in the way there. Blocks: it looks through /proc and at paths, whose disk may
hang. Must never tell anybody to stop a process of our own.
"""

from __future__ import annotations

import errno
import os
import shlex
import socket
import stat

from tunnelctl.errors import Code, Failure, Hint, reason
from tunnelctl.net.addresses import STOP_IT, path_holder, port_holder
from tunnelctl.spec.endpoint import Endpoint

_LOCAL_EXIT = 73  # a local address cannot be bound, whatever the code
_PRIVILEGED = 1024


def taken_by_own(endpoint: Endpoint, owner: str) -> Failure:
    """A forward of the daemon's, PROFILE/FORWARD, listens where another one should."""
    profile = owner.partition("/")[0]
    return Failure(
        Code.PORT_IN_USE,
        f"{endpoint} is in use by {owner}, a forward of the daemon's own",
        f"tunnelctl down {profile}, or choose another in the profile",
    )


def why_not(endpoint: Endpoint, error: OSError) -> Failure:
    """What `error` means, with which bind(2) failed there."""
    if endpoint.is_unix:
        return _in_the_way(endpoint.path) or _of_folder(endpoint.path, error)
    if error.errno == errno.EADDRINUSE:
        holder = port_holder(endpoint.host, endpoint.port)
        by = f" by {holder}" if holder else ""
        hint = holder.hint if holder else STOP_IT
        return Failure(Code.PORT_IN_USE, f"{endpoint} is in use{by}", hint)
    low = 0 < endpoint.port < _PRIVILEGED
    hint = "ports below 1024 need root; choose a higher one" if low else ""
    return _denied(endpoint, error, hint)


def is_free_path(path: str) -> bool:
    """Whether nothing lies at a path; False for a socket that nobody listens on, which a listener
    would replace.

    Raises:
        Failure: port-in-use; something else lies there, which stays.
    """
    failure = _in_the_way(path)
    if failure is not None:
        raise failure
    return not os.path.lexists(path)


def _in_the_way(path: str) -> Failure | None:
    """What a listener may not replace; None where it may, or where nothing is seen."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return None
    if not stat.S_ISSOCK(mode):
        hint = f"move it away (ls -ld {shlex.quote(path)}), or choose another path in the profile"
        what = "a folder" if stat.S_ISDIR(mode) else "a link" if stat.S_ISLNK(mode) else "a file"
        return Failure(Code.PORT_IN_USE, f"{path} is {what}, and no socket", hint)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # one with a full backlog would make us wait
        if probe.connect_ex(path) in (errno.ECONNREFUSED, errno.ENOENT):
            return None
    holder = path_holder(path)
    by = f" by {holder}" if holder else ""
    return Failure(Code.PORT_IN_USE, f"{path} is in use{by}", holder.hint if holder else STOP_IT)


def _of_folder(path: str, error: OSError) -> Failure:
    """Nothing is in the way, so it is where the socket's file would be."""
    folder = os.path.dirname(path)
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return Failure(
            Code.NAME_NOT_FOUND,
            f"cannot listen on {path}: there is no folder {folder}",
            Hint("", f"mkdir -p {shlex.quote(folder)}"),
            exit_code=_LOCAL_EXIT,
        )
    if error.errno == errno.EADDRINUSE:  # what was in the way has gone meanwhile
        return Failure(Code.PORT_IN_USE, f"{path} is in use", STOP_IT)
    if error.errno is None:  # Python's own, before the system is asked
        return _denied(Endpoint(path=path), error, "a path has at most 107 bytes")
    hint = Hint("the folder must be one that you may write to", f"ls -ld {shlex.quote(folder)}")
    return _denied(Endpoint(path=path), error, hint)


def _denied(endpoint: Endpoint, error: OSError, hint: Hint | str) -> Failure:
    return Failure(Code.PERMISSION_DENIED, f"cannot listen on {endpoint}: {reason(error)}", hint)
