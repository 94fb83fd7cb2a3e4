"""Proves a forward of a compose file from a container that can reach only its listening address.

    prove.py [LISTEN HIDDEN…]    addresses as HOST:PORT; the default is docker-compose.yml's

Prints what it proved and exits with 0; at the first failure it exits with 1. Uses the standard
library only: its image has nothing else.
"""

from __future__ import annotations

import http.client
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

LISTEN = "daemon:8080"
HIDDEN = ("web:8000", "sshd:2222")
PAGE = "Hello from behind the SSH server."
TIMEOUT = 10.0  # seconds


def split(address: str) -> tuple[str, int]:
    """The host and the port of `HOST:PORT`."""
    host, _, port = address.rpartition(":")
    return host, int(port)


def unreachable(address: str) -> str:
    """The reason why this container cannot connect to the address.

    Raises:
        AssertionError: it can connect, so the forward would prove nothing.
    """
    try:
        socket.create_connection(split(address), TIMEOUT).close()
    except OSError as error:
        return str(error)
    raise AssertionError(f"{address} can be reached without the tunnel")


def page(address: str) -> str:
    """The page at the address.

    Raises:
        AssertionError: the answer is not 200.
        OSError: no answer.
    """
    connection = http.client.HTTPConnection(*split(address), timeout=TIMEOUT)
    try:
        connection.request("GET", "/")
        response = connection.getresponse()
        if response.status != http.HTTPStatus.OK:
            raise AssertionError(f"GET answered {response.status}")
        return response.read().decode().strip()
    finally:
        connection.close()


def main(arguments: list[str]) -> int:
    """Run the proof; returns the exit code."""
    listen, *hidden = arguments or (LISTEN, *HIDDEN)
    try:
        with ThreadPoolExecutor() as pool:  # resolving an unknown name may take a while
            for address, reason in zip(hidden, pool.map(unreachable, hidden), strict=True):
                print(f"ok: {address} cannot be reached from here: {reason}")
        text = page(listen)
        if text != PAGE:
            raise AssertionError(f"another page answers: {text!r}")
        print(f"ok: GET http://{listen}/ -> 200 {text!r}")
    except (AssertionError, OSError, http.client.HTTPException) as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    print(f"proved: {listen} leads to a page that cannot be reached from here")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
