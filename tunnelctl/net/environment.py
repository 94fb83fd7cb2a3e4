"""The environment that programs of a profile are started with: a fixed PATH and little else.

Owns the list. Must never pass on a variable that could hold a secret.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What a program needs to find its user's files, store and agents, and nothing else of ours.
_VARIABLES = (
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
    "GNUPGHOME",
)


def minimal_environment(known: Mapping[str, str], more: Sequence[str] = ()) -> dict[str, str]:
    """Of the variables in `known` those that are on the list or in `more`, and the fixed PATH."""
    kept = {name: known[name] for name in (*_VARIABLES, *more) if name in known}
    return {**kept, "PATH": _PATH}
