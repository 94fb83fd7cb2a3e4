"""Connections to a target on this side: of a remote forward, or of the embedded server.

Owns nothing once the socket is handed over. Must never block on a name, and never leave a
socket behind when it fails.
"""

from __future__ import annotations

import asyncio
import errno
import socket

from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.wire.connection import IncomingOpen
from tunnelctl.wire.messages import OpenFailure

_CONNECT_SECONDS = 15.0


async def connect_target(loop: asyncio.AbstractEventLoop, target: Endpoint) -> socket.socket:
    """A connected, non-blocking socket; every address of the name is tried in order.

    Raises:
        OSError: of the last address tried, or of the name.
    """
    found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    last: OSError = OSError(errno.EADDRNOTAVAIL, "no address")
    for family, kind, protocol, _, address in found:
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.timeout(_CONNECT_SECONDS):
                await loop.sock_connect(sock, address)
        except OSError as error:  # TimeoutError is one
            sock.close()
            last = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise last


def reject_unreachable(incoming: IncomingOpen, error: OSError) -> None:
    """Tell the peer why its connection cannot be made, in the words of OpenSSH's server."""
    incoming.reject(OpenFailure.CONNECT_FAILED, error.strerror or str(error) or "timed out")
