"""Every cipher of the allow-list, sealed by one end and opened by the other."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.poly1305 import Poly1305
from hypothesis import given, settings
from hypothesis import strategies as st

from tunnelctl.net.buffers import SLOT_DATA, SLOTS, Buffers
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
    SlotSealer,
)
from tunnelctl.wire import messages
from tunnelctl.wire.messages import ProtocolError

Pair = tuple[Sealer, Opener]


def gcm(first_nonce: bytes = bytes(12)) -> tuple[GcmSealer, GcmOpener]:
    key = os.urandom(16)
    return GcmSealer(AESGCM(key), first_nonce), GcmOpener(AESGCM(key), first_nonce)


def chacha() -> tuple[SlotSealer, Opener]:
    keys = ChaChaKeys(os.urandom(64))
    return keys.sealer(), keys.opener()


def ctr(etm: bool) -> Pair:
    cipher = Cipher(algorithms.AES(os.urandom(32)), modes.CTR(bytes(16)))
    mac = Mac(os.urandom(32), hashlib.sha256, 32, etm)
    return MacSealer(cipher.encryptor(), 16, mac), MacOpener(cipher.decryptor(), 16, mac)


# Those that seal and open channel data in place.
AEAD: dict[str, Callable[[], tuple[SlotSealer, Opener]]] = {
    "aes128-gcm": gcm,
    "chacha20-poly1305": chacha,
}
PAIRS: dict[str, Callable[[], Pair]] = {
    **AEAD,
    "aes256-ctr and hmac-sha2-256-etm": lambda: ctr(etm=True),
    "aes256-ctr and hmac-sha2-256": lambda: ctr(etm=False),
    "none": lambda: (MacSealer(None, 8, None), MacOpener(None, 8, None)),
}
BUFFERS = Buffers()


def open_all(opener: Opener, stream: bytes, sequence: int = 0) -> list[bytes]:
    payloads, start = [], 0
    view = memoryview(stream)
    while start < len(view):
        end = start + opener.size(view, start, len(view), sequence)
        payloads.append(bytes(opener.open(view, start, end, sequence, BUFFERS.opened)))
        start, sequence = end, sequence + 1
    return payloads


@pytest.mark.parametrize("name", PAIRS)
@settings(max_examples=30)
@given(payloads=st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=8))
def test_what_was_sealed_is_opened_in_order(name: str, payloads: list[bytes]) -> None:
    sealer, opener = PAIRS[name]()
    stream = b"".join(sealer.seal(p, i) for i, p in enumerate(payloads))
    assert open_all(opener, stream) == payloads


@pytest.mark.parametrize("name", PAIRS)
def test_a_packet_is_not_taken_for_whole_before_it_is(name: str) -> None:
    sealer, opener = PAIRS[name]()
    packet = sealer.seal(b"x" * 100, 0)
    view = memoryview(packet)
    sizes = {opener.size(view, 0, count, 0) for count in range(len(packet) + 1)}
    assert sizes == {0, len(packet)}


@pytest.mark.parametrize("name", [name for name in PAIRS if name != "none"])
@pytest.mark.parametrize("place", [0, 3, 4, 20, -1])
def test_a_flipped_byte_anywhere_is_noticed(name: str, place: int) -> None:
    sealer, opener = PAIRS[name]()
    packet = bytearray(sealer.seal(b"x" * 100, 0))
    packet[place] ^= 0x10
    view = memoryview(packet)
    with pytest.raises(ProtocolError):  # noqa: PT012 - either step may be the one that notices
        size = opener.size(view, 0, len(view), 0)
        # A changed length that is still possible waits for more bytes, and then fails.
        padded = memoryview(bytes(packet) + bytes(max(0, size - len(packet))))
        opener.open(padded, 0, size, 0, BUFFERS.opened)


@pytest.mark.parametrize("length", [0, 1, PACKET_LENGTH_MAX + 16, 0xFFFF_FFF0])
def test_an_impossible_length_is_refused_before_anything_is_kept(length: int) -> None:
    _, opener = gcm()
    with pytest.raises(ProtocolError, match="length"):
        opener.size(memoryview(messages.u32(length) + bytes(64)), 0, 68, 0)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize(
    "count",
    [1, 5, SLOT_DATA - 1, SLOT_DATA, SLOT_DATA + 1, SLOTS * SLOT_DATA - 7, SLOTS * SLOT_DATA],
)
def test_slots_are_sealed_as_the_same_bytes_one_by_one(name: str, count: int) -> None:
    sealer, opener = PAIRS[name]()
    data = os.urandom(count)
    for slot, start in enumerate(range(0, count, SLOT_DATA)):
        piece = data[start : start + SLOT_DATA]
        BUFFERS.plain.data[slot][: len(piece)] = piece
    payloads = open_all(opener, sealed_slots(sealer, count, 3), 3)
    pieces = [data[start : start + SLOT_DATA] for start in range(0, count, SLOT_DATA)]
    assert payloads == [messages.channel_data(7, piece) for piece in pieces]


def sealed_slots(sealer: Sealer, count: int, sequence: int) -> bytes:
    packets, area = sealer.seal_slots(BUFFERS, 7, count, sequence)
    sent = bytes(packets)
    if area is not None:
        BUFFERS.return_sealed(area)
    return sent


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("count", [1, 5, SLOT_DATA - 1])
def test_a_short_packet_is_sealed_as_the_same_bytes(name: str, count: int) -> None:
    sealer, opener = PAIRS[name]()
    data = os.urandom(count)
    BUFFERS.plain.data[0][:count] = data
    packet = sealer.seal_short(BUFFERS.plain, 7, count, 3)
    assert open_all(opener, packet, 3) == [messages.channel_data(7, data)]


@pytest.mark.parametrize("name", AEAD)
def test_the_longest_packet_needs_no_more_room_than_it_lies_in(name: str) -> None:
    sealer, opener = AEAD[name]()
    longest = bytes(PACKET_LENGTH_MAX - 5)
    view = memoryview(sealer.seal(longest, 0))
    assert opener.size(view, 0, len(view), 0) == len(view)
    room = memoryview(bytearray(len(view)))
    assert opener.open(view, 0, len(view), 0, room) == longest


def test_padding_is_random_and_never_the_same() -> None:
    sealer, opener = gcm()
    BUFFERS.plain.data[0][:1] = b"x"
    paddings = set()
    for _ in range(1000):
        view = memoryview(sealer.seal_short(BUFFERS.plain, 7, 1, 0))
        opener.open(view, 0, len(view), 0, BUFFERS.opened)
        # The length, its own length and the message of 10 bytes come before it.
        paddings.add(bytes(BUFFERS.opened[15 : len(view) - 16]))
    assert len(paddings) > 990


def test_the_counter_of_the_nonce_never_carries_into_its_fixed_part() -> None:
    sealer, opener = gcm(b"fix!" + b"\xff" * 8)
    stream = sealer.seal(b"last", 0) + sealer.seal(b"first again", 1)
    assert open_all(opener, stream) == [b"last", b"first again"]
    assert sealer.seal(b"", 2)  # a carry would have needed a thirteenth byte


@pytest.mark.parametrize(
    ("sealed_as", "opened_as"), [(0, 1), (1, 0), (5, 5 + (1 << 16)), (0xFFFF_FFFF, 0)]
)
def test_a_packet_of_chacha_in_another_place_is_not_opened(sealed_as: int, opened_as: int) -> None:
    """Its number is its nonce, so one that is played again, left out or moved is noticed."""
    sealer, opener = chacha()
    packet = sealer.seal(b"x" * 100, sealed_as)
    with pytest.raises(ProtocolError, match="tag is wrong"):
        opener.open(memoryview(packet), 0, len(packet), opened_as, BUFFERS.opened)
    assert open_all(opener, packet, sealed_as) == [b"x" * 100]


def test_slots_of_chacha_are_counted_past_the_last_number() -> None:
    sealer, opener = chacha()
    count = 2 * SLOT_DATA + 1
    stream, start = memoryview(sealed_slots(sealer, count, 0xFFFF_FFFF)), 0
    size = len(stream)
    for sequence in (0xFFFF_FFFF, 0, 1):
        end = start + opener.size(stream, start, size, sequence)
        opener.open(stream, start, end, sequence, BUFFERS.opened)
        start = end
    assert start == size


def test_nothing_of_a_packet_is_decrypted_before_its_tag_was_checked() -> None:
    sealer, opener = chacha()
    packet = bytearray(sealer.seal(b"secret", 0))
    packet[-1] ^= 1
    room = memoryview(bytearray(len(packet)))
    with pytest.raises(ProtocolError, match="tag is wrong"):
        opener.open(memoryview(packet), 0, len(packet), 0, room)
    assert not any(room)


def test_chacha_by_the_words_of_its_specification() -> None:
    """PROTOCOL.chacha20poly1305 step by step, with another ChaCha20 call for each."""
    key, sequence, payload = bytes(range(64)), 0x0102_0304, b"ninety bytes of payload" * 4
    packet = ChaChaKeys(key).sealer().seal(payload, sequence)

    def keystream(half: bytes, block: int, data: bytes) -> bytes:
        nonce = block.to_bytes(8, "little") + sequence.to_bytes(8, "big")
        return Cipher(algorithms.ChaCha20(half, nonce), mode=None).encryptor().update(data)

    length = int.from_bytes(keystream(key[32:], 0, packet[:4]), "big")
    assert len(packet) == 4 + length + 16
    assert length % 8 == 0
    tag_key = keystream(key[:32], 0, bytes(32))
    assert Poly1305.generate_tag(tag_key, packet[:-16]) == packet[-16:]
    plain = keystream(key[:32], 1, packet[4:-16])
    assert plain[1 : length - plain[0]] == payload
    assert plain[0] >= 4
