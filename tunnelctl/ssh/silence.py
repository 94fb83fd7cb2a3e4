"""The callback for a connection attempt that waits for a program, which may wait for a person.

Owns the type that attempts, hops and their observers share. Must never end anything: the attempt
continues.
"""

from __future__ import annotations

from collections.abc import Callable

from tunnelctl.errors import Failure

# Called with what has been silent, and for how long, repeatedly while that lasts.
OnSilence = Callable[[Failure], None]


def unheard(_failure: Failure) -> None:
    """Ignore it."""
