"""paramiko's server on 127.0.0.1, with forwards as its users write them: a thread each.

python paramiko_server.py PORT HOST_KEY AUTHORIZED_KEYS USER PASSWORD
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from pathlib import Path

import paramiko
from paramiko.common import (
    AUTH_FAILED,
    AUTH_SUCCESSFUL,
    OPEN_FAILED_CONNECT_FAILED,
    OPEN_FAILED_UNKNOWN_CHANNEL_TYPE,
    OPEN_SUCCEEDED,
)

_PORT, _HOST_KEY, _AUTHORIZED_KEYS, _USER, _PASSWORD = sys.argv[1:]
_KEYS = {line.split()[1] for line in Path(_AUTHORIZED_KEYS).read_text().splitlines()}
_CHUNK = 32768


class Server(paramiko.ServerInterface):
    """One connection's logins and forwards."""

    def __init__(self, transport: paramiko.Transport) -> None:
        self._transport = transport
        self._targets: dict[int, socket.socket] = {}
        self._listeners: dict[tuple[str, int], socket.socket] = {}

    def get_allowed_auths(self, username: str) -> str:
        """The methods that a client may try."""
        return "publickey,password"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        """One of authorized_keys."""
        return AUTH_SUCCESSFUL if key.get_base64() in _KEYS else AUTH_FAILED

    def check_auth_password(self, username: str, password: str) -> int:
        """The password."""
        right = (username, password) == (_USER, _PASSWORD)
        return AUTH_SUCCESSFUL if right else AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        """No session, and nothing else."""
        return OPEN_FAILED_UNKNOWN_CHANNEL_TYPE

    def check_channel_direct_tcpip_request(
        self, chanid: int, origin: tuple[str, int], destination: tuple[str, int]
    ) -> int:
        """Dial first."""
        try:
            self._targets[chanid] = socket.create_connection(destination)
        except OSError:
            return OPEN_FAILED_CONNECT_FAILED
        return OPEN_SUCCEEDED

    def check_port_forward_request(self, address: str, port: int) -> int | bool:
        """Listen; the port that was chosen."""
        try:
            listener = socket.create_server((address, port))
        except OSError:
            return False
        chosen: int = listener.getsockname()[1]
        self._listeners[address, chosen] = listener
        threading.Thread(target=self._listen, args=(listener, address, chosen), daemon=True).start()
        return chosen

    def cancel_port_forward_request(self, address: str, port: int) -> None:
        """Listen no more."""
        listener = self._listeners.pop((address, port), None)
        if listener is not None:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _listen(self, listener: socket.socket, address: str, port: int) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, origin = listener.accept()
                threading.Thread(
                    target=self._forward, args=(client, origin, (address, port)), daemon=True
                ).start()

    def _forward(
        self, client: socket.socket, origin: tuple[str, int], server: tuple[str, int]
    ) -> None:
        try:
            channel = self._transport.open_forwarded_tcpip_channel(origin, server)
        except paramiko.SSHException:
            client.close()
        else:
            relay(channel, client)

    def serve(self) -> None:
        """The channels that are opened, until the connection ends."""
        while self._transport.is_active():
            channel = self._transport.accept(1)
            if channel is not None:
                sock = self._targets.pop(channel.get_id())
                threading.Thread(target=relay, args=(channel, sock), daemon=True).start()
        for address, port in list(self._listeners):
            self.cancel_port_forward_request(address, port)


def relay(channel: paramiko.Channel, sock: socket.socket) -> None:
    """Both directions, each to its own end."""

    def to_channel() -> None:
        with contextlib.suppress(OSError):
            while data := sock.recv(_CHUNK):
                channel.sendall(data)
            channel.shutdown_write()

    sender = threading.Thread(target=to_channel, daemon=True)
    sender.start()
    with contextlib.suppress(OSError):
        while data := channel.recv(_CHUNK):
            sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
    sender.join()
    channel.close()
    sock.close()


def serve(connection: socket.socket) -> None:
    """One connection, from the version line to its end."""
    transport = paramiko.Transport(connection)
    transport.add_server_key(paramiko.Ed25519Key.from_private_key_file(_HOST_KEY))
    server = Server(transport)
    with contextlib.suppress(paramiko.SSHException, EOFError):
        transport.start_server(server=server)
        server.serve()
    transport.close()


with socket.create_server(("127.0.0.1", int(_PORT)), backlog=128) as doorway:
    while True:
        arrived, _ = doorway.accept()
        threading.Thread(target=serve, args=(arrived,), daemon=True).start()
