"""A reference to a secret, never the secret itself.

Separate from `host.py`, because every command imports the failures of secrets, and few need a host.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from tunnelctl.quick_dataclass import dataclass


class SecretSource(StrEnum):
    """The kind of place where a secret is kept (docs/profile.md)."""

    ENV = "env"
    FILE = "file"
    COMMAND = "command"
    KEYRING = "keyring"
    CREDENTIAL = "credential"


@dataclass(frozen=True, slots=True)
class SecretRef:
    """A reference to a secret; `value` is a name, a path, or the words of a command."""

    source: SecretSource
    value: tuple[str, ...]

    def __str__(self) -> str:
        return f"{{{self.source}: {' '.join(self.value)}}}"


# Reads a secret from where it is kept; blocking, raises Failure.
ResolveSecret = Callable[[SecretRef], str]
