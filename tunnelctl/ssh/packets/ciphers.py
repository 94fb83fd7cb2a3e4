"""Sealing and opening of packets: RFC 4253 section 6, AES-GCM (RFC 5647), and ctr with a MAC.

Owns the layout of a binary packet under each cipher, for the blocking handshake and for the loop;
chacha20-poly1305 builds on it in `chacha.py`. Must never accept a length that it has not checked,
nor reuse a nonce.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import CipherContext
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tunnelctl.net.buffers import (
    SLOT_DATA,
    SLOT_HEAD,
    SLOT_PADDING,
    SLOT_STRIDE,
    SLOT_TAG,
    Buffers,
    SlotArea,
)
from tunnelctl.wire import messages
from tunnelctl.wire.messages import Message, ProtocolError

# RFC 4253 section 6.1 requires at least 35000; OpenSSH takes 256 KiB (PACKET_MAX_SIZE).
PACKET_LENGTH_MAX: Final = 256 * 1024
_LENGTH: Final = struct.Struct(">I")
_SLOT_HEAD: Final = struct.Struct(">IBBII")
# Takes half the time of an assignment to a slice.
_put_length: Final = struct.Struct("4s").pack_into
_put_head: Final = struct.Struct(f"{SLOT_HEAD}s").pack_into
_put_padding: Final = struct.Struct(f"{SLOT_PADDING}s").pack_into
_DATA_HEADER: Final = 9  # type, recipient channel and data length of SSH_MSG_CHANNEL_DATA
_GCM_BLOCK: Final = 16
_COUNTER_MASK: Final = (1 << 64) - 1
SEQUENCE_MASK: Final = 0xFFFF_FFFF  # packets are counted modulo 2^32 (RFC 4253 section 6.4)
_CHANNEL_DATA: Final = int(Message.CHANNEL_DATA)
_NOISE: Final = (
    512  # bytes of padding that are read from the kernel at a time; every link keeps some
)


Views = Sequence[memoryview]


class Sealer(ABC):
    """Turns payloads into packets, in the order in which they are sent."""

    @abstractmethod
    def seal(self, payload: bytes | memoryview, sequence: int) -> bytes:
        """One packet, with its length, padding and tag or MAC."""

    def seal_short(self, plain: SlotArea, recipient: int, count: int, sequence: int) -> bytes:
        """One packet with `count` bytes of channel data, which are in the first slot of `plain`."""
        return self.seal(messages.channel_data(recipient, plain.data[0][:count]), sequence)

    def seal_slots(
        self, buffers: Buffers, recipient: int, count: int, sequence: int
    ) -> tuple[memoryview, SlotArea | None]:
        """`count` bytes of channel data, which are in the slots of `buffers.plain`, as consecutive
        packets, and the area that was borrowed for them, if one was. Only the last slot may be
        short. The first packet has the number `sequence`."""
        packets = bytearray()
        for slot, start in enumerate(range(0, count, SLOT_DATA)):
            data = buffers.plain.data[slot][: min(SLOT_DATA, count - start)]
            number = (sequence + slot) & SEQUENCE_MASK
            packets += self.seal(messages.channel_data(recipient, data), number)
        return memoryview(packets), None


class Opener(ABC):
    """Turns packets back into payloads, in the order in which they arrived."""

    @abstractmethod
    def size(self, buffer: memoryview, start: int, end: int, sequence: int) -> int:
        """The length in bytes of the packet that begins at `start`; 0 if too few bytes before `end`
        have arrived.

        Raises:
            ProtocolError: no packet can have that length.
        """

    @abstractmethod
    def open(
        self, buffer: memoryview, start: int, end: int, sequence: int, room: memoryview
    ) -> memoryview:
        """The payload of the whole packet between `start` and `end`, as a view. The view may be
        into these bytes of `room`, which extends at least to the end of the packet.

        Raises:
            ProtocolError: the packet was changed in transit.
        """


def padding_of(length: int, block: int) -> int:
    """Padding for `length` bytes up to whole blocks; at least 4 (RFC 4253 section 6)."""
    padding = block - length % block
    return padding if padding >= 4 else padding + block


def checked_length(length: int, block: int, aligned: int) -> int:
    """Check the `length` of a packet, which with `aligned` more bytes must fill whole blocks.

    Raises:
        ProtocolError: no packet can have that length.
    """
    if length < 5 or length > PACKET_LENGTH_MAX or (length + aligned) % block:
        raise ProtocolError(f"the peer sent a packet of an impossible length ({length})")
    return length


def unpadded(packet: memoryview) -> memoryview:
    """The payload between the padding length and the padding.

    Raises:
        ProtocolError: the padding is longer than the packet allows.
    """
    padding = packet[0]
    if padding < 4 or padding + 1 >= len(packet):
        raise ProtocolError("the peer sent a packet with impossible padding")
    return packet[1 : len(packet) - padding]


def _nonces(first: bytes) -> Iterator[bytes]:
    """4 fixed bytes and a 64-bit counter that never carries into them (RFC 5647 section 7.1)."""
    fixed, counter = first[:4], int.from_bytes(first[4:], "big")
    while True:
        yield fixed + counter.to_bytes(8, "big")
        counter = (counter + 1) & _COUNTER_MASK


class SlotSealer(Sealer):
    """An outbound cipher with authentication (AEAD), which seals channel data in place.

    Its packets have the layout of `buffers.SlotArea`: an authenticated length, the encrypted part,
    and a tag of 16 bytes. A subclass makes the three.
    """

    _block: ClassVar[int]  # block size in bytes of the encrypted part

    def __init__(self) -> None:
        self._noise = b""
        self._noise_at = 0

    def seal(self, payload: bytes | memoryview, sequence: int) -> bytes:
        padding = padding_of(1 + len(payload), self._block)
        length = _LENGTH.pack(1 + len(payload) + padding)
        plain = b"".join((bytes((padding,)), payload, self._random(padding)))
        return self._sealed(length, plain, sequence)

    def seal_short(self, plain: SlotArea, recipient: int, count: int, sequence: int) -> bytes:
        length, tail = self._frame(plain, 0, recipient, count)
        return self._sealed(length, plain.view[4:tail], sequence)

    def seal_slots(
        self, buffers: Buffers, recipient: int, count: int, sequence: int
    ) -> tuple[memoryview, SlotArea | None]:
        plain, sealed = buffers.plain, buffers.borrow_sealed()
        full, rest = divmod(count, SLOT_DATA)
        if full:
            size = SLOT_STRIDE - 4 - SLOT_TAG
            head = _SLOT_HEAD.pack(size, SLOT_PADDING, _CHANNEL_DATA, recipient, SLOT_DATA)
            length = head[:4]
            view, noise = plain.view, os.urandom(SLOT_PADDING * full)
            for slot in range(full):
                start = slot * SLOT_STRIDE
                _put_head(view, start, head)
                padding = noise[slot * SLOT_PADDING : (slot + 1) * SLOT_PADDING]
                _put_padding(view, start + SLOT_HEAD + SLOT_DATA, padding)
            self._seal_into(length, plain.plain[:full], sealed.packets[:full], sequence)
        total = full * SLOT_STRIDE
        if rest:
            length, tail = self._frame(plain, total, recipient, rest)
            packet = sealed.view[total : tail + SLOT_TAG]
            self._seal_into(length, [plain.view[total + 4 : tail]], [packet], sequence + full)
            total = tail + SLOT_TAG
        return sealed.view[:total], sealed

    @abstractmethod
    def _sealed(self, length: bytes, plain: bytes | memoryview, sequence: int) -> bytes:
        """The packet number `sequence`: its length field, `plain` encrypted, and the tag."""

    @abstractmethod
    def _seal_into(self, length: bytes, plains: Views, packets: Views, sequence: int) -> None:
        """Seal each of `plains`, which have the same length, into its place in `packets`. The two
        do not overlap. The first packet has the number `sequence`."""

    def _frame(self, plain: SlotArea, start: int, recipient: int, count: int) -> tuple[bytes, int]:
        """Put header and padding around the data of the slot at `start`. Returns the packet's
        length field and the end of its plain text."""
        padding = padding_of(1 + _DATA_HEADER + count, self._block)
        size = 1 + _DATA_HEADER + count + padding
        head = _SLOT_HEAD.pack(size, padding, _CHANNEL_DATA, recipient, count)
        end = start + SLOT_HEAD + count
        plain.view[start : start + SLOT_HEAD] = head
        plain.view[end : end + padding] = self._random(padding)
        return head[:4], end + padding

    def _random(self, count: int) -> bytes:
        """Random padding, read in advance: a system call for each packet would cost as much as
        sealing it."""
        start = self._noise_at
        if start + count > len(self._noise):
            self._noise, start = os.urandom(_NOISE), 0
        self._noise_at = start + count
        return self._noise[start : start + count]


class GcmSealer(SlotSealer):
    """AES-GCM outbound: the length is authenticated but not encrypted."""

    _block = _GCM_BLOCK

    def __init__(self, cipher: AESGCM, first_nonce: bytes) -> None:
        super().__init__()
        self._cipher = cipher
        self._next_nonce = _nonces(first_nonce).__next__

    def _sealed(self, length: bytes, plain: bytes | memoryview, sequence: int) -> bytes:
        return length + self._cipher.encrypt(self._next_nonce(), plain, length)

    def _seal_into(self, length: bytes, plains: Views, packets: Views, sequence: int) -> None:
        cipher, next_nonce = self._cipher, self._next_nonce
        for plain, packet in zip(plains, packets, strict=True):
            _put_length(packet, 0, length)
            cipher.encrypt_into(next_nonce(), plain, length, packet[4:])


class GcmOpener(Opener):
    """AES-GCM inbound."""

    def __init__(self, cipher: AESGCM, first_nonce: bytes) -> None:
        self._cipher = cipher
        self._next_nonce = _nonces(first_nonce).__next__

    def size(self, buffer: memoryview, start: int, end: int, sequence: int) -> int:
        if end - start < 4:
            return 0
        return checked_length(_LENGTH.unpack_from(buffer, start)[0], _GCM_BLOCK, 0) + 4 + SLOT_TAG

    def open(
        self, buffer: memoryview, start: int, end: int, sequence: int, room: memoryview
    ) -> memoryview:
        body = start + 4
        plain = room[body : end - SLOT_TAG]
        try:
            self._cipher.decrypt_into(
                self._next_nonce(), buffer[body:end], buffer[start:body], plain
            )
        except InvalidTag:
            raise ProtocolError("a packet was changed on its way (its tag is wrong)") from None
        return unpadded(plain)


@dataclass(frozen=True, slots=True)
class Mac:
    """A message authentication code over the sequence number and the packet."""

    key: bytes
    digest: Callable[..., hashlib._Hash]
    size: int
    encrypt_then_mac: bool

    def sign(self, sequence: int, packet: bytes | memoryview) -> bytes:
        """The code, cut to the length that is sent."""
        signed = _LENGTH.pack(sequence) + packet
        return hmac.new(self.key, signed, self.digest).digest()[: self.size]

    def check(self, sequence: int, packet: bytes | memoryview, code: memoryview) -> None:
        """Raises ProtocolError unless the code is right."""
        if not hmac.compare_digest(self.sign(sequence, packet), code):
            raise ProtocolError("a packet was changed on its way (its MAC is wrong)")


class MacSealer(Sealer):
    """A stream cipher with a MAC outbound; neither before the first key exchange."""

    def __init__(self, cipher: CipherContext | None, block: int, mac: Mac | None) -> None:
        self._cipher = cipher
        self._block = block
        self._mac = mac

    def seal(self, payload: bytes | memoryview, sequence: int) -> bytes:
        apart = self._mac is not None and self._mac.encrypt_then_mac
        padding = padding_of((1 if apart else 5) + len(payload), self._block)
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


class MacOpener(Opener):
    """A stream cipher with a MAC inbound; neither before the first key exchange."""

    def __init__(self, cipher: CipherContext | None, block: int, mac: Mac | None) -> None:
        self._cipher = cipher
        self._block = block
        self._mac = mac
        self._apart = mac is not None and mac.encrypt_then_mac
        # With an encrypted length: the first block of the packet, decrypted once.
        self._first = b""

    def size(self, buffer: memoryview, start: int, end: int, sequence: int) -> int:
        if self._cipher is not None and not self._apart:
            if not self._first:
                if end - start < self._block:
                    return 0
                self._first = self._cipher.update(bytes(buffer[start : start + self._block]))
            length = _LENGTH.unpack_from(self._first)[0]
        elif end - start < 4:
            return 0
        else:
            length = _LENGTH.unpack_from(buffer, start)[0]
        mac_size = self._mac.size if self._mac else 0
        return checked_length(length, self._block, 0 if self._apart else 4) + 4 + mac_size

    def open(
        self, buffer: memoryview, start: int, end: int, sequence: int, room: memoryview
    ) -> memoryview:
        packet = buffer[start:end]
        if self._cipher is None:
            return unpadded(packet[4:])
        end = len(packet) - (self._mac.size if self._mac else 0)
        if self._mac is not None and self._apart:
            self._mac.check(sequence, packet[:end], packet[end:])
            return unpadded(memoryview(self._cipher.update(packet[4:end])))
        plain = self._first + self._cipher.update(packet[self._block : end])
        self._first = b""
        if self._mac is not None:
            self._mac.check(sequence, plain, packet[end:])
        return unpadded(memoryview(plain)[4:])
