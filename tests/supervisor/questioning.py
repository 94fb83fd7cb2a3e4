"""Logins that ask a person, and whoever hears of the question."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

from tests.supervisor.scene import Scene
from tunnelctl.errors import PLACE, Code, Failure, Hint
from tunnelctl.net.reactor import Reactor
from tunnelctl.net.threads import in_thread
from tunnelctl.spec.host import Host
from tunnelctl.ssh.connect import connect
from tunnelctl.ssh.link.link import Link
from tunnelctl.ssh.questions import Ask, Asking, Question, QuestionKind
from tunnelctl.ssh.turns import Turn
from tunnelctl.state.documents.status_events import QuestionEvent
from tunnelctl.supervisor.journal import Subscription
from tunnelctl.supervisor.logins.question_desk import AnswerScope

PASSPHRASE = Question(QuestionKind.PASSPHRASE, "server", "Enter passphrase for key 'k': ", False)
CODE = Question(QuestionKind.CODE, "server", "Code: ", True)
RIGHT = "open sesame"
DEV = AnswerScope("dev")


class Strict:
    """A `connect` that asks first, in a thread as a login does, and again after a wrong answer."""

    def __init__(self, *asked: Question, tries: int = 3) -> None:
        self.asked: Sequence[Question] = asked
        self.tries = tries
        self.right = RIGHT
        self.attempts = 0
        self.heard: list[str | None] = []

    async def connect(
        self, host: Host, reactor: Reactor, *, asking: Asking, turn: Turn, **more: Any
    ) -> Link:
        self.attempts += 1
        async with turn(host):
            with asking(host) as ask:
                assert ask is not None
                for question in self.asked:
                    await self._right_answer(ask, question)
        return await connect(host, reactor, **more)

    async def _right_answer(self, ask: Ask, question: Question) -> None:
        for _ in range(self.tries):
            answer = await in_thread(partial(ask, question), "asks")
            self.heard.append(answer)
            if answer is None:
                hint = Hint("", f"tunnelctl answer {PLACE}")
                raise Failure(Code.NEEDS_INPUT, f"wants: {question.prompt}", hint)
            if answer == self.right:
                return
        raise Failure(Code.AUTH_FAILED, "wrong")


async def asked(question: Question, host: Host, asking: Asking, turn: Turn) -> str | None:
    """One question of a login that has its turn, in a thread as a login asks it."""
    async with turn(host):
        with asking(host) as ask:
            assert ask is not None
            return await in_thread(partial(ask, question), "asks")


async def asked_or_refused(
    question: Question, host: Host, asking: Asking, turn: Turn
) -> str | None:
    """As `asked`, by a login that gives up without an answer."""
    async with turn(host):
        with asking(host) as ask:
            assert ask is not None
            answer = await in_thread(partial(ask, question), "asks")
            if answer is None:
                raise Failure(Code.AUTH_FAILED, "the key is refused")
            return answer


async def question_in(subscription: Subscription, state: str = "asked") -> QuestionEvent:
    """The next question that the subscription tells of."""
    async for event in subscription:
        if isinstance(event, QuestionEvent) and event.state == state:
            return event
    raise AssertionError("the subscription ended")


def threads(name: str) -> list[str]:
    """The threads of that name that run."""
    return [thread.name for thread in threading.enumerate() if thread.name == name]


async def cut(s: Scene) -> None:
    """Lose every link; the server is back at once."""
    await s.server.kill()
    await s.server.start()
