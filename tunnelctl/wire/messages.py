"""The messages of the SSH connection protocol (RFC 4254), parsed and built.

Owns message numbers, reason codes and the field encodings of RFC 4251 section 5. Must never
trust a length: a field that runs past the end of its message is a `ProtocolError`.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final


class ProtocolError(Exception):
    """The peer broke the protocol; the connection must end. The text says how."""


class Message(IntEnum):
    """Message numbers (RFC 4250 section 4.1.2)."""

    DISCONNECT = 1
    IGNORE = 2
    UNIMPLEMENTED = 3
    DEBUG = 4
    SERVICE_REQUEST = 5
    EXT_INFO = 7
    KEXINIT = 20
    NEWKEYS = 21
    USERAUTH_REQUEST = 50
    USERAUTH_SUCCESS = 52
    GLOBAL_REQUEST = 80
    REQUEST_SUCCESS = 81
    REQUEST_FAILURE = 82
    CHANNEL_OPEN = 90
    CHANNEL_OPEN_CONFIRMATION = 91
    CHANNEL_OPEN_FAILURE = 92
    CHANNEL_WINDOW_ADJUST = 93
    CHANNEL_DATA = 94
    CHANNEL_EXTENDED_DATA = 95
    CHANNEL_EOF = 96
    CHANNEL_CLOSE = 97
    CHANNEL_REQUEST = 98
    CHANNEL_SUCCESS = 99
    CHANNEL_FAILURE = 100


# Messages up to here belong to key exchange and may be sent during it (RFC 4253 section 7.1); those
# from CONNECTION_FIRST on are the connection protocol.
TRANSPORT_LAST: Final = 49
CONNECTION_FIRST: Final = 80


class OpenFailure(IntEnum):
    """Reason codes of SSH_MSG_CHANNEL_OPEN_FAILURE (RFC 4254 section 5.1)."""

    ADMINISTRATIVELY_PROHIBITED = 1
    CONNECT_FAILED = 2
    UNKNOWN_CHANNEL_TYPE = 3
    RESOURCE_SHORTAGE = 4


U32_MAX: Final = 0xFFFF_FFFF

_U32: Final = struct.Struct(">I")
_TWO_U32: Final = struct.Struct(">II")
_OPEN: Final = struct.Struct(">III")
_TYPE_ID: Final = struct.Struct(">BI")
_TYPE_ID_ID: Final = struct.Struct(">BII")
_CONFIRMATION: Final = struct.Struct(">BIIII")


class Reader:
    """Parses the fields of one message in order. The message is copied, so it outlives the
    buffer."""

    def __init__(self, message: bytes | memoryview, offset: int = 0) -> None:
        self._data = bytes(message)
        self._at = offset

    def _take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise ProtocolError("a message is shorter than its fields")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def boolean(self) -> bool:
        """One byte; anything but zero is true."""
        return self._take(1) != b"\0"

    def u32(self) -> int:
        """An unsigned 32-bit number."""
        return self.numbers(_U32)[0]

    def numbers(self, layout: struct.Struct) -> tuple[int, ...]:
        """Several numbers with this `layout`."""
        try:
            taken = layout.unpack_from(self._data, self._at)
        except struct.error:
            raise ProtocolError("a message is shorter than its fields") from None
        self._at += layout.size
        return taken

    def string(self) -> bytes:
        """A byte string after its length."""
        return self._take(self.u32())

    def text(self) -> str:
        """A string as text; bytes that are not UTF-8 are replaced, because it is only displayed."""
        return self.string().decode("utf-8", "replace")

    def rest(self) -> bytes:
        """The remaining bytes."""
        return self._take(len(self._data) - self._at)


def u32(number: int) -> bytes:
    """An unsigned 32-bit number."""
    return _U32.pack(number)


def string(value: bytes | str) -> bytes:
    """A string after its length."""
    raw = value.encode() if isinstance(value, str) else value
    return _U32.pack(len(raw)) + raw


def global_request(name: str, want_reply: bool, data: bytes = b"") -> bytes:
    """SSH_MSG_GLOBAL_REQUEST (RFC 4254 section 4)."""
    return bytes((Message.GLOBAL_REQUEST,)) + string(name) + bytes((want_reply,)) + data


def channel_open(kind: str, sender: int, window: int, packet_max: int, data: bytes) -> bytes:
    """SSH_MSG_CHANNEL_OPEN (RFC 4254 section 5.1)."""
    raw = kind.encode()
    head, numbers = (
        _TYPE_ID.pack(Message.CHANNEL_OPEN, len(raw)),
        _OPEN.pack(sender, window, packet_max),
    )
    return b"".join((head, raw, numbers, data))


def channel_open_confirmation(recipient: int, sender: int, window: int, packet_max: int) -> bytes:
    """SSH_MSG_CHANNEL_OPEN_CONFIRMATION (RFC 4254 section 5.1)."""
    return _CONFIRMATION.pack(
        Message.CHANNEL_OPEN_CONFIRMATION, recipient, sender, window, packet_max
    )


def channel_open_failure(recipient: int, reason: int, description: str) -> bytes:
    """SSH_MSG_CHANNEL_OPEN_FAILURE (RFC 4254 section 5.1)."""
    head = _TYPE_ID_ID.pack(Message.CHANNEL_OPEN_FAILURE, recipient, reason)
    return head + string(description) + string("")


def channel_window_adjust(recipient: int, count: int) -> bytes:
    """SSH_MSG_CHANNEL_WINDOW_ADJUST: `count` more bytes may be sent."""
    return _TYPE_ID_ID.pack(Message.CHANNEL_WINDOW_ADJUST, recipient, count)


def channel_data(recipient: int, data: bytes | memoryview) -> bytes:
    """SSH_MSG_CHANNEL_DATA, whole. The fast path writes the same header in place."""
    return _TYPE_ID_ID.pack(Message.CHANNEL_DATA, recipient, len(data)) + data


def channel_eof(recipient: int) -> bytes:
    """SSH_MSG_CHANNEL_EOF (RFC 4254 section 5.3)."""
    return _TYPE_ID.pack(Message.CHANNEL_EOF, recipient)


def channel_close(recipient: int) -> bytes:
    """SSH_MSG_CHANNEL_CLOSE (RFC 4254 section 5.3)."""
    return _TYPE_ID.pack(Message.CHANNEL_CLOSE, recipient)


def channel_request(recipient: int, name: str, data: bytes = b"") -> bytes:
    """SSH_MSG_CHANNEL_REQUEST (RFC 4254 section 5.4) without a reply."""
    return _TYPE_ID.pack(Message.CHANNEL_REQUEST, recipient) + string(name) + b"\0" + data


def channel_failure(recipient: int) -> bytes:
    """SSH_MSG_CHANNEL_FAILURE, the answer to an unknown request."""
    return _TYPE_ID.pack(Message.CHANNEL_FAILURE, recipient)


def unimplemented(sequence: int) -> bytes:
    """SSH_MSG_UNIMPLEMENTED (RFC 4253 section 11.4) for the packet of that sequence number."""
    return _TYPE_ID.pack(Message.UNIMPLEMENTED, sequence & U32_MAX)


def disconnect(reason: int, description: str) -> bytes:
    """SSH_MSG_DISCONNECT (RFC 4253 section 11.1)."""
    head = _TYPE_ID.pack(Message.DISCONNECT, reason)
    return head + string(description) + string("")


def tcpip_forward(address: str, port: int) -> bytes:
    """The data of `tcpip-forward` and `cancel-tcpip-forward` (RFC 4254 section 7.1)."""
    return string(address) + u32(port)


def tcpip_open(host: str, port: int, originator: str, originator_port: int) -> bytes:
    """The data of `direct-tcpip` and `forwarded-tcpip` opens (RFC 4254 section 7.2)."""
    to, by = host.encode(), originator.encode()
    numbers = _TWO_U32.pack(port, len(by))
    return b"".join((_U32.pack(len(to)), to, numbers, by, _U32.pack(originator_port)))
