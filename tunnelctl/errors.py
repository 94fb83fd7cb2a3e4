"""Failures as data: a stable code, one sentence, a hint that is a command where it can be.

Owns the table of codes: whether each may pass by itself (`retryable`) and its exit code.
Foreign exceptions are turned into a `Failure` at the floor that meets them, never above.
"""

from __future__ import annotations

from enum import StrEnum

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
    """Every code that status, events, the control API and the command line can show.

    `retryable`: it may pass by itself (network, DNS, a server that restarts). `exit_code` is what a
    command ends with; docs/getting-started.md has what each means.
    """

    retryable: bool
    exit_code: int

    def __new__(cls, value: str, retryable: bool = False, exit_code: int = 1) -> Code:
        code = str.__new__(cls, value)
        code._value_ = value
        code.retryable = retryable
        code.exit_code = exit_code
        return code

    # Shown in the status document too.
    NAME_NOT_FOUND = "name-not-found", True, 69
    CONNECTION_REFUSED = "connection-refused", True, 69
    UNREACHABLE = "unreachable", True, 69
    TIMED_OUT = "timed-out", True, 69
    HANDSHAKE_FAILED = "handshake-failed", True, 69
    HOST_KEY_UNKNOWN = "host-key-unknown", False, 77
    HOST_KEY_CHANGED = "host-key-changed", False, 77
    AUTH_FAILED = "auth-failed", False, 77
    KEY_UNREADABLE = "key-unreadable", False, 77
    SECRET_UNAVAILABLE = "secret-unavailable", False, 77
    NEEDS_INPUT = "needs-input", False, 77
    FORWARD_DENIED = "forward-denied", True, 76
    PORT_IN_USE = "port-in-use", True, 73
    PERMISSION_DENIED = "permission-denied", False, 73
    TARGET_REFUSED = "target-refused", True, 1
    TARGET_UNREACHABLE = "target-unreachable", True, 1
    PEER_SILENT = "peer-silent", True, 69
    SESSION_LOST = "session-lost", True, 69
    INCOMPATIBLE_PEER = "incompatible-peer", False, 69
    CONFIG_INVALID = "config-invalid", False, 78
    AGENT_UNAVAILABLE = "agent-unavailable", True, 77
    NAME_TAKEN = "name-taken", False, 2
    # Met only by callers of the command line and the control API.
    PROFILE_NOT_FOUND = "profile-not-found", False, 66
    DAEMON_NOT_RUNNING = "daemon-not-running", False, 3
    ALREADY_RUNNING = "already-running", False, 1
    NOT_UP = "not-up", False, 1
    NOT_READY = "not-ready", True, 75
    USAGE = "usage", False, 2
    INTERRUPTED = "interrupted", False, 130
    INTERNAL = "internal", False, 1


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
        self.retryable = code.retryable if retryable is None else retryable
        self.exit_code = code.exit_code if exit_code is None else exit_code
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
