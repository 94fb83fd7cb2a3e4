"""Services that block clients which connect without logging in, and how to recognize them: pure.

Owns the list of targets that are not probed unless a profile requests it. These services count a
connection that is only opened and closed as an attack; after enough of them they reject all clients
from the same address, such as all clients behind one bastion.
"""

from __future__ import annotations

from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.endpoint import Endpoint

# This many bytes of a greeting distinguish every service below.
ENOUGH = 9

_PROTOCOL_10 = 0x0A
_ERROR = 0xFF
# MySQL numbers its server's errors from 1000 on; errors before a login are below this.
_ERRORS = range(1000, 5000)
_HOST_IS_BLOCKED = 1129
# A notice "hello" in a frame of protocol buffers: the greeting of MySQL's X Protocol since 8.0.16.
_X_HELLO = bytes.fromhex("05 00 00 00 0b 08 05 1a 00")


@dataclass(frozen=True, slots=True)
class Barring:
    """A service, and how it treats a client that only connects."""

    service: str
    does: str

    def __str__(self) -> str:
        return f"{self.service} {self.does}"


MYSQL = Barring("MySQL", "bars an address after max_connect_errors connections without a login")
SSH = Barring("SSH", "servers penalise an address that connects without a login")
VNC = Barring("VNC", "servers bar an address after a few connections without a login")

_PORTS = {22: SSH, 3306: MYSQL, 33060: MYSQL, **dict.fromkeys(range(5900, 6000), VNC)}


def by_port(target: Endpoint | None) -> Barring | None:
    """The service whose usual port `target` has; None for any other port, or a unix socket."""
    return None if target is None or target.is_unix else _PORTS.get(target.port)


def by_greeting(heard: bytes) -> Barring | None:
    """The service whose connections begin with these bytes, of which ENOUGH are needed."""
    if heard.startswith(b"SSH-"):
        return SSH
    if heard.startswith(b"RFB "):
        return VNC
    is_mysql = heard.startswith(_X_HELLO) or _is_mysql_packet(heard)
    return MYSQL if is_mysql else None


def refusal(heard: bytes) -> tuple[str, bool] | None:
    """The text of MySQL's error packet, and whether it says that this host is blocked because of
    its earlier connections; None if the greeting is not an error."""
    if not _is_mysql_packet(heard) or heard[4] != _ERROR:
        return None
    end = 4 + int.from_bytes(heard[:3], "little")
    return heard[7:end].decode(errors="replace"), _error_number(heard) == _HOST_IS_BLOCKED


def _is_mysql_packet(heard: bytes) -> bool:
    """MySQL's first packet: its length (3 bytes), the number 0 (1 byte), then the initial handshake
    of protocol 10, which begins with a version as text, or an error with its number (2 bytes)."""
    if len(heard) < ENOUGH or heard[3] != 0:
        return False
    if heard[4] == _PROTOCOL_10:
        return heard[5:ENOUGH].isascii() and chr(heard[5]).isdigit()
    return heard[4] == _ERROR and _error_number(heard) in _ERRORS


def _error_number(heard: bytes) -> int:
    return int.from_bytes(heard[5:7], "little")
