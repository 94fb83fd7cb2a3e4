"""Proves the forward of docker-compose.yml from a container that can reach only the daemon.

Prints what it proved and exits with 0; at the first failure it exits with 1. Uses the standard
library only: its image has nothing else.
"""

from __future__ import annotations

import http.client
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

DAEMON = ("daemon", 8080)
HIDDEN = (("web", 8000), ("sshd", 2222))
PAGE = "Hello from behind the SSH server."
TIMEOUT = 10.0  # seconds


def unreachable(address: tuple[str, int]) -> str:
    """The reason why this container cannot connect to the address.

    Raises:
        AssertionError: it can connect, so the forward would prove nothing.
    """
    try:
        socket.create_connection(address, TIMEOUT).close()
    except OSError as error:
        return str(error)
    raise AssertionError(f"{address[0]}:{address[1]} can be reached without the tunnel")


def page(address: tuple[str, int]) -> str:
    """The page at the address.

    Raises:
        AssertionError: the answer is not 200.
        OSError: no answer.
    """
    connection = http.client.HTTPConnection(*address, timeout=TIMEOUT)
    try:
        connection.request("GET", "/")
        response = connection.getresponse()
        if response.status != http.HTTPStatus.OK:
            raise AssertionError(f"GET answered {response.status}")
        return response.read().decode().strip()
    finally:
        connection.close()


def main() -> int:
    """Run the proof; returns the exit code."""
    try:
        with ThreadPoolExecutor() as pool:  # resolving an unknown name may take a while
            for (host, port), reason in zip(HIDDEN, pool.map(unreachable, HIDDEN), strict=True):
                print(f"ok: {host}:{port} cannot be reached from here: {reason}")
        text = page(DAEMON)
        if text != PAGE:
            raise AssertionError(f"another page answers: {text!r}")
        print(f"ok: GET http://{DAEMON[0]}:{DAEMON[1]}/ -> 200 {text!r}")
    except (AssertionError, OSError, http.client.HTTPException) as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    print("proved: test -> daemon:8080 ==SSH==> sshd:2222 -> web:8000")
    return 0


if __name__ == "__main__":
    sys.exit(main())
