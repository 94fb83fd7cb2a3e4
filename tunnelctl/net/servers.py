"""The addresses that this process connects to, to judge which routes matter.

Owns the list of the last ones, of all connections. Opens no socket.
"""

from __future__ import annotations

_KEPT = 1024

# In the order of use.
_addresses: dict[str, None] = {}


def note(address: str) -> None:
    """Note a connection to this address, an IPv4 or IPv6 one as text."""
    _addresses.pop(address, None)
    _addresses[address] = None
    if len(_addresses) > _KEPT:
        del _addresses[next(iter(_addresses))]


def addresses() -> tuple[str, ...]:
    """The last addresses that were noted."""
    return tuple(_addresses)
