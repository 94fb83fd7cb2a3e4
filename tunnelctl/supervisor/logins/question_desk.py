"""The desk where logins leave their questions, and whoever listens for them brings the answers.

Owns the open questions, who answers for which hosts, the answers that a host may remember, and
which hosts somebody's answer let in.
Must never tell an answer to anybody but the login that asked, and never keep a question open that
nobody hears or that its login does not wait for any more.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from types import TracebackType

from tunnelctl import clock
from tunnelctl.errors import Code, Fact, Failure
from tunnelctl.home.redaction import SECRETS
from tunnelctl.spec.host import Host
from tunnelctl.ssh.chain import everybody
from tunnelctl.ssh.questions import Ask, Question, QuestionKind
from tunnelctl.state.status_events import EventKind, QuestionEvent
from tunnelctl.supervisor import sentences
from tunnelctl.supervisor.journal import Subscription

_log = logging.getLogger("tunnelctl")

# How long a person may take, in seconds; sshd gives a login no longer (LoginGraceTime).
ANSWER_WITHIN = 120.0
_LONGEST_ANSWER = 4096  # characters
_REMEMBERED = (QuestionKind.PASSPHRASE, QuestionKind.PASSWORD)
# What a server or a key says to a wrong answer.
_WRONG = (Code.AUTH_FAILED, Code.KEY_UNREADABLE)

# What lets in, and is no key's.
_LETS_IN = (QuestionKind.PASSWORD, QuestionKind.CODE)

# Takes an answer, or None, and whether a person wants it kept.
Reply = Callable[[str | None, bool], None]
_Key = tuple[Host, QuestionKind, str]
# As `tunnelctl.ssh.questions.Asking`; the second is called once a person is waited for.
PatientAsking = Callable[[Host, Callable[[], None]], AbstractContextManager[Ask | None]]


@dataclass(frozen=True, slots=True)
class AnswerScope:
    """A host of a profile, as status names it; an empty `host` stands for all of them."""

    profile: str
    host: str = ""

    def includes(self, other: AnswerScope) -> bool:
        """Whether `other` is it or one of its hosts."""
        return self.profile == other.profile and self.host in ("", other.host)


class KeptAnswer:
    """Answers that a person wants kept until the daemon ends, whatever becomes of the profile.

    A passphrase opens a file here, for whichever host; a password is that of one user there.
    """

    def __init__(self) -> None:
        self._answers: dict[tuple[str, QuestionKind, str], str] = {}

    def get(self, key: _Key) -> str | None:
        """What was answered before."""
        return self._answers.get(self._lasting(key))

    def keep(self, key: _Key, answer: str) -> None:
        """Keep it."""
        self._answers[self._lasting(key)] = answer

    def drop(self, key: _Key) -> None:
        """It was wrong."""
        self._answers.pop(self._lasting(key), None)

    @staticmethod
    def _lasting(key: _Key) -> tuple[str, QuestionKind, str]:
        host, kind, prompt = key
        place = "" if kind is QuestionKind.PASSPHRASE else f"{host.user}@{host.address}"
        return place, kind, prompt


class Memory:
    """Answers that serve later logins of a profile: of hosts that say `remember: true`, and those
    that are `kept`. Never a code.

    Also to which hosts an answer was the way in, whether it is remembered or not.
    """

    def __init__(self, kept: KeptAnswer | None = None) -> None:
        self._kept = KeptAnswer() if kept is None else kept
        self._answers: dict[_Key, str] = {}
        self._answered: set[Host] = set()

    def get(self, key: _Key) -> str | None:
        """What was answered before."""
        return self._answers.get(key, self._kept.get(key))

    def keep(self, key: _Key, answer: str, *, asked: bool) -> None:
        """Remember, where it may be; `asked`: until the daemon ends, as a person wants it."""
        host, kind, _ = key
        if kind not in _REMEMBERED:
            return
        if host.remember:
            self._answers[key] = answer
        if asked:
            self._kept.keep(key, answer)

    def drop(self, key: _Key) -> None:
        """It was wrong."""
        self._answers.pop(key, None)
        self._kept.drop(key)

    def retain(self, hosts: Iterable[Host]) -> None:
        """Forget what was answered to any other host than these, their hops and fallbacks."""
        known = everybody(hosts)
        self._answers = {key: text for key, text in self._answers.items() if key[0] in known}
        self._answered &= known

    def let_in(self, host: Host) -> None:
        """Somebody's answer let us in there."""
        self._answered.add(host)

    def was_let_in(self, host: Host) -> bool:
        """Whether `let_in` was said of it."""
        return host in self._answered


