"""paramiko's Transport, restricted to what is safe and given our packet layer.

Owns the algorithms that are offered. Must never offer CBC, 3DES, MD5, SHA-1 or compression, and
never accept a channel: after authentication the loop handles the connection protocol by itself.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import paramiko
from paramiko.kex_curve25519 import KexCurve25519

from tunnelctl.spec.algorithms import (
    CIPHERS,
    HOST_KEY_ALGORITHMS,
    KEX_ALGORITHMS,
    MACS,
    USER_KEY_ALGORITHMS,
)
from tunnelctl.ssh.packetizer import SshPacketizer
from tunnelctl.wire.messages import Message, ProtocolError, Reader


class _Curve25519(KexCurve25519):
    """The same method under the name that RFC 8731 gave it; paramiko knows only the older one."""


class _Nothing:
    """Stands in for a socket that is somebody else's now."""

    _closed = True

    def close(self) -> None:
        """Nothing to close."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What is offered to the peer, in order of preference."""

    kex: tuple[str, ...] = KEX_ALGORITHMS
    host_keys: tuple[str, ...] = HOST_KEY_ALGORITHMS
    ciphers: tuple[str, ...] = CIPHERS
    macs: tuple[str, ...] = MACS


ALL = Offer()


class SshTransport(paramiko.Transport):
    """Key exchange and authentication over a connected socket.

    `offer` says what is offered, in order. `deadline` is a moment of `clock.monotonic` at which
    every wait ends.
    """

    packetizer: SshPacketizer
    sock: Any  # a socket until it is given up
    # paramiko's, which its type stubs leave out.
    agreed_on_strict_kex: bool
    server_extensions: dict[str, bytes]
    _handler_table: dict[int, Callable[[paramiko.Message], None]]
    # Only what paramiko can do on this machine.
    _kex_info: ClassVar[dict[str, type]] = {
        **paramiko.Transport._kex_info,  # type: ignore[attr-defined]  # not in its stubs
        **({"curve25519-sha256": _Curve25519} if KexCurve25519.is_available() else {}),
    }
    _cipher_info: ClassVar[dict[str, dict[str, Any]]]
    _CLIENT_ID = "tunnelctl"

    def __init__(self, sock: socket.socket, offer: Offer = ALL) -> None:
        super().__init__(sock, packetizer_class=SshPacketizer)
        # What it would say at ERROR reaches people as a Failure with the host's name.
        self.logger = logging.getLogger("tunnelctl.paramiko")
        self._preferred_ciphers = offer.ciphers
        self._preferred_macs = offer.macs
        # paramiko leaves out what its build of cryptography cannot do.
        self._preferred_kex = tuple(name for name in offer.kex if name in self._kex_info)
        self._preferred_keys = offer.host_keys
        self._preferred_pubkeys = USER_KEY_ALGORITHMS
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

    @property
    def mac_name(self) -> str | None:
        """What authenticates the packets that we send; None where the cipher does."""
        return None if self._cipher_info[self.local_cipher].get("is_aead") else self.local_mac

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
        self.completion_event = None  # nobody waits for the first key exchange any more

    def close(self) -> None:
        """End the thread and close the socket, also of a transport that was never started."""
        self.active = False
        self.packetizer.close()
        if self.is_alive():
            self.join()
        self.sock.close()


logging.getLogger("tunnelctl.paramiko").setLevel(logging.CRITICAL + 1)
