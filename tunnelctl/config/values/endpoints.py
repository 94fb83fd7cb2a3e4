"""Addresses that a forward listens on or connects to, and the networks that may use them.

Each function takes a plain value and returns the checked one, or raises ValueError with a sentence
for a user.
"""

from __future__ import annotations

import os
from ipaddress import IPv4Network, IPv6Network, ip_network

from tunnelctl.config.values.names import host_name
from tunnelctl.config.values.scalars import text, typed
from tunnelctl.config.values.services import service_port
from tunnelctl.config.yaml.mistakes import shown
from tunnelctl.spec.endpoint import (
    ANY_ADDRESS,
    LOOPBACK,
    SOCKET_PATH_BYTES,
    Endpoint,
    parse_endpoint,
)
from tunnelctl.spec.permit import Permit, parse_permit


def local_listener(value: object) -> Endpoint:
    """A listening address on this machine; a bare port is on 127.0.0.1."""
    return _endpoint(value, LOOPBACK)


def remote_listener(value: object) -> Endpoint:
    """A listening address on the server; a bare port is on `localhost` (RFC 4254, 7.1)."""
    return on_server(_endpoint(value, "localhost"))


def on_server(endpoint: Endpoint) -> Endpoint:
    """An endpoint on the server, where no shell expands paths."""
    if endpoint.is_unix and endpoint.path.startswith("~"):
        raise ValueError(
            f"{endpoint.path} is a path on the server, where ~ is not expanded; "
            "write an absolute path"
        )
    return fits(endpoint)


def fits(endpoint: Endpoint) -> Endpoint:
    """An endpoint that is not a unix socket, or one with an absolute path that can be bound."""
    length = len(os.fsencode(endpoint.path))
    if length > SOCKET_PATH_BYTES:
        raise ValueError(
            f"the path of this unix socket is {length} bytes long; "
            f"the maximum is {SOCKET_PATH_BYTES}"
        )
    return endpoint


def remote_port(value: object) -> Endpoint:
    """A listening address for SOCKS clients on the server: TCP only, as with ssh."""
    endpoint = remote_listener(value)
    if endpoint.is_unix:
        raise ValueError("a SOCKS listener on the server must be TCP; write PORT or HOST:PORT")
    return endpoint


def network(value: object) -> IPv4Network | IPv6Network:
    """An address, or a network in CIDR notation."""
    written = text(value)
    try:
        return ip_network(written)
    except ValueError as error:
        raise ValueError(f"is not a network: {error}") from None


def permit(value: object) -> Permit:
    """A target that a reverse SOCKS client may request."""
    return parse_permit(text(value))


def target(value: object) -> Endpoint:
    """The target of a forward; a bare port is on the loopback of the far end."""
    endpoint = _endpoint(value, LOOPBACK)
    if endpoint.is_unix:
        return endpoint
    if endpoint.host == ANY_ADDRESS:
        raise ValueError("* is not an address to connect to")
    if endpoint.port == 0:
        raise ValueError("cannot connect to port 0")
    return endpoint


def _endpoint(value: object, default_host: str) -> Endpoint:
    value = typed(value)
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ValueError(f"must be PORT, HOST:PORT, [IPv6]:PORT or a path, not {shown(value)}")
    endpoint = parse_endpoint(value, default_host, service_port)
    if endpoint.is_unix:
        text(endpoint.path)
        # A path that begins with another character is resolved later, relative to its file.
        return fits(endpoint) if endpoint.path.startswith("/") else endpoint
    if endpoint.host.isdigit():
        raise ValueError(f"{shown(value)} has two ports; write HOST:PORT")
    if endpoint.host != ANY_ADDRESS:
        host_name(endpoint.host)
    return endpoint