class Questions:
    """One desk for all profiles. Everything but an `Ask` is for the loop's thread.

    `on_listener` is called with a place for which somebody answers from now on.
    """

    def __init__(self, on_listener: Callable[[AnswerScope], None]) -> None:
        self.kept = KeptAnswer()
        self._on_listener = on_listener
        self._listeners: dict[Subscription, tuple[AnswerScope, ...]] = {}
        self._open: dict[str, _Open] = {}

    def listen(
        self, subscription: Subscription, places: Iterable[AnswerScope], *, orders: bool
    ) -> None:
        """Whoever reads this subscription answers for these places: it gets their questions.

        One that `orders` them up next brings an environment with that, and has them tried in it.
        """
        self._listeners[subscription] = tuple(places)
        subscription.on_close = self._left
        for opened in self._open.values():
            if self._hears(subscription, opened.place):
                subscription.put(opened.event("asked"))
        for place in () if orders else self._listeners[subscription]:
            self._on_listener(place)

    def answer(
        self, profile: str, question: str, answer: str | None, *, remember: bool = False
    ) -> None:
        """Bring an answer; None: there will be none. `remember`: to keep until the daemon ends.

        Raises:
            Failure: needs-input, when this question is not open; usage, for one that is no answer.
        """
        opened = self._open.get(question)
        if opened is None or opened.place.profile != profile:
            raise sentences.question_closed()
        if answer is not None and len(answer) > _LONGEST_ANSWER:
            raise sentences.answer_too_long(_LONGEST_ANSWER)
        self._close(opened, answer, remember=remember)

    def asking(self, place: AnswerScope, memory: Memory) -> PatientAsking:
        """Who answers the logins on the way to `place`."""

        def login(host: Host, on_wait: Callable[[], None]) -> AbstractContextManager[Ask | None]:
            return _Login(self, place, host, memory, on_wait)

        return login

    @staticmethod
    def recalling(place: AnswerScope, memory: Memory) -> PatientAsking:
        """As `asking`, for a login that interrupts nobody: what is remembered is all it gets."""
        return Questions(lambda _: None).asking(place, memory)

    def ask(
        self, place: AnswerScope, question: Question, reply: Reply, *, remember: bool | None = None
    ) -> str | None:
        """Leave a question; `reply` is called with the answer, or with None, and whether it is to
        be kept. Its id; None where nobody hears it. For `remember` see QuestionEvent."""
        loop = asyncio.get_running_loop()
        if not self._is_heard(place):
            reply(None, False)
            return None
        opened = _Open(secrets.token_hex(8), place, question, reply, remember)
        self._open[opened.id] = opened
        opened.timer = loop.call_later(ANSWER_WITHIN, self._close, opened, None)
        _log.info("%s/%s asks: %s", place.profile, place.host, question.prompt)
        self._tell(opened, "asked")
        return opened.id

    def withdraw(self, question: str | None) -> None:
        """Its login does not wait any more. Idempotent."""
        opened = None if question is None else self._open.get(question)
        if opened is not None:
            self._close(opened, None)

    def _close(self, opened: _Open, answer: str | None, *, remember: bool = False) -> None:
        del self._open[opened.id]
        assert opened.timer is not None
        opened.timer.cancel()
        how = "was not answered" if answer is None else "was answered"
        _log.info("the question of %s/%s %s", opened.place.profile, opened.place.host, how)
        self._tell(opened, "closed")
        opened.reply(answer, remember)

    def _tell(self, opened: _Open, state: str) -> None:
        for subscription in self._listeners:
            if self._hears(subscription, opened.place):
                subscription.put(opened.event(state))

    def _left(self, subscription: Subscription) -> None:
        self._listeners.pop(subscription, None)
        for opened in [o for o in self._open.values() if not self._is_heard(o.place)]:
            self._close(opened, None)

    def _is_heard(self, place: AnswerScope) -> bool:
        return any(self._hears(subscription, place) for subscription in self._listeners)

    def _hears(self, subscription: Subscription, place: AnswerScope) -> bool:
        return any(known.includes(place) for known in self._listeners[subscription])


