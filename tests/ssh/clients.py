"""Dial and handshake as the product does them, for tests of single steps."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.support.here import here
from tunnelctl import clock
from tunnelctl.errors import Code, Failure
from tunnelctl.spec.host import Host
from tunnelctl.spec.secret import SecretRef, SecretSource
from tunnelctl.ssh.login.handshake import Stage, handshake
from tunnelctl.ssh.milestones import Warn, logged
from tunnelctl.ssh.packets.transport import SshTransport
from tunnelctl.ssh.questions import Ask, Question, QuestionKind
from tunnelctl.ssh.reach.dial import dial

SECONDS = 15.0
SECRET = "correct horse battery staple"
REFERENCE = SecretRef(SecretSource.ENV, ("A_SECRET",))


def secret(reference: SecretRef) -> str:
    assert reference == REFERENCE
    return SECRET


def assert_hidden(failure: Failure) -> None:
    """The secret is in nothing that could be printed of a failure."""
    told = "".join(traceback.format_exception(failure, chain=True))
    for text in (str(failure), repr(failure), told, str(failure.as_dict())):
        assert SECRET not in text


def no_secret(reference: SecretRef) -> str:
    """For logins that must not ask for one."""
    raise AssertionError(f"{reference} was resolved")


def ignore(stage: Stage) -> None:
    """For tests that do not look at the stages."""


def log_in(
    host: Host,
    resolve_secret: Callable[[SecretRef], str] = no_secret,
    on_stage: Callable[[Stage], None] = ignore,
    seconds: float = SECONDS,
    ask: Ask | None = None,
    warn: Warn = logged,
) -> SshTransport:
    """Connect and log in; the caller closes the transport."""
    deadline = clock.monotonic() + seconds
    sock = asyncio.run(dial(host, deadline))
    return handshake(host, sock, here(), resolve_secret, on_stage, deadline, ask, warn=warn)


@contextmanager
def logged_in(
    host: Host,
    resolve_secret: Callable[[SecretRef], str] = no_secret,
    ask: Ask | None = None,
    seconds: float = SECONDS,
) -> Iterator[SshTransport]:
    """A login for the length of a block."""
    transport = log_in(host, resolve_secret, seconds=seconds, ask=ask)
    try:
        yield transport
    finally:
        transport.close()


def fails(
    code: Code,
    host: Host,
    resolve_secret: Callable[[SecretRef], str] = no_secret,
    on_stage: Callable[[Stage], None] = ignore,
    seconds: float = SECONDS,
    ask: Ask | None = None,
) -> Failure:
    """How logging in fails, which must be with `code`."""
    with pytest.raises(Failure) as caught:
        log_in(host, resolve_secret, on_stage, seconds, ask).close()
    assert caught.value.code is code, caught.value
    return caught.value


class Person:
    """Gives these answers in turn (None: nobody is there), and remembers the questions."""

    def __init__(self, *answers: str | None) -> None:
        self.questions: list[Question] = []
        self._answers = list(answers)

    def __call__(self, question: Question) -> str | None:
        self.questions.append(question)
        assert self._answers, f"nobody should ask: {question}"
        return self._answers.pop(0)

    @property
    def kinds(self) -> list[QuestionKind]:
        """What was asked for, in order."""
        return [question.kind for question in self.questions]
