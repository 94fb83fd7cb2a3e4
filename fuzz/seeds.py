"""Where a fuzzer starts: inputs that get far, made here instead of being kept in the repository,
and small changes to them."""

from __future__ import annotations

import base64
import random
import struct
from collections.abc import Callable, Iterator

from tunnelctl.wire import messages
from tunnelctl.wire.window import PACKET_MAX, WINDOW

_GREETING = b"\x05\x01\x00"
_KEY = messages.string("ssh-ed25519") + messages.string(bytes(32))
_PROFILE = b"""\
version: 1
hosts:
  bastion: {hostname: "10.0.0.7", port: 022, identity_file: [~/.ssh/id, 'b']}
forwards:
  db: {local: 5432, to: "db.internal:5432", via: bastion, labels: {a: 0x1F, b: .inf}}
  text: |-
    two
    lines
"""


def _said(message: bytes) -> bytes:
    """A step of the target `connection`: the peer says this."""
    return bytes((0, len(message))) + message


def _connection() -> Iterator[bytes]:
    opens, asks = b"\x04", b"\x0b"
    confirm = _said(messages.channel_open_confirmation(0, 7, WINDOW, PACKET_MAX))
    sends, passes_on, ends, leaves = b"\x07\x02\x00", b"\x08\x01\x00", b"\x09\x00", b"\x0a\x00"
    data = _said(messages.channel_data(0, b"x" * 100))
    much = bytes((2, 0)) + struct.pack(">H", PACKET_MAX)
    yield (
        opens + confirm + sends + data + passes_on + ends + _said(messages.channel_eof(0)) + leaves
    )
    yield opens + confirm + much * 30 + passes_on + b"\x0c\x0b" + much * 30 + passes_on
    yield opens + leaves + confirm + _said(messages.channel_close(0))
    yield opens + _said(messages.channel_open_failure(0, 2, "Connection refused"))
    yield opens + confirm + sends * 80 + _said(messages.channel_window_adjust(0, WINDOW)) + sends
    incoming = messages.channel_open("forwarded-tcpip", 3, WINDOW, PACKET_MAX, b"")
    yield _said(incoming) + b"\x05" + sends + _said(messages.channel_close(0))
    yield _said(incoming) + b"\x06" + _said(messages.global_request("echo", True, b"me"))
    yield asks + _said(b"\x51ok") + asks + _said(b"\x52")
    yield (
        opens + confirm + _said(b"\x5f" + messages.u32(0) + messages.u32(1) + messages.string("e"))
    )


def _fields() -> Iterator[bytes]:
    message = messages.u32(7) + messages.string("text") + b"\x01" + messages.string("")
    yield struct.pack(">H", len(message)) + message + b"\x01\x02\x00\x03"


def _packets() -> Iterator[bytes]:
    payload = b"\x0f" + b"what was said: "
    for cipher in range(4):
        start = bytes((cipher, cipher & 1, 3)) + payload * 3 + b"\x00"
        yield start
        flips, cuts, doubles, inserts = b"\x00\x00\x30\x01", b"\x01\x00\x20\x10", b"\x02", b"\x03"
        yield start + flips
        yield start + cuts
        yield start + doubles + b"\x00\x00\x2f"
        yield start + inserts + b"\x00\x10\x04\xff\xff\xff\xff\xff"


def _kexinit() -> Iterator[bytes]:
    lists = (
        "curve25519-sha256,kex-strict-s-v00@openssh.com,ext-info-s",
        "ssh-ed25519",
        *("aes128-gcm@openssh.com,aes256-ctr",) * 2,
        *("hmac-sha2-256", "", "none", "none", "", ""),
    )
    names = b"".join(map(messages.string, lists))
    for guesses in (b"\0", b"\1"):
        yield bytes(16) + names + guesses + bytes(4)


