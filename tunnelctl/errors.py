"""Failures as data: a stable code, one sentence, a hint that is a command where it can be.

Owns the table of codes: whether each may pass by itself (`retryable`) and the exit code it
becomes. Foreign exceptions are turned into a `Failure` at the floor that meets them, never above.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

# Stands in the command of a hint for the host concerned, until somebody knows its profile.
PLACE = "PROFILE/HOST"


def printable(text: str) -> str:
    """The text with everything that a terminal could obey written as an escape."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def reason(error: Exception) -> str:
    """What went wrong, in the words of the system or of whoever raised it. Never empty: an OSError
    need not have a number, nor any exception a text."""
    text = error.strerror if isinstance(error, OSError) else None
    return text or str(error) or type(error).__name__


def by_hand(program: str) -> str:
    """The hint for a program of the user's that failed: what runs by hand has the environment of
    that shell, which need not be the one that the profile has."""
    return (
        f"run {program} by hand to see why; where it works, tunnelctl restart {PLACE} there takes "
        "that shell's environment along"
    )


class Code(StrEnum):
    """Every code that status, events, the control API and the command line can show."""

    # Shown in the status document too.
    NAME_NOT_FOUND = "name-not-found"
    CONNECTION_REFUSED = "connection-refused"
    UNREACHABLE = "unreachable"
    TIMED_OUT = "timed-out"
    HANDSHAKE_FAILED = "handshake-failed"
    HOST_KEY_UNKNOWN = "host-key-unknown"
    HOST_KEY_CHANGED = "host-key-changed"
    AUTH_FAILED = "auth-failed"
    KEY_UNREADABLE = "key-unreadable"
    SECRET_UNAVAILABLE = "secret-unavailable"  # noqa: S105 - a code, not a secret
    NEEDS_INPUT = "needs-input"
    FORWARD_DENIED = "forward-denied"
    PORT_IN_USE = "port-in-use"
    PERMISSION_DENIED = "permission-denied"
    TARGET_REFUSED = "target-refused"
    TARGET_UNREACHABLE = "target-unreachable"
    PEER_SILENT = "peer-silent"
    SESSION_LOST = "session-lost"
    INCOMPATIBLE_PEER = "incompatible-peer"
    CONFIG_INVALID = "config-invalid"
    AGENT_UNAVAILABLE = "agent-unavailable"
    NAME_TAKEN = "name-taken"
    # Met only by callers of the command line and the control API.
    PROFILE_NOT_FOUND = "profile-not-found"
    DAEMON_NOT_RUNNING = "daemon-not-running"
    ALREADY_RUNNING = "already-running"
    NOT_UP = "not-up"
    NOT_READY = "not-ready"
    USAGE = "usage"
    INTERRUPTED = "interrupted"
    INTERNAL = "internal"


class _Rule(NamedTuple):
    retryable: bool  # may pass by itself: network, DNS, a server that restarts
    exit_code: int  # docs/getting-started.md has what each means


_RULES: dict[Code, _Rule] = {
    Code.NAME_NOT_FOUND: _Rule(True, 69),
    Code.CONNECTION_REFUSED: _Rule(True, 69),
    Code.UNREACHABLE: _Rule(True, 69),
    Code.TIMED_OUT: _Rule(True, 69),
    Code.HANDSHAKE_FAILED: _Rule(True, 69),
    Code.HOST_KEY_UNKNOWN: _Rule(False, 77),
    Code.HOST_KEY_CHANGED: _Rule(False, 77),
    Code.AUTH_FAILED: _Rule(False, 77),
    Code.KEY_UNREADABLE: _Rule(False, 77),
    Code.SECRET_UNAVAILABLE: _Rule(False, 77),
    Code.NEEDS_INPUT: _Rule(False, 77),
    Code.FORWARD_DENIED: _Rule(True, 76),
    Code.PORT_IN_USE: _Rule(True, 73),
    Code.PERMISSION_DENIED: _Rule(False, 73),
    Code.TARGET_REFUSED: _Rule(True, 1),
    Code.TARGET_UNREACHABLE: _Rule(True, 1),
    Code.PEER_SILENT: _Rule(True, 69),
    Code.SESSION_LOST: _Rule(True, 69),
    Code.INCOMPATIBLE_PEER: _Rule(False, 69),
    Code.CONFIG_INVALID: _Rule(False, 78),
    Code.AGENT_UNAVAILABLE: _Rule(True, 77),
    Code.NAME_TAKEN: _Rule(False, 2),
    Code.PROFILE_NOT_FOUND: _Rule(False, 66),
    Code.DAEMON_NOT_RUNNING: _Rule(False, 3),
    Code.ALREADY_RUNNING: _Rule(False, 1),
    Code.NOT_UP: _Rule(False, 1),
    Code.NOT_READY: _Rule(True, 75),
    Code.USAGE: _Rule(False, 2),
    Code.INTERRUPTED: _Rule(False, 130),
    Code.INTERNAL: _Rule(False, 1),
}


class Failure(Exception):
    """What went wrong, as one value that status, logs, events and exit codes all read.

    `message` is one sentence without a full stop that names the profile, host or address
    concerned; `hint` says what to do, as a command where it can be, or is empty.
    `retryable` and `exit_code` follow from the code unless given. `retry_after` is the least
    time to wait before the next try, in seconds, where the peer asks to be left alone.
    `spaced`: a login came to nothing, so the next tries are spaced, lest the server bars us; then
    `retry_after` is the whole wait.
    """

    def __init__(
        self,
        code: Code,
        message: str,
        hint: str = "",
        *,
        retryable: bool | None = None,
        exit_code: int | None = None,
        retry_after: float = 0.0,
        spaced: bool = False,
    ) -> None:
        super().__init__(code, message, hint)
        self.code = code
        self.message = message
        self.hint = hint
        rule = _RULES[code]
        self.retryable = rule.retryable if retryable is None else retryable
        self.exit_code = rule.exit_code if exit_code is None else exit_code
        self.retry_after = retry_after
        self.spaced = spaced

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def __repr__(self) -> str:
        return f"Failure({self.code}, {self.message!r}, {self.hint!r})"

    def but(
        self,
        *,
        message: str | None = None,
        hint: str | None = None,
        retryable: bool | None = None,
    ) -> Failure:
        """The same failure in other words, or where it may pass by itself."""
        return Failure(
            self.code,
            self.message if message is None else message,
            self.hint if hint is None else hint,
            retryable=self.retryable if retryable is None else retryable,
            exit_code=self.exit_code,
            retry_after=self.retry_after,
            spaced=self.spaced,
        )

    def after(self, seconds: float) -> Failure:
        """The same, with the least time to wait before the next try."""
        waiting = self.but()
        waiting.retry_after = seconds
        return waiting

    def at(self, place: str) -> Failure:
        """The same, with `place` for the `PROFILE/HOST` of its hint: a host does not know whose
        it is."""
        return self.but(hint=self.hint.replace(PLACE, place))

    def as_dict(self) -> dict[str, str]:
        """The shape of `last_error` in the status document."""
        return {"code": str(self.code), "message": self.message, "hint": self.hint}
