"""SOCKS clients: raw ones, who see every byte of the answer, and curl."""

from __future__ import annotations

import ipaddress
import shutil
import socket
import struct
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.support.clients import receive_exactly
from tests.support.services import Service, connect

GREETING = b"\5\1\0"
CONNECT, BIND, UDP_ASSOCIATE = 1, 2, 3


def request5(host: str, port: int, command: int = CONNECT) -> bytes:
    """A SOCKS 5 request (RFC 1928 section 4): by address where `host` is one, else by name."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        kind, where = 3, bytes((len(host),)) + host.encode()
    else:
        kind, where = (1 if address.version == 4 else 4), address.packed
    return struct.pack(">BBBB", 5, command, 0, kind) + where + struct.pack(">H", port)


def request4(host: str, port: int, command: int = CONNECT) -> bytes:
    """A SOCKS 4 request where `host` is an IPv4 address, else one of SOCKS 4a."""
    try:
        address, name = ipaddress.IPv4Address(host).packed, b""
    except ValueError:
        address, name = b"\0\0\0\1", host.encode() + b"\0"
    return struct.pack(">BBH", 4, command, port) + address + b"me\0" + name


@dataclass
class Asked:
    """A connection after its request was answered: with 0 (SOCKS 5) or 90 (4) it is open."""

    connection: socket.socket
    code: int

    def ends(self) -> bool:
        """Whether the other side sent FIN, and nothing before it; closes."""
        with self.connection:
            return self.connection.recv(1) == b""


def ask5(proxy: int, host: str, port: int, command: int = CONNECT, early: bytes = b"") -> Asked:
    """Ask a SOCKS 5 proxy on 127.0.0.1:`proxy`; the caller closes the connection."""
    with ExitStack() as unless_it_answers:
        connection = unless_it_answers.enter_context(connect(proxy))
        connection.sendall(GREETING)
        assert receive_exactly(connection, 2) == b"\5\0"
        connection.sendall(request5(host, port, command) + early)
        reply = receive_exactly(connection, 10)
        assert reply[0] == 5
        assert reply[2:4] == b"\0\1"
        unless_it_answers.pop_all()
    return Asked(connection, reply[1])


def ask4(proxy: int, host: str, port: int, command: int = CONNECT, early: bytes = b"") -> Asked:
    """The same with SOCKS 4 or 4a."""
    with ExitStack() as unless_it_answers:
        connection = unless_it_answers.enter_context(connect(proxy))
        connection.sendall(request4(host, port, command) + early)
        reply = receive_exactly(connection, 8)
        assert reply[0] == 0
        unless_it_answers.pop_all()
    return Asked(connection, reply[1])


def curl(option: str, proxy: int, url: str) -> str:
    """The body that curl gets through the proxy; `option` is one of its ways to speak SOCKS."""
    program = shutil.which("curl")
    if program is None:
        pytest.skip("curl is not installed")
    # Where it resolves the name itself, curl tries one address only, which is ::1 first since 8.
    family = () if "[" in url else ("-4",)
    done = subprocess.run(
        [program, "-sS", *family, "--noproxy", "", "-m", "30", option, f"127.0.0.1:{proxy}", url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{option}: {done.stderr}"
    return done.stdout


class PageService(Service):
    """One web page for whatever is asked."""

    def __init__(self, page: str, host: str = "127.0.0.1", port: int = 0) -> None:
        self._page = page.encode()
        super().__init__(self._answer, port, host)

    def _answer(self, connection: socket.socket) -> None:
        asked = b""
        while b"\r\n\r\n" not in asked:
            piece = connection.recv(4096)
            if not piece:
                return
            asked += piece
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(self._page)}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode() + self._page)