class _Open:
    """A question that waits for its answer."""

    def __init__(
        self, id: str, place: AnswerScope, question: Question, reply: Reply, remember: bool | None
    ) -> None:
        self.id = id
        self.remember = remember
        self.place = place
        self.question = question
        self.reply = reply
        self.timer: asyncio.TimerHandle | None = None

    def event(self, state: str) -> QuestionEvent:
        """What its listeners are told."""
        return QuestionEvent(
            at=clock.rfc3339(clock.wall()),
            kind=EventKind.QUESTION,
            profile=self.place.profile,
            name=self.place.host,
            state=state,
            message=self.question.prompt,
            id=self.id,
            host=self.question.host,
            about=self.question.kind,
            echo=self.question.echo,
            remember=self.remember,
        )


class _Login:
    """The questions of one login to one host, by way of the loop. It is an `Ask`.

    `on_wait` is called, on the loop, when a person is waited for.
    """

    def __init__(
        self,
        desk: Questions,
        place: AnswerScope,
        host: Host,
        memory: Memory,
        on_wait: Callable[[], None],
    ) -> None:
        self._desk = desk
        self._place = place
        self._host = host
        self._memory = memory
        self._on_wait = on_wait
        self._loop = asyncio.get_running_loop()
        self._used: set[_Key] = set()  # what was answered from memory, or will be
        self._recalled: set[_Key] = set()  # those from memory
        self._outdated: QuestionKind | None = None  # what was remembered of this kind is wrong
        self._unanswered: Question | None = None  # one that would let us in
        self._question: str | None = None
        self._was_heard = False  # by somebody who might have answered
        self._is_over = False

    def __enter__(self) -> Ask:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """
        Raises:
            Failure: needs-input instead of what the login says, see `_missing`; or with more
                words.
        """
        self._is_over = True
        self._desk.withdraw(self._question)
        if error is None and any(kind in _LETS_IN for _, kind, _ in self._used):
            self._memory.let_in(self._host)
        if isinstance(error, Failure) and error.code in _WRONG:
            for key in self._used:
                if not error.retryable or key[1] in _LETS_IN:
                    self._memory.drop(key)
        if isinstance(error, Failure) and self._unanswered is not None and self._is_missing(error):
            raise self._missing(error, self._unanswered) from None
        if isinstance(error, Failure) and error.code is Code.NEEDS_INPUT and self._outdated:
            said = f"{error.detail}; the {self._outdated} that was remembered is wrong now"
            raise error.but(detail=said) from None

    def _is_missing(self, error: Failure) -> bool:
        """Whether the answer is what is missing, though the login says that something else is."""
        answer_would_do = Fact.ANSWER_WOULD_DO in error.facts
        if self._memory.was_let_in(self._host):
            return error.code in _WRONG or answer_would_do
        return self._was_heard and answer_would_do

    def _missing(self, refused: Failure, question: Question) -> Failure:
        """An answer let us in before, beside keys that were refused then too: it is what is missing
        now, whatever the server says of the keys. Or somebody is there who did not answer."""
        prompt = question.prompt.strip().rstrip(":").replace("\n", " ")
        let_us_in = self._memory.was_let_in(self._host)
        return sentences.answer_missing(refused, prompt, let_us_in=let_us_in)

    def __call__(self, question: Question) -> str | None:
        """See Ask: from the login's thread."""
        answer: Future[str | None] = Future()
        with suppress(RuntimeError):  # the loop is closed: nobody is there
            self._loop.call_soon_threadsafe(self._ask, question, answer)
            return answer.result()
        return None

    def _ask(self, question: Question, answer: Future[str | None]) -> None:
        if self._is_over:
            answer.set_result(None)
            return
        key = (self._host, question.kind, question.prompt)
        known = self._memory.get(key)
        if known is not None and key not in self._used:
            self._used.add(key)
            self._recalled.add(key)
            SECRETS.add(known)
            answer.set_result(known)
            return
        self._memory.drop(key)  # asked again: it was wrong
        if key in self._recalled:
            self._outdated = question.kind

        def reply(text: str | None, remember: bool) -> None:
            if text is None and question.kind in _LETS_IN:
                self._unanswered = question
            elif text is not None and question.kind is not QuestionKind.HOST_KEY:
                SECRETS.add(text)
                self._used.add(key)
                self._memory.keep(key, text, asked=remember)
            answer.set_result(text)

        remember = self._host.remember if question.kind in _REMEMBERED else None
        self._question = self._desk.ask(self._place, question, reply, remember=remember)
        if self._question is not None:
            self._was_heard = True
            self._on_wait()
