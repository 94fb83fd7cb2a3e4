"""paramiko's Transport, restricted to safe algorithms and with our packet layer.

Owns the algorithms that are offered. Must never offer CBC, 3DES, MD5, SHA-1 or compression, and
never accept a channel: after authentication the loop handles the connection protocol itself.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import Any, ClassVar

import paramiko

from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.algorithms import (
    CIPHERS,
    HOST_KEY_ALGORITHMS,
    KEX_ALGORITHMS,
    MACS,
    USER_KEY_ALGORITHMS,
)
from tunnelctl.ssh.packets.chacha import CHACHA, ChaChaKeys
from tunnelctl.ssh.packets.kex import METHODS
from tunnelctl.ssh.packets.kexinit import List, Names, Proposal
from tunnelctl.ssh.packets.packetizer import SshPacketizer
from tunnelctl.wire.messages import Message, ProtocolError, Reader

# paramiko's names for the lists of KEXINIT.
_LISTS = (
    "kex_algo_list",
    "server_key_algo_list",
    "client_encrypt_algo_list",
    "server_encrypt_algo_list",
    "client_mac_algo_list",
    "server_mac_algo_list",
    "client_compress_algo_list",
    "server_compress_algo_list",
    "client_lang_list",
    "server_lang_list",
)
_DIRECTIONS = (
    (List.CIPHERS_TO_SERVER, List.MACS_TO_SERVER),
    (List.CIPHERS_TO_CLIENT, List.MACS_TO_CLIENT),
)
# RFC 8308 section 2.4 allows it at two times; OpenSSH uses a third form of the second.
_EXT_INFO_MAX = 2
_SOFTWARE = "tunnelctl"
# Our version (RFC 4253 section 4.2), without CR LF.
VERSION = f"SSH-2.0-{_SOFTWARE}"


class _Nothing:
    """Replaces a socket that was handed over."""

    _closed = True

    def close(self) -> None:
        """Nothing to close."""


@dataclass(frozen=True, slots=True)
class Offer:
    """The algorithms that are offered to the peer, in order of preference."""

    kex: tuple[str, ...] = KEX_ALGORITHMS
    host_keys: tuple[str, ...] = HOST_KEY_ALGORITHMS
    ciphers: tuple[str, ...] = CIPHERS
    macs: tuple[str, ...] = MACS


ALL = Offer()


class SshTransport(paramiko.Transport):
    """Key exchange and authentication over a connected socket.

    `offer` has the algorithms, in order. `deadline` is the time of `clock.monotonic` at which every
    wait ends.
    """

    packetizer: SshPacketizer
    sock: Any  # a socket until `give_up_socket`
    # paramiko's attributes that its type stubs leave out.
    agreed_on_strict_kex: bool
    server_extensions: dict[str, bytes]
    local_kex_init: bytes | None
    _remote_ext_info: str | None
    _handler_table: dict[int, Callable[[paramiko.Message], None]]
    _kex_info: ClassVar[dict[str, type]] = METHODS
    _cipher_info: ClassVar[dict[str, dict[str, Any]]] = {
        **paramiko.Transport._cipher_info,  # type: ignore[attr-defined]  # not in its stubs
        # The nonce is the packet's number: no IV is derived.
        CHACHA: {
            "class": ChaChaKeys,
            "block-size": 8,
            "iv-size": 0,
            "key-size": 64,
            "is_aead": True,
        },
    }
    _CLIENT_ID = _SOFTWARE

    def __init__(self, sock: socket.socket, offer: Offer = ALL) -> None:
        super().__init__(sock, packetizer_class=SshPacketizer)
        # Errors that it would log reach people as a Failure with the host's name.
        self.logger = logging.getLogger("tunnelctl.paramiko")
        self._preferred_ciphers = offer.ciphers
        self._preferred_macs = offer.macs
        # paramiko leaves out algorithms that its build of cryptography does not support.
        self._preferred_kex = tuple(name for name in offer.kex if name in self._kex_info)
        self._preferred_keys = offer.host_keys
        self._preferred_pubkeys = USER_KEY_ALGORITHMS
        self._handler_table[Message.EXT_INFO] = self._note_extensions
        self._extensions_came = 0
        self._proposal: Proposal | None = None  # the peer's last one

    @property
    def preferred_keys(self) -> tuple[str, ...]:
        """Without the certificate types that paramiko adds to every key type."""
        return self._preferred_keys

    @property
    def deadline(self) -> float | None:
        """The time of `clock.monotonic` at which the handshake is given up."""
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
        """The algorithm that authenticates outbound packets; None if the cipher does."""
        return None if self._authenticates(self.local_cipher) else self.local_mac

    def _parse_debug(self, message: paramiko.Message) -> None:
        """Skips a DEBUG message at the login. paramiko escapes its text for a log that is off here,
        in a time that grows with the square of its length."""

    def _note_extensions(self, message: paramiko.Message) -> None:
        """RFC 8308. paramiko's own parser trusts the number of extensions, and loops over it.

        A later message is about what it names, as in OpenSSH (kex.c, kex_input_ext_info).
        """
        self._extensions_came += 1
        if self._extensions_came > _EXT_INFO_MAX:
            raise paramiko.SSHException("the peer tells its extensions again and again")
        reader = Reader(message.asbytes())
        try:
            pairs = [(reader.text(), reader.string()) for _ in range(reader.u32())]
        except ProtocolError as error:
            raise paramiko.SSHException(str(error)) from None
        self.server_extensions = {**self.server_extensions, **dict(pairs)}

    def _really_parse_kex_init(
        self, message: paramiko.Message, ignore_first_byte: bool = False
    ) -> dict[str, Any]:
        """The peer's lists, as paramiko is to compare them with ours.

        paramiko itself fails on a name that is not UTF-8, takes an unknown signal for a known one,
        and a signal that comes too late for a valid one, requires a MAC for ciphers that use none,
        and handles a wrong guess as if it were right.
        """
        assert not ignore_first_byte  # for a caller that we do not have
        assert self.local_kex_init is not None  # sent before the peer's is looked at
        try:
            proposal = Proposal.read(message.asbytes())
        except ProtocolError as error:
            raise paramiko.SSHException(str(error)) from None
        message.get_bytes(proposal.size)  # everything read until now is part of the exchange's hash
        if proposal.guessed_wrong(Proposal.read(self.local_kex_init[1:])):
            self.packetizer.skip_guess()
        self._proposal = proposal
        parsed: dict[str, Any] = {
            name: list(names) for name, names in zip(_LISTS, proposal.lists, strict=True)
        }
        if not self.initial_kex_done:  # the only exchange in which they have a meaning
            side = "c" if self.server_mode else "s"
            signals = {f"kex-strict-{side}-v00@openssh.com", f"ext-info-{side}"}
            parsed[_LISTS[List.KEX]] += sorted(signals & proposal.signals)
        for ciphers, macs in _DIRECTIONS:
            if self._authenticates(self._agreed(proposal.lists[ciphers])):
                parsed[_LISTS[macs]] = list(self.preferred_macs)
        parsed["kex_follows"] = proposal.guesses
        return parsed

    def _agreed(self, theirs: Names) -> str | None:
        """The first cipher in the client's order that both sides know (RFC 4253 section 7.1)."""
        ours = self.preferred_ciphers
        first, second = (theirs, ours) if self.server_mode else (ours, theirs)
        return next((name for name in first if name in second), None)

    def _authenticates(self, cipher: str | None) -> bool:
        """Whether a cipher needs no MAC (AEAD)."""
        return cipher is not None and self._cipher_info[cipher].get("is_aead", False)

    def give_up_socket(self) -> None:
        """Leave the socket to the loop: the end of the thread must no longer close it."""
        self.sock = _Nothing()
        self.completion_event = None  # nothing waits for the first key exchange any more

    def close(self) -> None:
        """End the thread and close the socket, also for a transport that was never started."""
        self.active = False
        self.packetizer.close()
        if self.is_alive():
            self.join()
        self.sock.close()


logging.getLogger("tunnelctl.paramiko").setLevel(logging.CRITICAL + 1)
