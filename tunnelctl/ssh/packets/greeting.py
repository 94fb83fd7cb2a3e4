"""The beginning of a connection to a server: our version line, and the wait for its first byte.

A server that never speaks is waited for here, on the loop, where waiting costs a descriptor; the
thread of a handshake, and its place, are for servers that do.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

from tunnelctl import clock
from tunnelctl.spec.host import Host
from tunnelctl.ssh.failures import During, peer_failure
from tunnelctl.ssh.packets.transport import VERSION


def greet(sock: socket.socket) -> None:
    """Send our version line, over a connection on which nothing was sent yet.

    Both sides send theirs unasked (RFC 4253 section 4.2), and some servers wait for the client's.
    """
    with contextlib.suppress(OSError):  # it is gone; the next read reports it
        sock.send(f"{VERSION}\r\n".encode())


async def spoken(sock: socket.socket, host: Host, deadline: float) -> None:
    """Return once the server has sent something, or has ended the connection.

    Raises:
        Failure: timed-out, at `deadline` (a moment of `clock.monotonic`).
    """
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(sock, readable.set)
    try:
        async with asyncio.timeout(max(0.0, deadline - clock.monotonic())):
            await readable.wait()
    except TimeoutError as error:
        raise peer_failure(host, error, During.KEY_EXCHANGE) from None
    finally:
        loop.remove_reader(sock)
