"""Packets that were changed on their way: what is opened is what was sealed, from the front on.

Owns one pair of ends for each cipher that authenticates. Must never be content with an error: the
bytes before the first change must have come through.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fuzz.script import Script
from tunnelctl.ssh.packets.chacha import ChaChaKeys
from tunnelctl.ssh.packets.ciphers import (
    PACKET_LENGTH_MAX,
    GcmOpener,
    GcmSealer,
    Mac,
    MacOpener,
    MacSealer,
    Opener,
    Sealer,
)
from tunnelctl.wire.messages import ProtocolError

_KEY = bytes(range(64))
_ROOM = memoryview(bytearray(1024 * 1024))
_LARGEST_ENDS = 4 + 64  # a length before a packet, and a MAC of SHA-512 behind it


def _gcm() -> tuple[Sealer, Opener]:
    return GcmSealer(AESGCM(_KEY[:16]), bytes(12)), GcmOpener(AESGCM(_KEY[:16]), bytes(12))


def _chacha() -> tuple[Sealer, Opener]:
    return ChaChaKeys(_KEY).sealer(), ChaChaKeys(_KEY).opener()


def _ctr(etm: bool) -> tuple[Sealer, Opener]:
    cipher = Cipher(algorithms.AES(_KEY[:32]), modes.CTR(bytes(16)))
    mac = Mac(_KEY[32:], hashlib.sha256, 32, etm)
    return MacSealer(cipher.encryptor(), 16, mac), MacOpener(cipher.decryptor(), 16, mac)


_ENDS: Sequence[Callable[[], tuple[Sealer, Opener]]] = (
    _gcm,
    _chacha,
    lambda: _ctr(True),
    lambda: _ctr(False),
)


def run(data: bytes) -> None:
    """Seal a few payloads, change the stream, and open what is left of it."""
    script = Script(data)
    sealer, opener = script.choose(_ENDS)()
    first = 0xFFFF_FFFE if script.number(1) & 1 else 0  # so that numbers begin anew
    payloads = [script.take(script.number(1)) or b"\0" for _ in range(1 + script.number(1) % 6)]
    packets = [sealer.seal(payload, _number(first, n)) for n, payload in enumerate(payloads)]
    sealed = b"".join(packets)
    stream = _changed(sealed, script)
    whole = _common(sealed, stream)
    opened = _open(opener, stream, first)
    assert opened == payloads[: len(opened)]
    ends = [sum(map(len, packets[: n + 1])) for n in range(len(packets))]
    assert len(opened) == sum(end <= whole for end in ends)


def _number(first: int, count: int) -> int:
    return (first + count) & 0xFFFF_FFFF


def _changed(sealed: bytes, script: Script) -> bytes:
    stream = bytearray(sealed)
    while not script.is_over:
        kind, start, count = script.number(1) % 4, script.number(2), 1 + script.number(1)
        start %= len(stream) + 1
        if kind == 0 and start < len(stream):
            stream[start] ^= count & 0xFF
        elif kind == 1:
            del stream[start : start + count]
        elif kind == 2:
            stream[start:start] = stream[start : start + count]
        else:
            stream[start:start] = script.take(count)
    return bytes(stream)


def _common(one: bytes, other: bytes) -> int:
    """How many bytes are the same at the front."""
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _open(opener: Opener, stream: bytes, first: int) -> list[bytes]:
    view, start = memoryview(stream), 0
    opened: list[bytes] = []
    try:
        while start < len(view):
            number = _number(first, len(opened))
            size = opener.size(view, start, len(view), number)
            assert size <= PACKET_LENGTH_MAX + _LARGEST_ENDS
            if not size or size > len(view) - start:
                break
            opened.append(bytes(opener.open(view, start, start + size, number, _ROOM)))
            start += size
    except ProtocolError:
        pass
    return opened
