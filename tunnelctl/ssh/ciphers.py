"""Packets sealed and opened: RFC 4253 section 6, AES-GCM (RFC 5647) and ctr with a MAC.

Owns the layout of a binary packet under each cipher, for both the blocking handshake and the
loop. Must never accept a length that it has not checked, nor reuse a nonce.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import CipherContext
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tunnelctl.net.buffers import (
    SLOT_DATA,
    SLOT_HEAD,
    SLOT_PADDING,
    SLOT_STRIDE,
    SlotArea,
)
from tunnelctl.wire.messages import Message, ProtocolError

# RFC 4253 section 6.1 asks for 35000 at least; OpenSSH takes 256 KiB (PACKET_MAX_SIZE).
PACKET_LENGTH_MAX = 256 * 1024
_LENGTH = struct.Struct(">I")
_SLOT_HEAD = struct.Struct(">IBBII")
_DATA_HEADER = 9  # type, recipient channel and data length of SSH_MSG_CHANNEL_DATA
_GCM_BLOCK = 16
_GCM_TAG = 16
_COUNTER_MASK = (1 << 64) - 1


class Sealer(Protocol):
    """Turns payloads into packets, in the order in which they are sent."""

    def seal(self, payload: bytes | memoryview, sequence: int) -> bytes:
        """One packet, with its length, padding and tag or MAC."""


class Opener(Protocol):
    """Turns packets back into payloads, in the order in which they came."""

    def size(self, buffer: memoryview, sequence: int) -> int:
        """The bytes of the packet that `buffer` begins with; 0 when too few came to tell.

        Raises:
            ProtocolError: no packet can be of that length.
        """

    def open(self, packet: memoryview, sequence: int, room: memoryview) -> memoryview:
        """The payload of a whole packet, as a view that may lie in `room`.

        Raises:
            ProtocolError: the packet was changed on its way.
        """


def _padding(length: int, block: int) -> int:
    """Bytes that fill `length` up to whole blocks; at least 4 (RFC 4253 section 6)."""
    padding = block - length % block
    return padding if padding >= 4 else padding + block


def _checked(length: int, block: int, aligned: int) -> int:
    if length < 5 or length > PACKET_LENGTH_MAX or (length + aligned) % block:
        raise ProtocolError(f"the peer sent a packet of an impossible length ({length})")
    return length


def _unpadded(packet: memoryview) -> memoryview:
    """The payload between the padding length and the padding."""
    padding = packet[0]
    if padding < 4 or padding + 1 >= len(packet):
        raise ProtocolError("the peer sent a packet with impossible padding")
    return packet[1 : len(packet) - padding]


class _Nonce:
    """4 fixed bytes and a 64-bit counter that never carries into them (RFC 5647 section 7.1)."""

    def __init__(self, first: bytes) -> None:
        self.fixed = first[:4]
        self.counter = int.from_bytes(first[4:], "big")

    def next(self) -> bytes:
        nonce = self.fixed + self.counter.to_bytes(8, "big")
        self.counter = (self.counter + 1) & _COUNTER_MASK
        return nonce


class GcmSealer:
    """AES-GCM outbound: the length is sent in the clear and authenticated."""

    def __init__(self, cipher: AESGCM, first_nonce: bytes) -> None:
        self._cipher = cipher
        self._nonce = _Nonce(first_nonce)

    def seal(self, payload: bytes | memoryview, sequence: int) -> bytes:
        """See Sealer."""
        padding = _padding(1 + len(payload), _GCM_BLOCK)
        length = _LENGTH.pack(1 + len(payload) + padding)
        plain = b"".join((bytes((padding,)), payload, os.urandom(padding)))
        return length + self._cipher.encrypt(self._nonce.next(), plain, length)

    def seal_slots(self, plain: SlotArea, sealed: SlotArea, recipient: int, count: int) -> int:
        """Seal `count` bytes of channel data that lie in the slots of `plain`, without copying.

        Only the last slot may be short, so that the packets lie side by side in `sealed`.
        Returns the bytes to send from the start of `sealed`.
        """
        full, rest = divmod(count, SLOT_DATA)
        cipher, nonce = self._cipher, self._nonce
        if full:
            size = SLOT_STRIDE - 4 - _GCM_TAG
            head = _SLOT_HEAD.pack(size, SLOT_PADDING, Message.CHANNEL_DATA, recipient, SLOT_DATA)
            length = head[:4]
            noise = os.urandom(SLOT_PADDING * full)
            for slot in range(full):
                start = slot * SLOT_STRIDE
                plain.view[start : start + SLOT_HEAD] = head
                end = start + SLOT_HEAD + SLOT_DATA
                plain.view[end : end + SLOT_PADDING] = noise[
                    slot * SLOT_PADDING : (slot + 1) * SLOT_PADDING
                ]
                cipher.encrypt_into(nonce.next(), plain.plain[slot], length, sealed.sealed[slot])
                sealed.view[start : start + 4] = length
        total = full * SLOT_STRIDE
        return total + self._seal_short(plain, sealed, recipient, total, rest) if rest else total

    def _seal_short(
        self, plain: SlotArea, sealed: SlotArea, recipient: int, start: int, count: int
    ) -> int:
        padding = _padding(1 + _DATA_HEADER + count, _GCM_BLOCK)
        size = 1 + _DATA_HEADER + count + padding
        head = _SLOT_HEAD.pack(size, padding, Message.CHANNEL_DATA, recipient, count)
        plain.view[start : start + SLOT_HEAD] = head
        end = start + SLOT_HEAD + count
        plain.view[end : end + padding] = os.urandom(padding)
        length = head[:4]
        sealed.view[start : start + 4] = length
        body, tagged = start + 4, start + 4 + size
        self._cipher.encrypt_into(
            self._nonce.next(),
            plain.view[body:tagged],
            length,
            sealed.view[body : tagged + _GCM_TAG],
        )
        return 4 + size + _GCM_TAG


class GcmOpener:
    """AES-GCM inbound."""

    def __init__(self, cipher: AESGCM, first_nonce: bytes) -> None:
        self._cipher = cipher
        self._nonce = _Nonce(first_nonce)

    def size(self, buffer: memoryview, sequence: int) -> int:
        """See Opener."""
        if len(buffer) < 4:
            return 0
        return _checked(_LENGTH.unpack_from(buffer)[0], _GCM_BLOCK, 0) + 4 + _GCM_TAG

    def open(self, packet: memoryview, sequence: int, room: memoryview) -> memoryview:
        """See Opener."""
        plain = room[: len(packet) - 4 - _GCM_TAG]
        try:
            self._cipher.decrypt_into(self._nonce.next(), packet[4:], packet[:4], plain)
        except InvalidTag:
            raise ProtocolError("a packet was changed on its way (its tag is wrong)") from None
        return _unpadded(plain)


@dataclass(frozen=True, slots=True)
class Mac:
    """A message authentication code over the sequence number and the packet."""

    key: bytes
    digest: Callable[..., hashlib._Hash]
    size: int
    encrypt_then_mac: bool

    def sign(self, sequence: int, packet: bytes | memoryview) -> bytes:
        """The code, as long as it is sent."""
        signed = _LENGTH.pack(sequence) + packet
        return hmac.new(self.key, signed, self.digest).digest()[: self.size]

    def check(self, sequence: int, packet: bytes | memoryview, code: memoryview) -> None:
        """Raises ProtocolError unless the code is right."""
        if not hmac.compare_digest(self.sign(sequence, packet), code):
            raise ProtocolError("a packet was changed on its way (its MAC is wrong)")


class MacSealer:
    """A stream cipher with a MAC outbound; without either before the first key exchange."""

    def __init__(self, cipher: CipherContext | None, block: int, mac: Mac | None) -> None:
        self._cipher = cipher
        self._block = block
        self._mac = mac

    def seal(self, payload: bytes | memoryview, sequence: int) -> bytes:
        """See Sealer."""
        apart = self._mac is not None and self._mac.encrypt_then_mac
        padding = _padding((1 if apart else 5) + len(payload), self._block)
        length = _LENGTH.pack(1 + len(payload) + padding)
        noise = os.urandom(padding) if self._cipher else bytes(padding)
        body = b"".join((bytes((padding,)), payload, noise))
        if self._cipher is None:
            return length + body
        if self._mac is None or not apart:
            packet = self._cipher.update(length + body)
            return packet + (self._mac.sign(sequence, length + body) if self._mac else b"")
        packet = length + self._cipher.update(body)
        return packet + self._mac.sign(sequence, packet)


class MacOpener:
    """A stream cipher with a MAC inbound; without either before the first key exchange."""

    def __init__(self, cipher: CipherContext | None, block: int, mac: Mac | None) -> None:
        self._cipher = cipher
        self._block = block
        self._mac = mac
        self._apart = mac is not None and mac.encrypt_then_mac
        # Where the length is encrypted: the first block of the packet, opened once.
        self._first = b""

    def size(self, buffer: memoryview, sequence: int) -> int:
        """See Opener."""
        if self._cipher is not None and not self._apart:
            if not self._first:
                if len(buffer) < self._block:
                    return 0
                self._first = self._cipher.update(bytes(buffer[: self._block]))
            length = _LENGTH.unpack_from(self._first)[0]
        elif len(buffer) < 4:
            return 0
        else:
            length = _LENGTH.unpack_from(buffer)[0]
        mac_size = self._mac.size if self._mac else 0
        return _checked(length, self._block, 0 if self._apart else 4) + 4 + mac_size

    def open(self, packet: memoryview, sequence: int, room: memoryview) -> memoryview:
        """See Opener."""
        if self._cipher is None:
            return _unpadded(packet[4:])
        end = len(packet) - (self._mac.size if self._mac else 0)
        if self._mac is not None and self._apart:
            self._mac.check(sequence, packet[:end], packet[end:])
            return _unpadded(memoryview(self._cipher.update(packet[4:end])))
        plain = self._first + self._cipher.update(packet[self._block : end])
        self._first = b""
        if self._mac is not None:
            self._mac.check(sequence, plain, packet[end:])
        return _unpadded(memoryview(plain)[4:])
