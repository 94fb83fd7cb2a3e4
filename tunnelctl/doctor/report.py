"""The result: a list of steps, each with an outcome, a cause and hints.

Owns the exit code for the steps, and their form as JSON. Must never ask a person.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import Any

from tunnelctl.config.profile.find import is_same_file
from tunnelctl.doctor import sentences
from tunnelctl.errors import Code, Failure, Hint
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.state.documents.snapshot import (
    ErrorStatus,
    ForwardStatus,
    HostStatus,
    ProfileState,
    ProfileStatus,
    Status,
    Wanted,
    error_of,
)

REPORT_VERSION = 1
_FAILED = "failed"  # a state that profiles, hosts and forwards share
_Part = ProfileStatus | HostStatus | ForwardStatus


class Result(StrEnum):
    """The outcome of a step. `warning`: it works, but not as expected, or not for long."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"  # because of an earlier failure, or because it does not apply


class Part(StrEnum):
    """The steps other than the milestones of a connection (ssh/milestones.py)."""

    PROFILE = "profile"
    DAEMON = "daemon"
    SECRETS = "secrets"
    KEYS = "keys"
    LISTENER = "listener"
    PERMISSION = "permission"
    TARGET = "target"
    SESSION = "session"
    TAKE_OVER = "take-over"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of one `subject`: the profile, a host or a forward, by name.

    `seconds` is its duration. `failure` is set if the step failed, and has the exit code.
    """

    step: str
    subject: str
    result: Result
    message: str
    hints: tuple[Hint, ...] = ()
    seconds: float = 0.0
    failure: Failure | None = None

    @property
    def code(self) -> Code | None:
        """The code of the failure."""
        return None if self.failure is None else self.failure.code

    @property
    def hint(self) -> str:
        """All hints in one line."""
        return "; ".join(map(str, self.hints))

    def as_json(self) -> dict[str, Any]:
        """One element of `steps`."""
        return {
            "step": self.step,
            "subject": self.subject,
            "result": str(self.result),
            "code": None if self.code is None else str(self.code),
            "message": self.message,
            "hint": self.hint,
            "seconds": round(self.seconds, 3),
        }


def ok(step: str, subject: str, message: str, seconds: float = 0.0) -> Step:
    """The step succeeded."""
    return Step(step, subject, Result.OK, message, seconds=seconds)


def warning(step: str, subject: str, message: str, *hints: Hint | str) -> Step:
    """The step succeeded, with a restriction."""
    found = tuple(Hint(hint) if isinstance(hint, str) else hint for hint in hints if hint)
    return Step(step, subject, Result.WARNING, message, found)


def caveat(step: str, subject: str, failure: Failure) -> Step:
    """The same, for a restriction that is a Failure."""
    return Step(step, subject, Result.WARNING, failure.message, failure.hints)


def failed(step: str, subject: str, failure: Failure, seconds: float = 0.0) -> Step:
    """The step failed."""
    return Step(step, subject, Result.FAILED, failure.message, failure.hints, seconds, failure)


def skipped(step: str, subject: str, message: str) -> Step:
    """The step was not run; `message` is the reason."""
    return Step(step, subject, Result.SKIPPED, message)


def untested(step: str, subject: str, message: str, *hints: Hint | str) -> Step:
    """The step cannot be run from here; the hints are what a person looks at."""
    return replace(warning(step, subject, message, *hints), result=Result.SKIPPED)


@dataclass(frozen=True, slots=True)
class Report:
    """The steps of one profile, in the order of the connection."""

    profile: str
    steps: tuple[Step, ...]

    @property
    def exit_code(self) -> int:
        """0, or the exit code of the first failed step."""
        return next((step.failure.exit_code for step in self.steps if step.failure is not None), 0)

    def as_json(self) -> dict[str, Any]:
        """The document of `doctor --json`."""
        return {
            "api_version": REPORT_VERSION,
            "profile": self.profile,
            "steps": [step.as_json() for step in self.steps],
        }


def daemon_steps(profile: str, source: str, status: Status | None) -> list[Step]:
    """The daemon's view of the profile from the file `source`: `status` is its status document,
    None if no daemon runs."""
    if status is None:
        return [ok(Part.DAEMON, profile, sentences.no_daemon())]
    other = profile_in(status, profile)
    found = profile_in(status, profile, source)
    if other is not None and found is None and other.wanted is Wanted.UP:
        what = sentences.another_of_this_name(other.source)
        hint = sentences.examine_the_other(other.source)
        return [warning(Part.DAEMON, profile, what, hint)]
    if found is None or found.wanted is not Wanted.UP:
        return [ok(Part.DAEMON, profile, sentences.not_wanted_up())]
    is_up = found.state is ProfileState.UP
    troubled = [part for part in _troubled(found) if not is_up or part.state == _FAILED]
    steps = [_complaint(profile, found.state, part) for part in troubled]
    if is_up:
        return [ok(Part.DAEMON, profile, sentences.is_up()), *steps]
    if not steps and found.fleet is not None and found.state is ProfileState.STANDBY:
        return [ok(Part.DAEMON, profile, sentences.stands_by(str(found.fleet)))]
    return steps or [warning(Part.DAEMON, profile, sentences.wanted_but(found.state))]


def profile_in(status: Status | None, name: str, source: str | None = None) -> ProfileStatus | None:
    """A profile in a status document, from the file `source` if given; None if there is none."""
    for profile in () if status is None else status.profiles:
        if profile.name == name:
            is_meant = source is None or is_same_file(profile.source, source)
            return profile if is_meant else None
    return None


def _troubled(profile: ProfileStatus) -> list[_Part]:
    """The parts with an error, each error once, because forwards repeat that of their host."""
    found: dict[str, _Part] = {}
    for part in (profile, *profile.parts):
        if part.last_error is not None:
            found.setdefault(part.last_error.message, part)
    return list(found.values())


def _complaint(profile: str, state: str, part: _Part) -> Step:
    """A step for the daemon's error of a part. It failed only if the daemon gave up: `doctor` does
    not repeat what would leave something on the server. An error that is retried may have
    passed."""
    error = part.last_error
    assert error is not None
    hints = _daemon_hints(profile, error)
    told = sentences.wanted_but_failing(state, error.message)
    if part.state != _FAILED:
        return warning(Part.DAEMON, profile, told, *hints)
    failure = error_of(part).but(detail=told, hints=hints)
    return failed(Part.DAEMON, profile, failure)


def _daemon_hints(profile: str, error: ErrorStatus) -> list[Hint | str]:
    """The daemon's hints, and one that the daemon cannot know: its environment may differ from this
    terminal's."""
    hints: list[Hint | str] = [error.hint]
    if error.code in (Code.AUTH_FAILED, Code.AGENT_UNAVAILABLE):
        hints.append(sentences.another_environment(profile))
    return hints
