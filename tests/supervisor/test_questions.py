"""What only a person can answer: who is asked, how long, and what becomes of the answer."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest

from tests.supervisor.scene import Scene, client, echo_service, local, scene
from tests.support.waiting import eventually_async
from tunnelctl.config.redaction import SECRETS
from tunnelctl.errors import PLACE, Code, Failure
from tunnelctl.net.reactor import Reactor
from tunnelctl.net.threads import in_thread
from tunnelctl.spec.endpoint import LOOPBACK, Endpoint
from tunnelctl.spec.host import Host
from tunnelctl.spec.profile import Profile
from tunnelctl.ssh.connect import Turn, connect
from tunnelctl.ssh.link import Link
from tunnelctl.ssh.questions import Ask, Asking, Question, QuestionKind
from tunnelctl.state.snapshot import HostState, ProfileState
from tunnelctl.supervisor import questions
from tunnelctl.supervisor.handshakes import IN_ALL
from tunnelctl.supervisor.journal import Subscription
from tunnelctl.supervisor.questions import Place, QuestionEvent

PASSPHRASE = Question(QuestionKind.PASSPHRASE, "server", "Enter passphrase for key 'k': ", False)
CODE = Question(QuestionKind.CODE, "server", "Code: ", True)
RIGHT = "open sesame"
DEV = Place("dev")


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
                hint = f"tunnelctl answer {PLACE}"
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


async def test_nobody_is_there_and_then_somebody_is() -> None:
    strict = Strict(PASSPHRASE)
    async with scene(connect=strict.connect) as s:
        await s.supervisor.up(s.profile(local()), {})
        status = await s.until_host(HostState.NEEDS_INPUT)
        assert status.last_error is not None
        assert status.last_error.code == "needs-input"
        assert PASSPHRASE.prompt in status.last_error.message
        assert status.last_error.hint == "tunnelctl answer dev/server"
        assert strict.attempts == 1  # and not again by itself: nothing is due
        assert status.next_retry_at is None

        subscription = s.supervisor.subscribe([DEV])
        question = await question_in(subscription)
        assert (question.profile, question.name, question.message) == (
            "dev",
            "server",
            PASSPHRASE.prompt,
        )
        assert question.as_json()["about"] == "passphrase"
        assert s.host_status().state is not HostState.NEEDS_INPUT
        s.supervisor.answer("dev", question.id, RIGHT)
        await s.until(ProfileState.UP)
        assert (await question_in(subscription, "closed")).id == question.id
        assert strict.attempts == 2


async def test_a_host_that_asks_is_tried_again_while_its_fallback_serves() -> None:
    """As soon as there is somebody who answers; connections of the fallback live on."""
    strict = Strict(PASSPHRASE)

    async def reach(host: Host, reactor: Reactor, **more: Any) -> Link:
        if host.name == "server":
            return await strict.connect(host, reactor, **more)
        return await connect(host, reactor, **more)

    async with scene(connect=reach) as s, echo_service() as echo:
        host = s.host(fallback=(s.host("spare"),))
        await s.up(s.profile(local(target=Endpoint(LOOPBACK, echo)), host=host))
        status = s.host_status()
        assert (status.fallback, status.next_retry_at, strict.attempts) == ("spare", None, 1)
        assert status.last_error is not None
        assert status.last_error.code == Code.NEEDS_INPUT

        async with client(s.port("web")) as one:
            assert await one.echo(b"by the fallback") == b"by the fallback"
            question = await question_in(s.supervisor.subscribe([DEV]))
            s.supervisor.answer("dev", question.id, RIGHT)
            await eventually_async(lambda: s.host_status().fallback is None, "it is home")
            assert await one.echo(b"still") == b"still"
        assert (s.host_status().last_error, strict.attempts) == (None, 2)


async def test_whoever_listens_before_is_asked_in_the_first_attempt() -> None:
    strict = Strict(PASSPHRASE, CODE)
    async with scene(connect=strict.connect) as s:
        subscription = s.supervisor.subscribe([DEV])
        await s.supervisor.up(s.profile(local()), {})
        for _ in strict.asked:
            s.supervisor.answer("dev", (await question_in(subscription)).id, RIGHT)
        await s.until(ProfileState.UP)
        assert strict.attempts == 1
        assert "needs-input" not in s.states("server")


@pytest.mark.parametrize("place", [Place("other"), Place("dev", "another")])
async def test_who_answers_for_others_is_not_asked(place: Place) -> None:
    strict = Strict(CODE)
    async with scene(connect=strict.connect) as s:
        s.supervisor.subscribe([place])
        await s.supervisor.up(s.profile(local()), {})
        await s.until_host(HostState.NEEDS_INPUT)


async def test_one_who_comes_later_is_asked_too_and_the_first_answer_counts() -> None:
    strict = Strict(CODE)
    async with scene(connect=strict.connect) as s:
        first = s.supervisor.subscribe([DEV])
        await s.supervisor.up(s.profile(local()), {})
        question = await question_in(first)
        second = s.supervisor.subscribe([Place("dev", "server")])
        assert (await question_in(second)).id == question.id
        s.supervisor.answer("dev", question.id, RIGHT)
        await question_in(first, "closed")
        with pytest.raises(Failure) as caught:
            s.supervisor.answer("dev", question.id, "too late")
        assert caught.value.code is Code.NEEDS_INPUT
        await s.until(ProfileState.UP)
        assert strict.heard == [RIGHT]


async def test_an_answer_to_a_question_that_nobody_asked() -> None:
    strict = Strict(CODE)
    async with scene(connect=strict.connect) as s:
        subscription = s.supervisor.subscribe([DEV])
        await s.supervisor.up(s.profile(local()), {})
        question = await question_in(subscription)
        for profile, number in (("dev", "0"), ("other", question.id)):
            with pytest.raises(Failure, match="not open"):
                s.supervisor.answer(profile, number, RIGHT)
        with pytest.raises(Failure) as caught:
            s.supervisor.answer("dev", question.id, "x" * 5000)
        assert caught.value.code is Code.USAGE
        s.supervisor.answer("dev", question.id, RIGHT)
        await s.until(ProfileState.UP)


@pytest.mark.parametrize("how", ["goes", "declines"])
async def test_whoever_goes_or_declines_leaves_it_open_for_others(how: str) -> None:
    strict = Strict(CODE)
    async with scene(connect=strict.connect) as s:
        subscription = s.supervisor.subscribe([DEV])
        await s.supervisor.up(s.profile(local()), {})
        question = await question_in(subscription)
        if how == "goes":
            subscription.close()
        else:
            s.supervisor.answer("dev", question.id, None)
        await s.until_host(HostState.NEEDS_INPUT)
        assert strict.attempts == 1


async def test_a_person_has_two_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "ANSWER_WITHIN", 0.05)
    strict = Strict(CODE)
    async with scene(connect=strict.connect) as s:
        subscription = s.supervisor.subscribe([DEV])
        await s.supervisor.up(s.profile(local()), {})
        await question_in(subscription, "closed")
        await s.until_host(HostState.NEEDS_INPUT)
        assert strict.attempts == 1  # whoever listens is not asked for ever


async def test_a_login_that_is_given_up_takes_its_question_back() -> None:
    strict = Strict(CODE)
    async with scene(connect=strict.connect) as s:
        subscription = s.supervisor.subscribe([DEV])
        await s.supervisor.up(s.profile(local()), {})
        question = await question_in(subscription)
        await s.supervisor.restart("dev")
        assert (await question_in(subscription, "closed")).id == question.id
        again = await question_in(subscription)
        await s.supervisor.down("dev", 0)
        assert (await question_in(subscription, "closed")).id == again.id
        await eventually_async(lambda: not threads("asks"), "both threads have ended")


async def test_a_code_is_asked_for_at_every_login_and_without_a_loop() -> None:
    strict = Strict(CODE)
    async with scene(connect=strict.connect) as s:
        subscription = s.supervisor.subscribe([DEV])
        await s.supervisor.up(s.profile(local(), host=s.host(remember=True)), {})
        s.supervisor.answer("dev", (await question_in(subscription)).id, RIGHT)
        await s.until(ProfileState.UP)
        subscription.close()
        await cut(s)
        await s.until_host(HostState.NEEDS_INPUT)
        assert strict.attempts == 2
        assert s.states("server").count("needs-input") == 1
        assert s.status().state is ProfileState.FAILED


async def test_remember_serves_reconnects_from_memory() -> None:
    strict = Strict(PASSPHRASE)
    async with scene(connect=strict.connect) as s:
        subscription = s.supervisor.subscribe([DEV])
        await s.supervisor.up(s.profile(local(), host=s.host(remember=True)), {})
        s.supervisor.answer("dev", (await question_in(subscription)).id, RIGHT)
        await s.until(ProfileState.UP)
        subscription.close()
        for times in (2, 3):
            await cut(s)
            await s.until_told("server", "up", times)
        assert strict.heard == [RIGHT] * 3
        assert RIGHT not in repr(vars(s.supervisor))


async def test_without_remember_it_is_asked_again() -> None:
    strict = Strict(PASSPHRASE)
    async with scene(connect=strict.connect) as s:
        subscription = s.supervisor.subscribe([DEV])
        await s.supervisor.up(s.profile(local()), {})
        s.supervisor.answer("dev", (await question_in(subscription)).id, RIGHT)
        await s.until(ProfileState.UP)
        subscription.close()
        await cut(s)
        await s.until_host(HostState.NEEDS_INPUT)


@pytest.mark.parametrize("change", ["down", "another user"])
async def test_what_was_remembered_goes_with_the_host_as_it_was(change: str) -> None:
    strict = Strict(PASSPHRASE)
    async with scene(connect=strict.connect) as s:
        subscription = s.supervisor.subscribe([DEV])
        host = s.host(remember=True)
        await s.supervisor.up(s.profile(local(), host=host), {})
        s.supervisor.answer("dev", (await question_in(subscription)).id, RIGHT)
        await s.until(ProfileState.UP)
        subscription.close()
        if change == "down":
            await s.supervisor.down("dev", 0)
            await s.supervisor.up(s.profile(local(), host=host), {})
        else:
            changed = s.host(remember=True, server_alive_interval=7)
            await s.supervisor.up(s.profile(local(), host=changed), {})
        await s.until_host(HostState.NEEDS_INPUT)
        assert strict.heard == [RIGHT, None]


async def test_what_proved_wrong_is_forgotten() -> None:
    strict = Strict(PASSPHRASE, tries=2)
    async with scene(connect=strict.connect) as s:
        subscription = s.supervisor.subscribe([DEV])
        await s.supervisor.up(s.profile(local(), host=s.host(remember=True)), {})
        for _ in range(2):
            s.supervisor.answer("dev", (await question_in(subscription)).id, "wrong")
        await s.until_host(HostState.FAILED)
        await s.supervisor.restart("dev")
        # Not the wrong one from memory.
        s.supervisor.answer("dev", (await question_in(subscription)).id, RIGHT)
        await s.until(ProfileState.UP)
        assert strict.heard == ["wrong", "wrong", RIGHT]


async def test_what_was_right_once_and_is_wrong_now_is_asked_anew() -> None:
    strict = Strict(PASSPHRASE)
    async with scene(connect=strict.connect) as s:
        subscription = s.supervisor.subscribe([DEV])
        await s.supervisor.up(s.profile(local(), host=s.host(remember=True)), {})
        s.supervisor.answer("dev", (await question_in(subscription)).id, RIGHT)
        await s.until(ProfileState.UP)
        strict.right = "another passphrase"
        await cut(s)
        s.supervisor.answer("dev", (await question_in(subscription)).id, strict.right)
        await s.until_told("server", "up", 2)
        assert strict.heard == [RIGHT, RIGHT, strict.right]


async def test_that_what_was_remembered_is_wrong_now_is_said() -> None:
    strict = Strict(PASSPHRASE)
    async with scene(connect=strict.connect) as s:
        subscription = s.supervisor.subscribe([DEV])
        await s.supervisor.up(s.profile(local(), host=s.host(remember=True)), {})
        s.supervisor.answer("dev", (await question_in(subscription)).id, RIGHT)
        await s.until(ProfileState.UP)
        subscription.close()
        strict.right = "another passphrase"
        await cut(s)
        await s.until_host(HostState.NEEDS_INPUT)
        error = s.status().hosts[0].last_error
        assert error is not None
        assert "the passphrase that was remembered is wrong now" in error.message


async def test_an_unknown_host_key_is_tried_again_for_whoever_can_say_yes() -> None:
    tries: list[bool] = []

    question = Question(QuestionKind.HOST_KEY, "server", "Trust it? ", True)

    async def unknown(
        host: Host, reactor: Reactor, *, asking: Asking, turn: Turn, **more: Any
    ) -> Link:
        answer = await asked(question, host, asking, turn)
        tries.append(answer == "yes")
        if answer != "yes":
            raise Failure(Code.HOST_KEY_UNKNOWN, "the host is not known", "tunnelctl trust server")
        return await connect(host, reactor, **more)

    async with scene(connect=unknown) as s:
        await s.supervisor.up(s.profile(local()), {})
        assert (await s.until_host(HostState.FAILED)).last_error is not None
        subscription = s.supervisor.subscribe([DEV])
        s.supervisor.answer("dev", (await question_in(subscription)).id, "yes")
        await s.until(ProfileState.UP)
        assert tries == [False, True]


async def test_an_answer_that_a_server_repeats_is_not_shown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def parrot(
        host: Host, reactor: Reactor, *, asking: Asking, turn: Turn, **more: Any
    ) -> Link:
        answer = await asked(PASSPHRASE, host, asking, turn)
        raise Failure(Code.AUTH_FAILED, f'it said "{answer} is wrong"')

    async with scene(connect=parrot) as s:
        subscription = s.supervisor.subscribe([DEV])
        await s.supervisor.up(s.profile(local()), {})
        s.supervisor.answer("dev", (await question_in(subscription)).id, "squeamish ossifrage")
        status = await s.until_host(HostState.FAILED)
        told = str((status, s.events, caplog.text))
        assert "[secret] is wrong" in told
        assert "ossifrage" not in told
    # It is not kept longer than the login took.
    assert SECRETS.redact("squeamish ossifrage") == "squeamish ossifrage"


async def test_a_question_that_waits_holds_no_turn() -> None:
    """More hosts than there are turns wait for a person; one with a key comes up all the same."""
    strict = Strict(PASSPHRASE)

    async def some_ask(host: Host, reactor: Reactor, **more: Any) -> Link:
        return await (connect if host.name == "key" else strict.connect)(host, reactor, **more)

    async with scene(connect=some_ask) as s:
        hosts = tuple(s.host(f"asks{n}") for n in range(IN_ALL + 1))
        subscription = s.supervisor.subscribe([DEV])
        await s.supervisor.up(Profile("dev", "dev.yaml", hosts, ()), {})
        waiting = [await question_in(subscription) for _ in hosts]
        await s.supervisor.up(Profile("other", "other.yaml", (s.host("key"),), ()), {})
        await s.until(ProfileState.UP, "other")
        for question in waiting:
            s.supervisor.answer("dev", question.id, RIGHT)
        await s.until(ProfileState.UP)


async def test_the_answer_that_let_us_in_is_what_a_reconnect_misses() -> None:
    """Though the server refuses a named key too: it did before."""
    tries: list[str | None] = []
    password = Question(QuestionKind.PASSWORD, "server", "Password: ", False)

    async def refuses(
        host: Host, reactor: Reactor, *, asking: Asking, turn: Turn, **more: Any
    ) -> Link:
        tries.append(await asked_or_refused(password, host, asking, turn))
        return await connect(host, reactor, **more)

    async with scene(connect=refuses) as s:
        await s.supervisor.up(s.profile(local()), {})
        status = await s.until_host(HostState.FAILED)
        assert status.last_error is not None
        assert status.last_error.code == "auth-failed"
        subscription = s.supervisor.subscribe([DEV])
        await s.supervisor.up(s.profile(local()), {})
        s.supervisor.answer("dev", (await question_in(subscription)).id, RIGHT)
        await s.until(ProfileState.UP)
        subscription.close()
        await cut(s)
        status = await s.until_host(HostState.NEEDS_INPUT)
        assert status.last_error is not None
        assert status.last_error.code == "needs-input"
        assert "the key is refused" in status.last_error.message
        assert "Password" in status.last_error.message
        assert status.last_error.hint == "tunnelctl answer dev/server"
    assert tries == [RIGHT]


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
