"""paramiko's Transport, restricted to what is safe and given our packet layer.

Owns the algorithms that are offered. Must never offer CBC, 3DES, MD5, SHA-1, compression or
host certificates (which paramiko accepts without a check), and never accept a channel: after
authentication the loop handles the connection protocol by itself.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import paramiko

from tunnelctl.spec.algorithms import CIPHERS
from tunnelctl.ssh.packetizer import SshPacketizer
from tunnelctl.wire.messages import Message, ProtocolError, Reader

MACS = (
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha2-256",
    "hmac-sha2-512",
)
KEX_ALGORITHMS = (
    "mlkem768x25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group-exchange-sha256",
)
HOST_KEY_ALGORITHMS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)


class _Nothing:
    """Stands in for a socket that is somebody else's now."""

    _closed = True

    def close(self) -> None:
        """Nothing to close."""


class SshTransport(paramiko.Transport):
    """Key exchange and authentication over a connected socket.

    `host_key_algorithms` and `ciphers` say what is offered, in order; empty for all of the
    allow-list. `deadline` is a moment of `clock.monotonic` at which every wait ends.
    """

    packetizer: SshPacketizer
    sock: Any  # a socket until it is given up
    # paramiko's, which its type stubs leave out.
    agreed_on_strict_kex: bool
    server_extensions: dict[str, bytes]
    _handler_table: dict[int, Callable[[paramiko.Message], None]]
    _kex_info: ClassVar[dict[str, type]]
    _CLIENT_ID = "tunnelctl"

    def __init__(
        self,
        sock: socket.socket,
        *,
        host_key_algorithms: Sequence[str] = (),
        ciphers: Sequence[str] = (),
    ) -> None:
        super().__init__(sock, packetizer_class=SshPacketizer)
        # What it would say at ERROR reaches people as a Failure with the host's name.
        self.logger = logging.getLogger("tunnelctl.paramiko")
        self._preferred_ciphers = tuple(ciphers) or CIPHERS
        self._preferred_macs = MACS
        # paramiko leaves out what its build of cryptography cannot do.
        self._preferred_kex = tuple(name for name in KEX_ALGORITHMS if name in self.preferred_kex)
        self._preferred_keys = tuple(host_key_algorithms) or HOST_KEY_ALGORITHMS
        self._preferred_pubkeys = HOST_KEY_ALGORITHMS
        self._handler_table[Message.EXT_INFO] = self._note_extensions

    @property
    def preferred_keys(self) -> tuple[str, ...]:
        """Without the certificate types that paramiko adds to every key type."""
        return self._preferred_keys

    @property
    def deadline(self) -> float | None:
        """The moment of `clock.monotonic` at which the handshake is given up."""
        return self.packetizer.deadline

    @deadline.setter
    def deadline(self, moment: float | None) -> None:
        self.packetizer.deadline = moment

    @property
    def kex_name(self) -> str:
        """The key exchange method that was agreed on."""
        known: dict[str, type] = self._kex_info
        return next((name for name, kind in known.items() if type(self.kex_engine) is kind), "")

    def _note_extensions(self, message: paramiko.Message) -> None:
        """RFC 8308. paramiko's own reading believes any number of extensions, and counts to it."""
        reader = Reader(message.asbytes())
        try:
            pairs = [(reader.text(), reader.string()) for _ in range(reader.u32())]
        except ProtocolError as error:
            raise paramiko.SSHException(str(error)) from None
        self.server_extensions = dict(pairs)

    def give_up_socket(self) -> None:
        """Leave the socket to the loop: the thread's end must not close it any more."""
        self.sock = _Nothing()

    def close(self) -> None:
        """End the thread and close the socket, also of a transport that was never started."""
        self.active = False
        self.packetizer.close()
        if self.is_alive():
            self.join()
        self.sock.close()


logging.getLogger("tunnelctl.paramiko").setLevel(logging.CRITICAL + 1)
