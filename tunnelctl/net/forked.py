"""Releases the descriptors that a child inherits when a program with tunnels forks.

A child inherits every descriptor. While it has a copy, a listener that the parent closed still
takes clients that nobody serves, and a link or connection that the parent closed does not end.
A lock that another thread held stays taken for ever, because the child has no other thread. Owns
what is done about both at fork(2). Must never touch what the parent has: not the epoll that both
share, and no byte of a socket.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterable
from weakref import WeakSet

# Sockets that belong to a thread and not to a loop: those of handshakes under way.
in_threads: WeakSet[socket.socket] = WeakSet()

# The first is nobody's: one thread forks at a time.
_locks = [threading.RLock()]
_taken: list[list[threading.RLock]] = []
_loops: set[Callable[[], Iterable[int]]] = set()
_parents: list[object] = []  # objects of the parent that the child keeps, so that none is finalized


def leave_to_parent(descriptors: Callable[[], Iterable[int]]) -> None:
    """Until `forget`, have a child that this process forks give up what `descriptors` returns."""
    _loops.add(descriptors)


def forget(descriptors: Callable[[], Iterable[int]]) -> None:
    """They are closed. Idempotent."""
    _loops.discard(descriptors)


def lock_of_process() -> threading.RLock:
    """A lock that lives as long as the process, and is free in each child that it forks.

    A fork waits until no other thread has it. Who has it may fork, as in a handler of a signal.
    """
    lock = threading.RLock()
    _locks.append(lock)
    return lock


def _before() -> None:
    # While a fork waits for a lock, other threads may make more, which `_after` must not release.
    taken: list[threading.RLock] = []
    _taken.append(taken)  # at once: what an interrupt leaves taken is released too
    for lock in tuple(_locks):
        lock.acquire()
        taken.append(lock)


def _after() -> None:
    for lock in reversed(_taken.pop()):
        lock.release()


def _in_child() -> None:
    found = {number for descriptors in _loops for number in descriptors()}
    found.update(sock.fileno() for sock in in_threads)
    found.discard(-1)  # it is closed
    if found:
        null = os.open(os.devnull, os.O_RDWR)
        for number in found:
            # The number stays taken: the objects that have it may close it at any time.
            os.dup2(null, number, inheritable=False)
        os.close(null)
    _parents.extend((*_loops, *in_threads))
    _loops.clear()
    in_threads.clear()


os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)
os.register_at_fork(after_in_child=_in_child)
