"""The settings of a link, and what was negotiated with its peer: plain values."""

from __future__ import annotations

import socket

from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.endpoint import bracketed
from tunnelctl.spec.host import SessionType
from tunnelctl.ssh.packets.transport import SshTransport
from tunnelctl.ssh.software import Software

_TEXT_MAX = 500


@dataclass(frozen=True, slots=True)
class LinkInfo:
    """The result of the negotiation with the peer."""

    address: str  # the address that was connected to, HOST:PORT
    cipher: str
    mac: str | None  # None: the cipher authenticates by itself
    kex: str
    host_key: str  # the algorithm of its proof
    server: str  # its software version, without "SSH-2.0-"
    strict_kex: bool

    @property
    def software(self) -> Software:
        """`server`, with its known properties."""
        return Software(self.server)

    @classmethod
    def of(cls, transport: SshTransport, address: str) -> LinkInfo:
        """From the transport's negotiation with a peer at `address`."""
        return cls(
            address=address,
            cipher=transport.local_cipher,
            mac=transport.mac_name,
            kex=transport.kex_name,
            host_key=transport.host_key_type or "",
            server=printable_word(transport.remote_version.split("-", 2)[-1]),
            strict_kex=transport.agreed_on_strict_kex,
        )


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """The settings of a link. `title` names the peer in failures; seconds and bytes.

    `hop` is the name of the peer if it is a jump host. `address` is that of the peer, if the socket
    is connected to something else.
    """

    title: str
    hop: str = ""
    address: str = ""
    server_alive_interval: float = 15.0
    server_alive_count_max: int = 3
    rekey_limit: int | None = None
    session_type: SessionType = SessionType.NONE

    @property
    def peer(self) -> tuple[str, str]:
        """`title` and `hop`, the arguments of sentences."""
        return self.title, self.hop


def printable_word(text: str) -> str:
    """Text of the peer, without control characters."""
    return "".join(c if c.isprintable() else "?" for c in text.strip()[:_TEXT_MAX])


def peer_address(sock: socket.socket) -> str:
    """The peer of a socket, as HOST:PORT."""
    try:
        host, port = sock.getpeername()[:2]
    except OSError:  # reset since the login: the stream is about to report it
        host, port = "", 0
    return f"{bracketed(host)}:{port}"