def _socks() -> Iterator[bytes]:
    for step in (b"\x00", b"\x02", b"\xff"):
        yield step + _GREETING + b"\x05\x01\x00\x03\x02db\x15\x38" + b"early"
        yield step + _GREETING + b"\x05\x01\x00\x01\x0a\x00\x00\x07\x00\x50"
        yield step + _GREETING + b"\x05\x01\x00\x04" + bytes(15) + b"\x01\x00\x50"
        yield step + b"\x04\x01\x00\x50\x0a\x00\x00\x07me\x00"
        yield step + b"\x04\x01\x15\x38\x00\x00\x00\x01\x00db.internal\x00"
        yield step + b"GET / HTTP/1.1\r\n\r\n"


def _known_hosts() -> Iterator[bytes]:
    key = b" ssh-ed25519 " + base64.b64encode(_KEY)
    yield b"db.internal,[10.0.0.7]:2222" + key + b" comment\n# comment\n\n::1" + key
    yield b"@revoked *.internal,!db.*,h?st" + key + b"\n@cert-authority *" + key
    digest = base64.b64encode(bytes(20))
    yield b"|1|" + digest + b"|" + digest + key


def _yaml() -> Iterator[bytes]:
    yield _PROFILE
    yield b'{a: [1, -0o7, 1e3, {b: "\\u263a"}], ? k : v}\n'
    yield b"---\n- &x !!str a\n- *x\n...\n---\n"


def _profile() -> Iterator[bytes]:
    hosts = b"hosts: {b: {ssh_config: false}}\nforwards:\n"
    yield _repeated(b"hosts: [1,", b"1,", b"}")
    yield _repeated(b"", b",", b"")
    yield _repeated(b"", b"[{", b"")
    yield _repeated(b"x: ", b"${A:-", b"b}")
    yield _repeated(b"hosts: {b: {host_key: [", b"SHA256:x, ", b"x]}}")
    yield _repeated(b"extends: [", b"b.yaml, ", b"]")
    yield _repeated(hosts + b"  db: {local: 1, to: 1, via: b, labels: {a: ", b"b", b"}}")
    yield _repeated(b"", b"a: {b: 'x', c: [d]}\n", b"")


def _repeated(head: bytes, piece: bytes, tail: bytes) -> bytes:
    return bytes((len(head),)) + head + bytes((len(piece) - 1,)) + piece + tail


_MADE: dict[str, Callable[[], Iterator[bytes]]] = {
    "connection": _connection,
    "fields": _fields,
    "packets": _packets,
    "kexinit": _kexinit,
    "socks": _socks,
    "known_hosts": _known_hosts,
    "yaml": _yaml,
    "profile": _profile,
}


def seeds(target: str) -> list[bytes]:
    """Inputs for the target of that name."""
    return list(_MADE[target]())


def mutations(target: str, count: int, seed: int) -> Iterator[bytes]:
    """`count` seeds of the target, each with a few bytes changed; the same for the same `seed`."""
    chance = random.Random(seed)  # noqa: S311 - no secret: the same must run again
    made = seeds(target)
    for _ in range(count):
        data = bytearray(chance.choice(made))
        for _ in range(chance.randint(1, 6)):
            _change(data, chance.choice(made), chance)
        yield bytes(data)


def _change(data: bytearray, other: bytes, chance: random.Random) -> None:
    """Flip, cut, double, insert, or go on with another seed."""
    start = chance.randrange(len(data) + 1)
    end = min(len(data), start + chance.randint(1, 12))
    kind = chance.randrange(6)
    if kind == 0 and start < len(data):
        data[start] ^= 1 << chance.randrange(8)
    elif kind == 1 and start < len(data):
        data[start] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
    elif kind == 2:
        del data[start:end]
    elif kind == 3:
        data[start:start] = data[start:end] * chance.randint(1, 20)
    elif kind == 4:
        data[start:start] = chance.randbytes(chance.randint(1, 8))
    else:
        data[start:] = other[chance.randrange(len(other)) :]
