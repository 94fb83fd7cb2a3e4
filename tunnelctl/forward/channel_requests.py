"""The requests for each kind of endpoint: TCP and unix sockets, here and on the server.

Owns the names of the requests and channel types of RFC 4254 section 7 and of OpenSSH's PROTOCOL
section 2.4 (streamlocal), and the failure for a refusal. Must never send anything.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

from tunnelctl.errors import Fact, Failure
from tunnelctl.forward import sentences
from tunnelctl.spec.endpoint import ANY_ADDRESS, Endpoint
from tunnelctl.spec.forward import Forward
from tunnelctl.ssh.sentences import excerpt
from tunnelctl.ssh.software import Software
from tunnelctl.wire import messages
from tunnelctl.wire.refusals import Refusal, in_words, refusal

# The originator of a client, for the server's log; a unix socket has no such address.
Origin = tuple[str, int]


def direct(target: Endpoint, origin: Origin) -> tuple[str, bytes]:
    """The channel type and data that ask the server to connect to `target`."""
    if target.is_unix:
        # The reserved string and number are OpenSSH's (PROTOCOL section 2.4).
        data = messages.string(target.path) + messages.string("") + messages.u32(0)
        return "direct-streamlocal@openssh.com", data
    return "direct-tcpip", messages.tcpip_open(target.host, target.port, origin[0], origin[1])


@dataclass(frozen=True, slots=True)
class ListenRequest:
    """The request for a listener on the server; `route` is what its channel opens will name."""

    name: str
    cancel: str
    route: tuple[str, int]

    @property
    def data(self) -> bytes:
        """The names of the request and of its cancellation."""
        address, port = self.route
        if self.name.startswith("streamlocal"):
            return messages.string(address)
        return messages.tcpip_forward(address, port)


def listen_request(listen: Endpoint) -> ListenRequest:
    """The request for `listen`; after the server chose the port, with that port."""
    if listen.is_unix:
        name = "streamlocal-forward@openssh.com"
        return ListenRequest(name, f"cancel-{name}", (listen.path, 0))
    # RFC 4254 section 7.1: the empty string is every address.
    address = "" if listen.host == ANY_ADDRESS else listen.host
    return ListenRequest("tcpip-forward", "cancel-tcpip-forward", (address, listen.port))


def open_failure(
    forward: Forward, target: Endpoint, server: Software, reason: int, description: str
) -> Failure:
    """The failure for a refused channel open (RFC 4254 section 5.1)."""
    cause = refusal(reason, description)
    said = excerpt(in_words(reason, description))
    via = forward.via
    if cause is Refusal.PROHIBITED:
        options = ("AllowTcpForwarding, PermitOpen", "-j")
        if target.is_unix:
            options = ("AllowStreamLocalForwarding", "-j")
        return sentences.target_forbidden(via, target, said, server.decides(*options))
    if cause is Refusal.UNKNOWN_TYPE:
        return sentences.forwards_unknown(via, target, said, server)
    if cause is Refusal.REFUSED:
        return sentences.target_refused_there(via, target)
    facts = [Fact.NO_NAME] if cause is Refusal.NO_NAME else []
    return sentences.target_unreachable_there(via, target, said, server, facts)


def target_failure(forward: Forward, target: Endpoint, error: OSError) -> Failure:
    """The failure for a target on this side that could not be connected to."""
    if isinstance(error, ConnectionRefusedError | FileNotFoundError):
        return sentences.target_refused_here(forward, target)
    return sentences.target_unreachable_here(forward, target, reason_of(error))


def reason_of(error: OSError) -> str:
    """The system's text for an error: asyncio puts its own into `strerror`, and peers recognize a
    refusal by the text of OpenSSH's server."""
    if isinstance(error, TimeoutError):
        return "Connection timed out"
    if isinstance(error, socket.gaierror) or error.errno is None:
        return error.strerror or str(error)
    return os.strerror(error.errno)
