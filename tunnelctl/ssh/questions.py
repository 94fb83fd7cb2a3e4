"""Questions of a login to a person, whose time does not count for the deadline of the login.

Owns the text of a question, not who answers it. Must never keep an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from enum import StrEnum
from typing import Protocol

from tunnelctl import clock
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.host import Host


class QuestionKind(StrEnum):
    """The kinds of questions."""

    PASSPHRASE = "passphrase"  # noqa: S105 - a kind, not a passphrase
    PASSWORD = "password"  # noqa: S105 - a kind, not a password
    CODE = "code"  # a prompt of keyboard-interactive (RFC 4256), as for a second factor
    HOST_KEY = "host-key"  # whether an unknown host key is right: yes, no or the fingerprint


@dataclass(frozen=True, slots=True)
class Question:
    """One question about `host` (its name in the profile). `prompt` may be shown as it is: control
    characters are escaped. `echo`: the answer is not secret and may be visible while it is
    typed."""

    kind: QuestionKind
    host: str
    prompt: str
    echo: bool


# Blocks until a person has answered. None: nobody can be asked.
Ask = Callable[[Question], str | None]
# The answers for one login to a host; after the end of it, open questions are answered None.
# Entered and left on the loop. An `Ask` is called from the login's thread.
Asking = Callable[[Host], AbstractContextManager[Ask | None]]


def nobody(_host: Host) -> AbstractContextManager[Ask | None]:
    """An `Asking` without anybody to ask."""
    return nullcontext()


class HasDeadline(Protocol):
    """`deadline` is a moment of `clock.monotonic` at which every wait ends; None for never."""

    deadline: float | None


@contextmanager
def paused(timed: HasDeadline) -> Iterator[None]:
    """The deadline of `timed` is suspended: afterwards it is later by the time that passed.

    A wait for the peer reads the deadline again afterwards.
    """
    deadline, timed.deadline = timed.deadline, None
    began = clock.monotonic()
    try:
        yield
    finally:
        if deadline is not None:
            timed.deadline = deadline + clock.monotonic() - began


def pausing(ask: Ask, timed: HasDeadline) -> Ask:
    """`ask`, with the deadline of `timed` suspended meanwhile."""

    def asked(question: Question) -> str | None:
        with paused(timed):
            return ask(question)

    return asked
