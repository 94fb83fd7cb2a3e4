"""The cipher chacha20-poly1305@openssh.com, from the ChaCha20 and Poly1305 of `cryptography`.

Follows OpenSSH's PROTOCOL.chacha20poly1305 (now draft-ietf-sshm-chacha20-poly1305): two keys, one
for the length and one for the rest; the packet's number is the nonce of both; block 0 of the second
keystream is the key of the tag, and the packet is encrypted from block 1 on. The construction of
RFC 8439, which `cryptography` offers whole, has another nonce and authenticates other bytes, so it
cannot be used.

Must never decrypt anything but a length before its tag is checked, nor use a number twice: the
count of packets starts again only with new keys.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms
from cryptography.hazmat.primitives.poly1305 import Poly1305

from tunnelctl.net.buffers import SLOT_TAG
from tunnelctl.ssh.packets.ciphers import (
    SEQUENCE_MASK,
    Opener,
    SlotSealer,
    Views,
    checked_length,
    unpadded,
)
from tunnelctl.wire.messages import ProtocolError

CHACHA: Final = "chacha20-poly1305@openssh.com"
_BLOCK: Final = 8  # a packet without its length field is a multiple of this (OpenSSH cipher.c)
_KEY: Final = 32
# One block of the keystream. The whole block is taken for the key of the tag, which is half as
# long, so that the next byte is encrypted with block 1.
_KEYSTREAM_BLOCK: Final = bytes(64)
_FIRST_BLOCK: Final = bytes(8)  # the block's number, little-endian, precedes the nonce


class ChaChaKeys:
    """The two keys of one direction, as key exchange makes them: 64 bytes."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def sealer(self) -> ChaChaSealer:
        """The sealer with these keys."""
        return ChaChaSealer(_keystream(self._key[_KEY:]), _keystream(self._key[:_KEY]))

    def opener(self) -> ChaChaOpener:
        """The opener with these keys."""
        return ChaChaOpener(_keystream(self._key[_KEY:]), _keystream(self._key[:_KEY]))


def _keystream(key: bytes) -> CipherContext:
    """ChaCha20, where encryption and decryption are the same; each packet sets the nonce."""
    return Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor()


def _one_time_key(contents: CipherContext, nonce: bytes) -> bytes:
    """The key of a packet's tag; afterwards `contents` is at the beginning of the packet."""
    contents.reset_nonce(nonce)
    return contents.update(_KEYSTREAM_BLOCK)[:_KEY]


def _nonce(sequence: int) -> bytes:
    return _FIRST_BLOCK + sequence.to_bytes(8, "big")


class ChaChaSealer(SlotSealer):
    """Outbound: the length is encrypted too."""

    _block = _BLOCK

    def __init__(self, lengths: CipherContext, contents: CipherContext) -> None:
        super().__init__()
        self._lengths = lengths
        self._contents = contents

    def _sealed(self, length: bytes, plain: bytes | memoryview, sequence: int) -> bytes:
        nonce = _nonce(sequence)
        self._lengths.reset_nonce(nonce)
        key = _one_time_key(self._contents, nonce)
        packet = self._lengths.update(length) + self._contents.update(plain)
        return packet + Poly1305.generate_tag(key, packet)

    def _seal_into(self, length: bytes, plains: Views, packets: Views, sequence: int) -> None:
        lengths, contents = self._lengths, self._contents
        for number, (plain, packet) in enumerate(zip(plains, packets, strict=True), sequence):
            nonce = _nonce(number & SEQUENCE_MASK)
            lengths.reset_nonce(nonce)
            key = _one_time_key(contents, nonce)
            packet[:4] = lengths.update(length)
            contents.update_into(plain, packet[4:-SLOT_TAG])
            packet[-SLOT_TAG:] = Poly1305.generate_tag(key, packet[:-SLOT_TAG])


class ChaChaOpener(Opener):
    """Inbound."""

    def __init__(self, lengths: CipherContext, contents: CipherContext) -> None:
        self._lengths = lengths
        self._contents = contents

    def size(self, buffer: memoryview, start: int, end: int, sequence: int) -> int:
        if end - start < 4:
            return 0
        self._lengths.reset_nonce(_nonce(sequence))
        length = int.from_bytes(self._lengths.update(buffer[start : start + 4]), "big")
        return checked_length(length, _BLOCK, 0) + 4 + SLOT_TAG

    def open(
        self, buffer: memoryview, start: int, end: int, sequence: int, room: memoryview
    ) -> memoryview:
        body, tag = start + 4, end - SLOT_TAG
        key = _one_time_key(self._contents, _nonce(sequence))
        try:
            Poly1305.verify_tag(key, buffer[start:tag], bytes(buffer[tag:end]))
        except InvalidSignature:
            raise ProtocolError("a packet was changed on its way (its tag is wrong)") from None
        plain = room[body:tag]
        self._contents.update_into(buffer[body:tag], plain)
        return unpadded(plain)
