"""KEXINIT as a side sends it (RFC 4253 section 7.1): its lists, and signals among them.

Owns the parsing of the message, and the rules for a guessed packet. Must never choose an algorithm,
nor fail because of an unknown name.
"""

from __future__ import annotations

from enum import IntEnum
from sys import intern
from typing import Self

from tunnelctl.quick_dataclass import dataclass
from tunnelctl.wire.messages import Reader

_COOKIE = 16
# Among the key exchange methods, but none: OpenSSH PROTOCOL section 1.10, RFC 8308.
_SIGNALS = ("kex-strict-", "ext-info-")

Names = tuple[str, ...]


class List(IntEnum):
    """The lists of KEXINIT in their order. Each direction of the connection has its own."""

    KEX = 0
    HOST_KEYS = 1
    CIPHERS_TO_SERVER = 2
    CIPHERS_TO_CLIENT = 3
    MACS_TO_SERVER = 4
    MACS_TO_CLIENT = 5
    COMPRESSIONS_TO_SERVER = 6
    COMPRESSIONS_TO_CLIENT = 7
    LANGUAGES_TO_SERVER = 8
    LANGUAGES_TO_CLIENT = 9


@dataclass(frozen=True, slots=True)
class Proposal:
    """One side's KEXINIT: its lists, without empty names and without `signals`; the first names of
    the lists that a guess depends on, as they were sent; and the number of bytes of all that."""

    lists: tuple[Names, ...]
    signals: frozenset[str]
    first: Names
    guesses: bool
    size: int

    @classmethod
    def read(cls, message: bytes) -> Self:
        """The message without its number.

        Raises:
            ProtocolError: it is shorter than its fields.
        """
        reader = Reader(message, _COOKIE)
        # Interned, because every link keeps the lists of its server, and they are mostly the same.
        sent = [tuple(map(intern, filter(None, reader.text().split(",")))) for _ in List]
        guesses = reader.boolean()
        reader.u32()  # reserved
        first = tuple(next(iter(sent[which]), "") for which in (List.KEX, List.HOST_KEYS))
        signals = frozenset(name for name in sent[List.KEX] if name.startswith(_SIGNALS))
        sent[List.KEX] = tuple(name for name in sent[List.KEX] if name not in signals)
        return cls(tuple(sent), signals, first, guesses, len(message) - len(reader.rest()))

    def guessed_wrong(self, ours: Proposal) -> bool:
        """Whether the packet after this message is a guess that must be ignored (section 7).

        As OpenSSH compares them (kex.c, proposals_match): both sides must prefer the same method
        and the same kind of host key.
        """
        return self.guesses and self.first != ours.first
