"""Finds listeners of a profile that exclude each other on one machine.

Owns the addresses that `*`, `localhost` and an address occupy. Resolves no names.
"""

from __future__ import annotations

import ipaddress

from tunnelctl.spec.endpoint import ANY_ADDRESS, LOCALHOST, LOOPBACKS, WILDCARDS, Endpoint


class Listeners:
    """The listeners so far."""

    def __init__(self) -> None:
        self._taken: dict[tuple[object, int, str], tuple[str, Endpoint]] = {}

    def claim(
        self, machine: str | None, endpoint: Endpoint, name: str
    ) -> tuple[str, Endpoint] | None:
        """Claim `endpoint` for `name` on a machine (None: this one), if it is free.

        Returns the name and address of a listener that overlaps, or None.
        """
        if endpoint.port == 0 and not endpoint.is_unix:
            return None
        wanted, noted = _claims(endpoint)
        found = (self._taken.get((machine, endpoint.port, claim)) for claim in wanted)
        first = next((other for other in found if other is not None), None)
        for claim in noted if first is None else ():
            self._taken.setdefault((machine, endpoint.port, claim), (name, endpoint))
        return first


def _claims(endpoint: Endpoint) -> tuple[list[str], list[str]]:
    """The claims that exclude a listener on `endpoint`, and the claims that it makes.

    A claim is an address, `all 4` for the IPv4 wildcard, or `any 4` for any IPv4 address.
    """
    if endpoint.is_unix:
        return [endpoint.path], [endpoint.path]
    wanted, noted = [], []
    for address in _addresses(endpoint.host):
        family = "6" if ":" in address else "4"
        if address in WILDCARDS:
            wanted.append(f"any {family}")
            noted += [f"all {family}", f"any {family}"]
        else:
            wanted += [address, f"all {family}"]
            noted += [address, f"any {family}"]
    return wanted, noted


def _addresses(host: str) -> tuple[str, ...]:
    """The addresses of a listener on `host`."""
    if host == ANY_ADDRESS:
        return WILDCARDS
    if host.lower() == LOCALHOST:
        return LOOPBACKS
    try:
        return (str(ipaddress.ip_address(host)),)
    except ValueError:
        return (host.lower(),)
