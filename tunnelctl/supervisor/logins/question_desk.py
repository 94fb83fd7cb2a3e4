"""The desk where logins leave their questions, and subscribers bring the answers.

Owns the open questions, who answers for which hosts, the remembered answers, and the hosts that an
answer logged in to. Must never pass an answer to anything but the login that asked, and never keep
a question open that nobody hears or whose login has ended.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import AbstractContextManager, suppress
from types import TracebackType

from tunnelctl import clock
from tunnelctl.errors import Code, Fact, Failure
from tunnelctl.home.redaction import SECRETS
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.host import Host
from tunnelctl.ssh.chain import everybody
from tunnelctl.ssh.questions import Ask, Question, QuestionKind
from tunnelctl.state.documents.status_events import EventKind, QuestionEvent
from tunnelctl.supervisor import sentences
from tunnelctl.supervisor.journal import Subscription

_log = logging.getLogger("tunnelctl")

# Seconds that a person may take; sshd allows no more for a login (LoginGraceTime).
ANSWER_WITHIN = 120.0
_LONGEST_ANSWER = 4096  # characters
_REMEMBERED = (QuestionKind.PASSPHRASE, QuestionKind.PASSWORD)
# The results of a wrong answer at a server or a key.
_WRONG = (Code.AUTH_FAILED, Code.KEY_UNREADABLE)

# The kinds of answers that log in by themselves, without a key.
_LETS_IN = (QuestionKind.PASSWORD, QuestionKind.CODE)

# Gets an answer or None, and whether the person wants it kept.
Reply = Callable[[str | None, bool], None]
_Key = tuple[Host, QuestionKind, str]
# As `tunnelctl.ssh.questions.Asking`; the second argument is called when a person is waited for.
PatientAsking = Callable[[Host, Callable[[], None]], AbstractContextManager[Ask | None]]


@dataclass(frozen=True, slots=True)
class AnswerScope:
    """A host of a profile, as status names it; an empty `host` means all of them."""

    profile: str
    host: str = ""

    def includes(self, other: AnswerScope) -> bool:
        """Whether `other` is it or one of its hosts."""
        return self.profile == other.profile and self.host in ("", other.host)


class KeptAnswer:
    """Answers that a person wants kept until the daemon ends, whatever happens to the profile.

    A passphrase belongs to a file, for all hosts; a password belongs to one user at one host.
    """

    def __init__(self) -> None:
        self._answers: dict[tuple[str, QuestionKind, str], str] = {}

    def get(self, key: _Key) -> str | None:
        """The kept answer, or None."""
        return self._answers.get(self._lasting(key))

    def keep(self, key: _Key, answer: str) -> None:
        """Keep it."""
        self._answers[self._lasting(key)] = answer

    def drop(self, key: _Key) -> None:
        """Forget it: it was wrong."""
        self._answers.pop(self._lasting(key), None)

    @staticmethod
    def _lasting(key: _Key) -> tuple[str, QuestionKind, str]:
        host, kind, prompt = key
        place = "" if kind is QuestionKind.PASSPHRASE else f"{host.user}@{host.address}"
        return place, kind, prompt


class Memory:
    """Answers for later logins of a profile: those to hosts with `remember: true`, and those that
    are `kept`. Never a code.

    Also the hosts that an answer logged in to, whether it is remembered or not.
    """

    def __init__(self, kept: KeptAnswer | None = None) -> None:
        self._kept = KeptAnswer() if kept is None else kept
        self._answers: dict[_Key, str] = {}
        self._answered: set[Host] = set()

    def get(self, key: _Key) -> str | None:
        """The remembered answer, or None."""
        return self._answers.get(key, self._kept.get(key))

    def keep(self, key: _Key, answer: str, *, asked: bool) -> None:
        """Remember an answer, if allowed; `asked`: the person wants it kept until the daemon
        ends."""
        host, kind, _ = key
        if kind not in _REMEMBERED:
            return
        if host.remember:
            self._answers[key] = answer
        if asked:
            self._kept.keep(key, answer)

    def drop(self, key: _Key) -> None:
        """Forget it: it was wrong."""
        self._answers.pop(key, None)
        self._kept.drop(key)

    def retain(self, hosts: Iterable[Host]) -> None:
        """Forget the answers to all hosts but these, their hops and fallbacks."""
        known = everybody(hosts)
        self._answers = {key: text for key, text in self._answers.items() if key[0] in known}
        self._answered &= known

    def let_in(self, host: Host) -> None:
        """An answer logged in to this host."""
        self._answered.add(host)

    def was_let_in(self, host: Host) -> bool:
        """Whether `let_in` was called for this host."""
        return host in self._answered


class Questions:
    """One desk for all profiles. Everything but an `Ask` is for the loop's thread.

    `on_listener` is called with a scope when somebody answers for it from now on.
    """

    def __init__(self, on_listener: Callable[[AnswerScope], None]) -> None:
        self.kept = KeptAnswer()
        self._on_listener = on_listener
        self._listeners: dict[Subscription, tuple[AnswerScope, ...]] = {}
        self._open: dict[str, _Open] = {}

    def listen(
        self, subscription: Subscription, places: Iterable[AnswerScope], *, orders: bool
    ) -> None:
        """The reader of this subscription answers for these scopes: it gets their questions.

        A reader that `orders` them up next sends an environment with that order, and they are tried
        in it.
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
        """Take an answer; None refuses. `remember`: keep it until the daemon ends.

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
        """The answers for logins on the way to `place`."""

        def login(host: Host, on_wait: Callable[[], None]) -> AbstractContextManager[Ask | None]:
            return _Login(self, place, host, memory, on_wait)

        return login

    @staticmethod
    def recalling(place: AnswerScope, memory: Memory) -> PatientAsking:
        """As `asking`, for a login that asks nobody: only remembered answers are used."""
        return Questions(lambda _: None).asking(place, memory)

    def ask(
        self, place: AnswerScope, question: Question, reply: Reply, *, remember: bool | None = None
    ) -> str | None:
        """Leave a question. `reply` is called with the answer or None, and whether to keep it.
        Returns its id, or None if nobody hears it. For `remember` see QuestionEvent."""
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
        """The login has ended. Idempotent."""
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
    """An open question."""

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
        """The event for its listeners."""
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
    """The questions of one login to one host, passed on over the loop. It is an `Ask`.

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
        self._used: set[_Key] = set()  # questions whose answers this login uses
        self._recalled: set[_Key] = set()  # those from memory
        self._outdated: QuestionKind | None = None  # of a remembered answer that is wrong now
        self._unanswered: Question | None = None  # a question whose answer would log in
        self._question: str | None = None
        self._was_heard = False  # somebody who could answer heard it
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
            raise sentences.remembered_is_wrong(error, self._outdated) from None

    def _is_missing(self, error: Failure) -> bool:
        """Whether a missing answer is the cause, although the login reports another one."""
        answer_would_do = Fact.ANSWER_WOULD_DO in error.facts
        if self._memory.was_let_in(self._host):
            return error.code in _WRONG or answer_would_do
        return self._was_heard and answer_would_do

    def _missing(self, refused: Failure, question: Question) -> Failure:
        """An answer logged in before, beside keys that were refused then too, so the answer is what
        is missing now, whatever the server says about the keys. Or somebody heard the question and
        did not answer."""
        prompt = question.prompt.strip().rstrip(":").replace("\n", " ")
        let_us_in = self._memory.was_let_in(self._host)
        return sentences.answer_missing(refused, prompt, let_us_in=let_us_in)

    def __call__(self, question: Question) -> str | None:
        """See Ask. Called from the login's thread."""
        answer: Future[str | None] = Future()
        with suppress(RuntimeError):  # the loop is closed: nobody can answer
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
