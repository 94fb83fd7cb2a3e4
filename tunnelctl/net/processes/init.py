"""Process 1 of a container: it inherits every orphan there, and has to reap them.

Owns that duty, in a process of its own: no program of ours expects children that it did not start,
and reaping all of them could take the exit status of one that is waited for.
"""

from __future__ import annotations

import os
import signal

# A signal sent to process 1 is meant for the command.
_PASSED_ON = frozenset(
    {
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGUSR1,
        signal.SIGUSR2,
    }
)
_FROM_SIGNAL = 128  # and its number, as shells have it


def serve_as_init() -> int | None:
    """Continue in a child, while this process reaps orphans and passes signals on.

    Call it before there is any thread. Returns None in the child; in process 1 the exit code of the
    child, once it has ended.
    """
    terminal = os.isatty(0)
    awaited = {*_PASSED_ON, signal.SIGCHLD}
    # Blocked, they wait for sigwait: a handler would miss those that come just before it.
    usual = signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    child = os.fork()
    if child == 0:
        _take_the_terminal(terminal)
        signal.pthread_sigmask(signal.SIG_SETMASK, usual)
        return None
    while True:
        received = signal.sigwait(awaited)
        if received in _PASSED_ON:
            os.kill(child, received)
            continue
        status = _collect(child)
        if status is not None:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else _FROM_SIGNAL - code


def _take_the_terminal(terminal: bool) -> None:
    """Lead a group of its own, which gets Ctrl-C directly."""
    os.setpgid(0, 0)
    if terminal:
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # tcsetpgrp(3) from the background
        os.tcsetpgrp(0, os.getpid())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)


def _collect(child: int) -> int | None:
    """Reap all that have ended, until it is `child`; returns its wait status."""
    while True:
        ended, status = os.waitpid(-1, os.WNOHANG)
        if ended in (0, child):
            return status if ended else None
