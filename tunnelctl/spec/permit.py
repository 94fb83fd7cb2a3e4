"""The targets that a reverse SOCKS forward allows: `permit` of a profile.

Owns the parsing of a permission and the decision. The far side of a `remote_dynamic` reaches our
own network, so only written targets are allowed. This machine and link-local addresses are allowed
only if they are named one by one or as such a network. The owner of a zone decides what its names
resolve to, so no name but `localhost` allows these.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from tunnelctl.quick_dataclass import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_THIS_MACHINE = "localhost"  # RFC 6761 section 6.3: loopback, whatever a name server answers


@dataclass(frozen=True, slots=True)
class Permit:
    """One line: `HOST:PORT`, `*.DOMAIN:PORT`, `ADDRESS:PORT`, `NETWORK/BITS:PORT`; `*` is any port.

    Exactly one of `name` and `network` is set; `port` None is any.
    """

    name: str = ""
    network: Network | None = None
    port: int | None = None

    def allows(self, name: str, address: Address, port: int, *, ours: bool) -> bool:
        """Whether this line allows `name`, which was resolved to `address`.

        `ours`: this process listens there itself.
        """
        if self.port is not None and self.port != port:
            return False
        if self.network is not None:
            return address in self.network and self._means(address, ours=ours)
        asked = name.lower()
        if self.name == _THIS_MACHINE:
            return asked == self.name
        is_domain = self.name.startswith("*.")
        matches = asked.endswith(self.name[1:]) if is_domain else asked == self.name
        return matches and not (ours or _is_private_to_host(address))

    def _means(self, address: Address, *, ours: bool) -> bool:
        """Whether this network may include that address: a listener of ours only if its address
        alone is given, this machine and its link also by such a network."""
        network = self.network
        assert network is not None
        if network.num_addresses == 1:
            return True
        special = network.is_loopback or network.is_link_local
        return not ours and (special or not _is_private_to_host(address))


def parse_permit(text: str) -> Permit:
    """Read one line of `permit`.

    Raises:
        ValueError: the line is malformed; the message says how.
    """
    host, colon, port_text = text.strip().rpartition(":")
    if not colon or not host:
        raise ValueError(f"{text!r} is not HOST:PORT, *.DOMAIN:PORT or NETWORK/BITS:PORT")
    if port_text == "*":
        port = None
    elif port_text.isascii() and port_text.isdigit() and 0 < int(port_text) <= 65535:
        port = int(port_text)
    else:
        raise ValueError(f"{port_text!r} is not a port from 1 to 65535, nor *")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        return Permit(network=ipaddress.ip_network(bare), port=port)
    except ValueError:
        if "/" in host or ":" in bare:
            raise ValueError(f"{host!r} is not a network") from None
    if host == "*" or "*" in host[1:] or (host[0] == "*" and not host.startswith("*.")):
        raise ValueError(f"{host!r} allows too much; write *.DOMAIN, or 0.0.0.0/0 for every host")
    return Permit(name=host.lower(), port=port)


def permits(lines: Iterable[Permit], name: str, address: Address, port: int, *, ours: bool) -> bool:
    """Whether one of the lines allows it."""
    return any(line.allows(name, address, port, ours=ours) for line in lines)


def _is_private_to_host(address: Address) -> bool:
    """Whether an address means the machine that uses it, or that machine's link."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    meant = mapped or address
    return meant.is_loopback or meant.is_link_local or meant.is_unspecified or meant.is_multicast
