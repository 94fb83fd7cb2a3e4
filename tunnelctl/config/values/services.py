"""Services by name, in place of a port: owns the numbers that a small machine may lack."""

from __future__ import annotations

import socket

# IANA's numbers of services that tunnels often lead to; small images have no /etc/services.
_SERVICES = {
    "ssh": 22,
    "http": 80,
    "ldap": 389,
    "https": 443,
    "ldaps": 636,
    "socks": 1080,
    "mysql": 3306,
    "postgresql": 5432,
    "redis": 6379,
}


def service_port(name: str) -> int:
    """The TCP port of a service, as OpenSSH accepts it for a number.

    Raises:
        OSError: there is no such service.
    """
    try:
        return socket.getservbyname(name, "tcp")
    except OSError:
        if name in _SERVICES:
            return _SERVICES[name]
        raise
