"""Proxies for tests: SOCKS 5 with a user and password, HTTP CONNECT, and answers of a script.

Each listens on 127.0.0.1, serves a connection in a thread, and remembers what it was asked for.
"""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Mapping

from tests.support.clients import receive_exactly
from tests.support.services import CHUNK, Service


def carry(client: socket.socket, target: socket.socket) -> None:
    """Pass bytes on, both ways, until both directions have ended."""

    def one_way(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(CHUNK):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            for end in (source, sink):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue

    back = threading.Thread(target=one_way, args=(target, client), name="proxy")
    back.start()
    one_way(client, target)
    back.join()


class Socks5Proxy(Service):
    """SOCKS 5 as RFC 1928 and 1929 have it. `names` are the only ones that it can resolve."""

    def __init__(self, names: Mapping[str, str], login: tuple[str, str] | None = None) -> None:
        self._names = names
        self._login = login
        self.asked: list[str] = []
        super().__init__(self._talk)

    def _talk(self, client: socket.socket) -> None:
        _, count = receive_exactly(client, 2)
        offered = receive_exactly(client, count)
        wanted = 0 if self._login is None else 2
        if wanted not in offered:
            client.sendall(b"\5\xff")
            return
        client.sendall(bytes((5, wanted)))
        if self._login is not None and not self._logs_in(client):
            return
        _, _, _, kind = receive_exactly(client, 4)
        if kind == 3:
            name = receive_exactly(client, receive_exactly(client, 1)[0]).decode()
        else:
            family = socket.AF_INET if kind == 1 else socket.AF_INET6
            name = socket.inet_ntop(family, receive_exactly(client, 4 if kind == 1 else 16))
        port = int.from_bytes(receive_exactly(client, 2), "big")
        self.asked.append(name)
        address = self._names.get(name)
        if address is None:
            client.sendall(b"\5\4\0\1\0\0\0\0\0\0")
            return
        with socket.create_connection((address, port)) as target:
            # The address it was connected from is a name here, which is allowed and rare.
            client.sendall(b"\5\0\0\3\4here\0\0")
            carry(client, target)

    def _logs_in(self, client: socket.socket) -> bool:
        receive_exactly(client, 1)
        words = [receive_exactly(client, receive_exactly(client, 1)[0]).decode() for _ in range(2)]
        accepted = tuple(words) == self._login
        client.sendall(b"\1\0" if accepted else b"\1\1")
        return accepted


class HttpProxy(Service):
    """HTTP CONNECT. `greeting` goes out before the final answer, e.g. an interim response."""

    def __init__(self, login: tuple[str, str] | None = None, greeting: bytes = b"") -> None:
        self._login = login
        self._greeting = greeting
        self.asked: list[str] = []
        super().__init__(self._talk)

    def _talk(self, client: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += receive_exactly(client, 1)
        request, *fields = head.decode().split("\r\n")
        method, authority, version = request.split(" ")
        assert (method, version) == ("CONNECT", "HTTP/1.1")
        assert f"Host: {authority}" in fields
        self.asked.append(authority)
        if self._login is not None:
            basic = base64.b64encode(":".join(self._login).encode()).decode()
            if f"Proxy-Authorization: Basic {basic}" not in fields:
                client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
                return
        name, _, port = authority.rpartition(":")
        with socket.create_connection((name.strip("[]"), int(port))) as target:
            # The server's first bytes go out in one piece with the answer.
            first = target.recv(CHUNK)
            client.sendall(self._greeting + b"HTTP/1.1 200 Go ahead\r\nVia: test\r\n\r\n" + first)
            carry(client, target)


class ScriptedProxy(Service):
    """Reads what comes first, sends `answers` one after another, each after something came, and
    then waits for the client's end; `hangs_up` closes instead."""

    def __init__(self, *answers: bytes, hangs_up: bool = False) -> None:
        self._answers = answers
        self._hangs_up = hangs_up
        super().__init__(self._talk)

    def _talk(self, client: socket.socket) -> None:
        for answer in self._answers:
            client.recv(CHUNK)
            client.sendall(answer)
        if not self._hangs_up:
            while client.recv(CHUNK):
                pass
