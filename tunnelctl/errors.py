"""Failures as data: a stable code, the host or forward concerned, one sentence, and hints.

Owns the table of codes, with each code's exit code and whether it is temporary (`retryable`), and
the format of a failure in one line. Foreign exceptions become a `Failure` in the floor that meets
them, never above. The sentences are in the `sentences` module of each floor.
"""

from __future__ import annotations

import copyreg
from collections.abc import Iterable
from dataclasses import replace
from enum import StrEnum
from typing import Any

from tunnelctl.quick_dataclass import dataclass

# Placeholder for the host in the command of a hint, until its profile is known.
PLACE = "PROFILE/HOST"


def printable(text: str) -> str:
    """The text with every unprintable character as an escape, so that no terminal interprets it."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def reason(error: Exception) -> str:
    """The error in the words of the system or of the library that raised it. Never empty: an
    OSError may have no number, and an exception no text."""
    text = error.strerror if isinstance(error, OSError) else None
    return text or str(error) or type(error).__name__


class Code(StrEnum):
    """Every code in status, events, the control API and the command line.

    `retryable`: the cause is temporary (network, DNS, a server that restarts). `exit_code` is that
    of a command that fails so; docs/getting-started.md lists them.
    """

    retryable: bool
    exit_code: int

    def __new__(cls, value: str, retryable: bool = False, exit_code: int = 1) -> Code:
        code = str.__new__(cls, value)
        code._value_ = value
        code.retryable = retryable
        code.exit_code = exit_code
        return code

    # Also in the status document.
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
    STORE_LOST = "store-lost", True, 69
    # Only for callers of the command line and the control API.
    PROFILE_NOT_FOUND = "profile-not-found", False, 66
    CONNECTION_NOT_FOUND = "connection-not-found", False, 1
    DAEMON_NOT_RUNNING = "daemon-not-running", False, 3
    ALREADY_RUNNING = "already-running", False, 1
    NOT_UP = "not-up", False, 1
    NOT_READY = "not-ready", True, 75
    USAGE = "usage", False, 2
    INTERRUPTED = "interrupted", False, 130
    INTERNAL = "internal", False, 1


class Fact(StrEnum):
    """Known about a failure in addition to its code, for finding its cause."""

    NO_NAME = "no-name"  # the server cannot resolve the name of a target
    ANSWER_WOULD_DO = "answer-would-do"  # an answer of a person would allow the login too
    OUT_OF_DATE = "out-of-date"  # a certificate is not valid at this machine's time
    DAEMON_SILENT = "daemon-silent"  # a daemon is there, so starting one would not help


@dataclass(frozen=True, slots=True)
class Hint:
    """A remedy for a failure: a phrase, and the command for it if there is one.

    `PLACE` in the command stands for the host until `Failure.at` replaces it. `edits_profile`: the
    remedy is a change of the profile, so it is useless without one.
    """

    text: str
    command: str = ""
    edits_profile: bool = False

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.text, self.command)))

    def at(self, place: str) -> Hint:
        """The same, with `place` as the host in its command."""
        return replace(self, command=self.command.replace(PLACE, place))


class Failure(Exception):
    """One failure, as status, logs, events and exit codes all read it.

    `subject` is the host, forward or address concerned, empty if `detail` names it; `hop` is the
    jump host that caused it, if any. `detail` is one sentence without a full stop. Each of `hints`
    is one remedy; a string is a hint without a command, an empty one is ignored. `facts` are known
    in addition to the code: a `Fact`, or the fingerprint of a host key. `retryable` and `exit_code`
    follow from the code unless given. `retry_after` is the shortest delay before the next attempt,
    in seconds, if the peer asks for one. `spaced`: a login failed, so further attempts are spaced
    to avoid a ban; `retry_after` is then the whole delay.

    `message` and `hint` are for people only: no code parses them.
    """

    def __init__(
        self,
        code: Code,
        detail: str,
        *hints: Hint | str,
        subject: str = "",
        hop: str = "",
        facts: Iterable[str] = (),
        retryable: bool | None = None,
        exit_code: int | None = None,
        retry_after: float = 0.0,
        spaced: bool = False,
    ) -> None:
        super().__init__(code, subject, detail)
        self.code = code
        self.subject = subject
        self.hop = hop
        self.detail = detail
        self.hints = tuple(Hint(hint) if isinstance(hint, str) else hint for hint in hints if hint)
        self.facts = frozenset(facts)
        self.retryable = code.retryable if retryable is None else retryable
        self.exit_code = code.exit_code if exit_code is None else exit_code
        self.retry_after = retry_after
        self.spaced = spaced

    @property
    def message(self) -> str:
        """`hop SUBJECT: detail`, for display."""
        subject = f"hop {self.subject or self.hop}" if self.hop else self.subject
        return f"{subject}: {self.detail}" if subject else self.detail

    @property
    def hint(self) -> str:
        """All hints in one line; empty if there are none."""
        return "; ".join(map(str, self.hints))

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def __repr__(self) -> str:
        return f"Failure({self.code}, {self.message!r}, {self.hint!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle, as between the processes of a pool: subclasses take other arguments."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]  # documented for pickle alone

    def but(
        self,
        *,
        code: Code | None = None,
        subject: str | None = None,
        hop: str | None = None,
        detail: str | None = None,
        hints: Iterable[Hint | str] | None = None,
        retryable: bool | None = None,
        retry_after: float | None = None,
        spaced: bool | None = None,
    ) -> Failure:
        """The same failure, with the given fields replaced."""
        return Failure(
            self.code if code is None else code,
            self.detail if detail is None else detail,
            *(self.hints if hints is None else hints),
            subject=self.subject if subject is None else subject,
            hop=self.hop if hop is None else hop,
            facts=self.facts,
            retryable=self.retryable if retryable is None else retryable,
            exit_code=self.exit_code,
            retry_after=self.retry_after if retry_after is None else retry_after,
            spaced=self.spaced if spaced is None else spaced,
        )

    def and_hints(self, *hints: Hint | str) -> Failure:
        """The same, with more hints."""
        return self.but(hints=(*self.hints, *hints))

    def at(self, place: str) -> Failure:
        """The same, with `place` (`dev/bastion`) in the commands of its hints. A host does not know
        its profile."""
        return self.but(hints=[hint.at(place) for hint in self.hints])

    def as_dict(self) -> dict[str, str]:
        """`last_error` as in the status document."""
        return {"code": str(self.code), "message": self.message, "hint": self.hint}


def edit(text: str) -> Hint:
    """A hint to change the profile."""
    return Hint(f"{text} in the profile", edits_profile=True)


def by_hand(program: str) -> tuple[Hint, Hint]:
    """The hints for a user's program that failed. By hand it runs in the environment of the shell,
    which may differ from the profile's."""
    return (
        Hint(f"run {program} by hand to see why"),
        Hint("if it works there, pass that shell's environment on", f"tunnelctl restart {PLACE}"),
    )
