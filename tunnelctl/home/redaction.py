"""The secrets that are in use, so that none of them gets into a log or a status by accident.

Owns the list of them, which is as short-lived as they are: a secret is listed from the moment it is
known until every login that was under way then has ended. Must never show its content.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tunnelctl.net.forked import lock_of_process

# Shorter secrets would match by chance in every other line.
_LENGTH_MIN = 4
_INSTEAD = "[secret]"


class SecretsInUse:
    """Used from any thread."""

    def __init__(self) -> None:
        self._lock = lock_of_process()
        self._count = 0  # number of logins and secrets so far, which orders them
        self._logins: set[int] = set()
        self._secrets: dict[str, int] = {}  # since when

    @contextmanager
    def login(self) -> Iterator[None]:
        """While this lasts, secrets that were added before its end are kept."""
        with self._lock:
            login = self._next()
            self._logins.add(login)
        try:
            yield
        finally:
            with self._lock:
                self._logins.remove(login)
                oldest = min(self._logins, default=self._next())
                for secret in [s for s, since in self._secrets.items() if since < oldest]:
                    del self._secrets[secret]

    def add(self, secret: str) -> None:
        """Hide it from now on; if no login is under way, until one ends."""
        if len(secret) >= _LENGTH_MIN:
            with self._lock:
                self._secrets[secret] = self._next()

    def redact(self, text: str) -> str:
        """The text without the secrets, in their own form and as Python and JSON write them."""
        with self._lock:
            secrets = sorted(self._secrets, key=len, reverse=True)
        for secret in secrets:
            for form in (secret, repr(secret)[1:-1]):
                text = text.replace(form, _INSTEAD)
        return text

    def _next(self) -> int:
        self._count += 1
        return self._count


# One for the process: where it is used, the owner of a secret is not known.
SECRETS = SecretsInUse()
