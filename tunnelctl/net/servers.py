"""The addresses that this process connects to: which routes matter to it.

Owns the memory of the last of them, whichever connection asked. Opens no socket.
"""

from __future__ import annotations

_KEPT = 1024

# In the order of use.
_addresses: dict[str, None] = {}


def note(address: str) -> None:
    """Somebody connects to this address, an IPv4 or IPv6 one as text."""
    _addresses.pop(address, None)
    _addresses[address] = None
    if len(_addresses) > _KEPT:
        del _addresses[next(iter(_addresses))]


def addresses() -> tuple[str, ...]:
    """Those that were noted last."""
    return tuple(_addresses)
