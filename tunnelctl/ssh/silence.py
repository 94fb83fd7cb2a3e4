"""Who is told that a connection attempt waits for a program that may wait for a person.

Owns the word that attempts, hops and those who try something else meanwhile have in common. Must
never end anything: the attempt goes on.
"""

from __future__ import annotations

from collections.abc import Callable

from tunnelctl.errors import Failure

# Called with who has been silent for how long, again and again while that lasts.
OnSilence = Callable[[Failure], None]


def unheard(_failure: Failure) -> None:
    """Nobody has anything else to do."""
