"""The server side of a SOCKS handshake: versions 4, 4a and 5, CONNECT without authentication.

Owns the bytes up to the request, and the reply to it (RFC 1928; SOCKS 4 and 4a as OpenSSH's
channels.c reads them). Names are not resolved here. Must never keep more bytes than the longest
handshake has, nor answer anything but SOCKS.
"""

from __future__ import annotations

import ipaddress
import struct
from enum import IntEnum
from typing import Final

from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.wire.messages import OpenFailure
from tunnelctl.wire.refusals import Refusal, refusal

_USER_MAX: Final = 255
_NAME_MAX: Final = 255


class Reply(IntEnum):
    """Reply codes of SOCKS 5 (RFC 1928 section 6)."""

    GRANTED = 0
    GENERAL_FAILURE = 1
    NOT_ALLOWED = 2
    NETWORK_UNREACHABLE = 3
    HOST_UNREACHABLE = 4
    CONNECTION_REFUSED = 5
    COMMAND_NOT_SUPPORTED = 7
    ADDRESS_NOT_SUPPORTED = 8


_REPLIES: Final = {
    Refusal.PROHIBITED: Reply.NOT_ALLOWED,
    Refusal.UNKNOWN_TYPE: Reply.COMMAND_NOT_SUPPORTED,
    Refusal.REFUSED: Reply.CONNECTION_REFUSED,
    Refusal.NETWORK_UNREACHABLE: Reply.NETWORK_UNREACHABLE,
}


class SocksError(Exception):
    """The handshake cannot continue. `reply` is sent to the client before the end."""

    def __init__(self, message: str, reply: bytes = b"") -> None:
        super().__init__(message)
        self.reply = reply


class _TooShort(Exception):
    """More bytes are needed."""


class SocksServer:
    """One handshake. Pass the client's bytes to `receive` and send what it returns, until `request`
    is set; then answer with `reply`."""

    def __init__(self) -> None:
        self.request: Endpoint | None = None
        self.rest = b""  # bytes after the request
        self._buffer = b""
        self._version = 0
        self._greeted = False

    def receive(self, data: bytes) -> bytes:
        """Take bytes of the client; returns what to send to it now, possibly nothing.

        Raises:
            SocksError: not SOCKS, or something that is not offered.
        """
        self._buffer += data
        answer = b""
        try:
            if not self._version:
                self._version = self._peek(0)
            if self._version == 5:
                if not self._greeted:
                    answer = self._greet()
                self._request5()
            elif self._version == 4:
                self._request4()
            else:
                raise SocksError("a client that does not speak SOCKS")
        except _TooShort:
            return answer
        except SocksError as error:
            error.reply = answer + error.reply  # a greeting is answered first
            raise
        return answer

    def reply(self, code: Reply) -> bytes:
        """The answer to the request."""
        if self._version == 4:
            # 90 granted, 91 rejected or failed; address and port are ignored.
            return struct.pack(">BBHI", 0, 90 if code is Reply.GRANTED else 91, 0, 0)
        return struct.pack(">BBBBIH", 5, code, 0, 1, 0, 0)

    def _peek(self, index: int) -> int:
        if index >= len(self._buffer):
            raise _TooShort
        return self._buffer[index]

    def _upto(self, end: int) -> bytes:
        if end > len(self._buffer):
            raise _TooShort
        return self._buffer[:end]

    def _greet(self) -> bytes:
        """The client's methods; only 0, no authentication, is supported (RFC 1928 section 3)."""
        end = 2 + self._peek(1)
        methods = self._upto(end)[2:]
        self._buffer = self._buffer[end:]
        if 0 not in methods:
            raise SocksError("a client that insists on authentication", b"\x05\xff")
        self._greeted = True
        return b"\x05\x00"

    def _request5(self) -> None:
        version, command, _, kind = self._upto(4)
        if version != 5:
            raise SocksError("a SOCKS request of another version than its greeting")
        if kind == 1:
            end = 4 + 4 + 2
            host = str(ipaddress.IPv4Address(self._upto(end)[4:8]))
        elif kind == 4:
            end = 4 + 16 + 2
            host = str(ipaddress.IPv6Address(self._upto(end)[4:20]))
        elif kind == 3:
            length = self._peek(4)
            end = 5 + length + 2
            host = _name(self._upto(end)[5 : 5 + length], self.reply(Reply.GENERAL_FAILURE))
        else:
            refusal = self.reply(Reply.ADDRESS_NOT_SUPPORTED)
            raise SocksError(f"an address of the unknown type {kind}", refusal)
        if command != 1:
            refusal = self.reply(Reply.COMMAND_NOT_SUPPORTED)
            raise SocksError(f"the SOCKS command {command}, which is not CONNECT", refusal)
        self._finish(host, struct.unpack(">H", self._upto(end)[-2:])[0], end)

    def _request4(self) -> None:
        _, command, port, address = struct.unpack(">BBHI", self._upto(8))
        end = self._string_end(8, _USER_MAX)
        host = str(ipaddress.IPv4Address(address))
        if 0 < address < 256:  # SOCKS 4a: 0.0.0.x means that a name follows
            start, end = end, self._string_end(end, _NAME_MAX)
            host = _name(self._buffer[start : end - 1], self.reply(Reply.GENERAL_FAILURE))
        if command != 1:
            refusal = self.reply(Reply.COMMAND_NOT_SUPPORTED)
            raise SocksError(f"the SOCKS command {command}, which is not CONNECT", refusal)
        self._finish(host, port, end)

    def _string_end(self, start: int, longest: int) -> int:
        """The index after the NUL that ends a string."""
        nul = self._buffer.find(0, start)
        if nul < 0:
            if len(self._buffer) - start > longest:
                raise SocksError("a string without an end", self.reply(Reply.GENERAL_FAILURE))
            raise _TooShort
        if nul - start > longest:
            raise SocksError("a string that is too long", self.reply(Reply.GENERAL_FAILURE))
        return nul + 1

    def _finish(self, host: str, port: int, end: int) -> None:
        if port == 0:
            raise SocksError("port 0, which nobody can listen on", self.reply(Reply.NOT_ALLOWED))
        self.request = Endpoint(host, port)
        self.rest, self._buffer = self._buffer[end:], b""


def _name(raw: bytes, refusal: bytes) -> str:
    """A host name as text, with only the characters of a name or address."""
    if not raw or any(byte <= 0x20 or byte >= 0x7F for byte in raw):
        raise SocksError("a host name that is none", refusal)
    return raw.decode("ascii")


def reply_for(reason: int, description: str) -> Reply:
    """The reply code for a refused channel (RFC 1928 section 6)."""
    untold = (
        Reply.HOST_UNREACHABLE if reason == OpenFailure.CONNECT_FAILED else Reply.GENERAL_FAILURE
    )
    return _REPLIES.get(refusal(reason, description), untold)
