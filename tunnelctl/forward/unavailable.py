"""Explains why an address of this machine cannot be bound, with the remedy.

Owns the search for the program or file in the way. Blocks: it searches /proc, and paths whose disk
may hang. Must never suggest to stop a process of our own.
"""

from __future__ import annotations

import errno
import os
import socket
import stat

from tunnelctl.errors import Failure, reason
from tunnelctl.forward import sentences
from tunnelctl.net.addresses import path_holder, port_holder
from tunnelctl.spec.endpoint import Endpoint


def why_not(endpoint: Endpoint, error: OSError) -> Failure:
    """The failure for `error` of a bind(2) there."""
    if endpoint.is_unix:
        return _in_the_way(endpoint.path) or _of_folder(endpoint.path, error)
    if error.errno == errno.EADDRINUSE:
        return sentences.port_in_use(endpoint, port_holder(endpoint.host, endpoint.port))
    return sentences.cannot_listen(endpoint, reason(error))


def is_free_path(path: str) -> bool:
    """Whether a path is free; False for a socket that nobody listens on, which a listener would
    replace.

    Raises:
        Failure: port-in-use; something else lies there, which stays.
    """
    failure = _in_the_way(path)
    if failure is not None:
        raise failure
    return not os.path.lexists(path)


def _in_the_way(path: str) -> Failure | None:
    """The kind of file that occupies a path and must not be replaced; None: nothing known."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return None
    if not stat.S_ISSOCK(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a link" if stat.S_ISLNK(mode) else "a file"
        return sentences.path_not_a_socket(path, what)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # one with a full backlog would block
        if probe.connect_ex(path) in (errno.ECONNREFUSED, errno.ENOENT):
            return None
    return sentences.port_in_use(Endpoint(path=path), path_holder(path))


def _of_folder(path: str, error: OSError) -> Failure:
    """Nothing is in the way, so the folder of the socket's file is the problem."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return sentences.no_folder_for_socket(path, os.path.dirname(path))
    endpoint = Endpoint(path=path)
    if error.errno == errno.EADDRINUSE:  # the obstacle is gone meanwhile
        return sentences.port_in_use(endpoint, None)
    if error.errno is None:  # Python's own error, before the system call
        return sentences.socket_path_invalid(endpoint, reason(error))
    return sentences.cannot_listen_in_folder(endpoint, os.path.dirname(path), reason(error))
