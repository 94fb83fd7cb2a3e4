"""Imports what opens tunnels, in such a way that the program may fork meanwhile.

A forked child finds the lock of every module that another thread was importing taken, for ever. So
all modules that the threads of tunnels need are imported at once, under a lock that a fork waits
for. Must not be imported before tunnels are opened: that would take the time at another moment.
"""

from __future__ import annotations

# Their own locks at a fork must be known before ours: a fork takes the last one first, and would
# wait for ours with theirs, which the imports need.
import concurrent.futures.thread  # noqa: F401
import logging  # noqa: F401
import os
import threading

from tunnelctl.net import forked  # noqa: F401 - for the same reason

_lock = threading.RLock()  # a handler of a signal, in the thread that has it, may fork
os.register_at_fork(
    before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
)


def import_everything() -> None:
    """Import what opens tunnels, and what their threads would import later."""
    with _lock:
        import encodings.idna  # noqa: F401 - of each name that is looked up

        import tunnelctl.background.background
        import tunnelctl.config.exchange.ssh_words
        import tunnelctl.config.exchange.unnamed
        import tunnelctl.config.profile.canonical
        import tunnelctl.config.profile.find
        import tunnelctl.config.profile.load
        import tunnelctl.state.profile.readiness
        import tunnelctl.view.texts  # noqa: F401 - who needs them imports them again
