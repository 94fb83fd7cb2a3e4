"""The client's Transport: it records what the server sent during the handshake.

Owns the parsing of the server's version line, the record of the server's words and offers, and the
rule that a later key exchange must present the host key that was verified first. Must never decide
anything about that key: handshake.py does.
"""

from __future__ import annotations

import socket

import paramiko
from paramiko.ssh_exception import IncompatiblePeer

from tunnelctl.ssh.keys.agent import ProvenHost
from tunnelctl.ssh.keys.certificates import key_type_of, plain, plain_key
from tunnelctl.ssh.keys.key_files import key_type
from tunnelctl.ssh.keys.signatures import verify
from tunnelctl.ssh.packets.incompatible import Mismatch, mismatches
from tunnelctl.ssh.packets.kexinit import Proposal
from tunnelctl.ssh.packets.transport import ALL, Offer, SshTransport
from tunnelctl.wire.messages import Message, ProtocolError, Reader, string, u32

# RFC 4253 section 4.2 lets a server send other lines first; OpenSSH has the same limit (kex.c).
_LINES_BEFORE_VERSION = 1024
_VERSIONS = ("2.0", "1.99")  # RFC 4253 section 5.1: a 1.99 server also speaks 2.0
# Requests the signature algorithms for the user, which depend on the user's name (OpenSSH kex.c,
# kex_compose_ext_info_client).
_EXTENSIONS = (
    bytes((Message.EXT_INFO,)) + u32(1) + string("ext-info-in-auth@openssh.com") + string("0")
)


class ClientTransport(SshTransport):
    """An `SshTransport` that records why no session was established.

    `said` is the text of the server's DISCONNECT, or its first line if no version line came.
    `disconnect_code` is that of RFC 4253 section 11.1. `host_key_blob` is the server's key or
    certificate, byte for byte, once the first key exchange has proved that the server owns it.
    `greeted`: our version line was already sent (greeting.py).
    """

    def __init__(
        self,
        sock: socket.socket,
        offer: Offer = ALL,
        *,
        greeted: bool = False,
    ) -> None:
        super().__init__(sock, offer)
        self.packetizer.skips_write = greeted  # the thread's first line is that version line
        self.said = ""
        self.disconnect_code = 0
        self.host_key_blob = b""
        self._signature = b""  # of the first key exchange
        self._kex_name = ""

    @property
    def kex_name(self) -> str:
        """The key exchange method of the last key exchange, which paramiko forgets at NEWKEYS."""
        return self._kex_name

    @property
    def session(self) -> ProvenHost:
        """The session in the form that an agent takes, once the first key exchange is done."""
        assert self.session_id is not None
        return ProvenHost(self.host_key_blob, self.session_id, self._signature)

    @property
    def agreed(self) -> str:
        """The algorithms that the first key exchange agreed on, for a person."""
        names = (self.kex_name, self.local_cipher, self.mac_name or "")
        strict = "strict key exchange" if self.agreed_on_strict_kex else "no strict key exchange"
        return ", ".join((*filter(None, names), strict))

    @property
    def nothing_in_common(self) -> list[Mismatch]:
        """Every list without a common name, if that is why the key exchange failed."""
        if self._proposal is None or self.local_kex_init is None:
            return []
        ours = Proposal.read(self.local_kex_init[1:])
        return list(mismatches(ours, self._proposal, self._authenticates))

    def _activate_outbound(self) -> None:
        """Send our NEWKEYS, and after the first one our extensions (RFC 8308 section 2.4)."""
        super()._activate_outbound()  # type: ignore[misc]  # not in paramiko's stubs
        # paramiko keeps it from the first key exchange, the only one where it has a meaning.
        if self._remote_ext_info == "ext-info-s":
            self.packetizer.send_message(paramiko.Message(_EXTENSIONS))

    def _check_banner(self) -> None:
        """Read lines up to the version (called by the thread before the key exchange).

        paramiko would give each line its own timeout, and drop the other lines: in these sshd says
        why it refuses the connection (PerSourcePenalties, MaxStartups).
        """
        for _ in range(_LINES_BEFORE_VERSION):
            line = self.packetizer.readline(0)
            if line.startswith("SSH-"):
                break
            self.said = self.said or line
        else:
            raise paramiko.SSHException("the peer sends lines without end and no SSH version")
        self.said = ""
        self.remote_version = line
        parts = line.split("-", 2)
        if len(parts) < 3:
            raise paramiko.SSHException(f"a version line without a version: {line}")
        if parts[1] not in _VERSIONS:
            raise IncompatiblePeer(f"the server speaks {line}, not SSH-2.0")

    def _parse_disconnect(self, message: paramiko.Message) -> None:
        reader = Reader(message.asbytes())
        self.disconnect_code = reader.u32()
        self.said = reader.text()

    def _verify_key(self, host_key: bytes, signature: bytes) -> None:
        """Check the signature of a key exchange, and that a later one presents the same key.

        paramiko's own check accepts a signature by any algorithm of the key, not only by the agreed
        one.
        """
        wanted, exchange_hash = self.host_key_type, self.H
        assert wanted is not None
        assert exchange_hash is not None
        if self.host_key_blob and host_key != self.host_key_blob:
            raise paramiko.SSHException("another host key was shown in a later key exchange")
        try:
            key = plain_key(host_key) if key_type(host_key) == key_type_of(wanted) else b""
        except ProtocolError:
            key = b""
        if not key or not verify(key, signature, exchange_hash, (plain(wanted),)):
            raise paramiko.SSHException(f"the signature of the host key ({wanted}) is wrong")
        self.host_key_blob = bytes(host_key)
        self._signature = self._signature or bytes(signature)
        self._kex_name = super().kex_name
