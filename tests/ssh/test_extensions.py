"""EXT_INFO (RFC 8308): which signatures a server takes of a user, told again once he has a name."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paramiko
import pytest
from paramiko.common import AUTH_SUCCESSFUL

from tests.ssh.clients import fails, logged_in
from tests.support.hostile import HostileServer
from tests.support.keys import KeyKind, write_key
from tunnelctl.errors import Code
from tunnelctl.spec.host import Host
from tunnelctl.ssh.keys.certificates import fingerprint
from tunnelctl.ssh.packets.transport import Offer, SshTransport
from tunnelctl.wire.messages import Message, Reader, string, u32

# Of everybody, and of the user.
PUBKEYS: Any = ("ssh-ed25519",)
HIS_PUBKEYS: Any = ("ssh-ed25519", "rsa-sha2-256")
IN_AUTH = "ext-info-in-auth@openssh.com"


def ext_info(**extensions: str) -> bytes:
    pairs = b"".join(
        string(name.replace("_", "-")) + string(value) for name, value in extensions.items()
    )
    return bytes((Message.EXT_INFO,)) + u32(len(extensions)) + pairs


class Server(SshTransport):
    """As OpenSSH 9.6 and later with `Match User`: it takes ed25519 of everybody, and of a user what
    it `says` before it answers his first request, if the client wants to hear of it."""

    def __init__(self, sock: socket.socket, says: tuple[bytes, ...], *, announces: bool) -> None:
        super().__init__(sock, Offer(kex=("curve25519-sha256",)))
        self._preferred_pubkeys = PUBKEYS
        self._says = says
        self.heard: list[dict[str, bytes]] = []
        self._handler_table[Message.EXT_INFO] = self._hear
        if announces:
            self._preferred_kex += ("ext-info-s",)

    def _hear(self, message: paramiko.Message) -> None:
        reader = Reader(message.asbytes())
        self.heard.append({reader.text(): reader.string() for _ in range(reader.u32())})

    def knows_user(self) -> None:
        """Somebody has said his name."""
        self._preferred_pubkeys = HIS_PUBKEYS
        if self.heard and IN_AUTH in self.heard[0]:
            for payload in self._says:
                self.packetizer.send_message(paramiko.Message(payload))
            self._says = ()


class AnyKey(paramiko.ServerInterface):
    """Lets in whoever has a key."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def get_allowed_auths(self, username: str) -> str:
        self._server.knows_user()
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return AUTH_SUCCESSFUL


@contextmanager
def serving(
    tmp_path: Path, *says: bytes, announces: bool = True
) -> Iterator[tuple[Host, list[Server]]]:
    """A host with that server, to which an RSA key is the only one there is."""
    key = paramiko.ECDSAKey.generate()
    identity = tmp_path / "id_rsa"
    write_key(identity, KeyKind.RSA)
    servers: list[Server] = []

    def serve(connection: socket.socket) -> None:
        server = Server(connection, says, announces=announces)
        servers.append(server)
        server.add_server_key(key)
        server.packetizer.when_parked(server.packetizer.end)  # a login is all that is wanted
        with contextlib.suppress(paramiko.SSHException, EOFError):
            server.start_server(threading.Event(), AnyKey(server))
        server.join()

    with HostileServer(serve) as hostile:
        yield (
            Host(
                name="server",
                hostname="127.0.0.1",
                port=hostile.port,
                user="somebody",
                identity_agent="none",
                identity_file=(str(identity),),
                identities_only=True,
                host_key=(fingerprint(key.asbytes()),),
            ),
            servers,
        )


def test_signatures_that_are_taken_of_this_user_alone(tmp_path: Path) -> None:
    with serving(tmp_path, ext_info(server_sig_algs=",".join(HIS_PUBKEYS))) as (host, servers):
        with logged_in(host) as transport:
            assert transport.server_extensions["server-sig-algs"] == b"ssh-ed25519,rsa-sha2-256"
        assert servers[0].heard == [{IN_AUTH: b"0"}]


def test_what_the_second_message_does_not_name_stays(tmp_path: Path) -> None:
    """As OpenSSH has it, whose second message has one extension."""
    with serving(tmp_path, ext_info(something="else")) as (host, _):
        failure = fails(Code.AUTH_FAILED, host)
        assert "the server takes no SHA-2 signature of an RSA key" in failure.message


def test_a_server_that_does_not_ask_is_told_nothing(tmp_path: Path) -> None:
    """RFC 8308 section 2.1: a side that has not said ext-info may not know the message."""
    with serving(tmp_path, announces=False) as (host, servers):
        fails(Code.AUTH_FAILED, host)
        assert servers[0].heard == []


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        ((ext_info(a="b"),) * 2, "again and again"),
        ((ext_info(a="b")[:7],), "shorter"),
        ((bytes((Message.EXT_INFO,)) + b"\xff\xff\xff\xff",), "shorter"),
    ],
)
def test_a_server_that_tells_nonsense(tmp_path: Path, says: tuple[bytes, ...], reason: str) -> None:
    with serving(tmp_path, *says) as (host, _):
        assert reason in fails(Code.HANDSHAKE_FAILED, host).message
