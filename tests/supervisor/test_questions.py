"""What only a person can answer: who is asked, and how long."""

from __future__ import annotations

from typing import Any

import pytest

from tests.supervisor.questioning import (
    CODE,
    DEV,
    PASSPHRASE,
    RIGHT,
    Strict,
    asked,
    cut,
    question_in,
    threads,
)
from tests.supervisor.scene import SOON, client, echo_service, local, scene
from tests.support.here import here
from tests.support.keys import write_key
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually_async
from tunnelctl.errors import Code, Failure
from tunnelctl.home.redaction import SECRETS
from tunnelctl.net.reactor import Reactor
from tunnelctl.spec.endpoint import LOOPBACK, Endpoint
from tunnelctl.spec.host import Host
from tunnelctl.spec.profile import Profile
from tunnelctl.ssh.connect import connect
from tunnelctl.ssh.link.link import Link
from tunnelctl.ssh.questions import Asking, Question, QuestionKind
from tunnelctl.ssh.turns import Turn
from tunnelctl.state.documents.snapshot import HostState, ProfileState
from tunnelctl.supervisor.logins import question_desk
from tunnelctl.supervisor.logins.handshakes import AT_WORK
from tunnelctl.supervisor.logins.question_desk import AnswerScope


async def test_nobody_is_there_and_then_somebody_is() -> None:
    strict = Strict(PASSPHRASE)
    async with scene(connect=strict.connect) as s:
        await s.supervisor.up(s.profile(local()), here())
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


async def test_a_question_without_an_answer_holds_up_no_fallback(sshd: OpenSSHServer) -> None:
    """The fallback serves after `connect_timeout`; the question stays open, and its answer has the
    host itself serve."""
    sshd.authorized_keys.write_text(write_key(sshd.identity, passphrase=RIGHT) + "\n")
    async with scene() as s, echo_service() as echo:
        host = sshd.host(
            identity_agent="none", connect_timeout=2, reconnect=SOON, fallback=(s.host("spare"),)
        )
        subscription = s.supervisor.subscribe([DEV])
        await s.up(s.profile(local(target=Endpoint(LOOPBACK, echo)), host=host))
        question = await question_in(subscription)
        status = s.host_status()
        assert (status.fallback, status.returning) == ("spare", True)
        assert status.last_error is not None
        assert "waiting for an answer" in status.last_error.message
        async with client(s.port("web")) as one:
            assert await one.echo(b"by the fallback") == b"by the fallback"
            s.supervisor.answer("dev", question.id, RIGHT)
            await eventually_async(lambda: s.host_status().fallback is None, "it is home")
            assert await one.echo(b"still") == b"still"


async def test_whoever_listens_before_is_asked_in_the_first_attempt() -> None:
    strict = Strict(PASSPHRASE, CODE)
    async with scene(connect=strict.connect) as s:
        subscription = s.supervisor.subscribe([DEV])
        await s.supervisor.up(s.profile(local()), here())
        for _ in strict.asked:
            s.supervisor.answer("dev", (await question_in(subscription)).id, RIGHT)
        await s.until(ProfileState.UP)
        assert strict.attempts == 1
        assert "needs-input" not in s.states("server")


@pytest.mark.parametrize("place", [AnswerScope("other"), AnswerScope("dev", "another")])
async def test_who_answers_for_others_is_not_asked(place: AnswerScope) -> None:
    strict = Strict(CODE)
    async with scene(connect=strict.connect) as s:
        s.supervisor.subscribe([place])
        await s.supervisor.up(s.profile(local()), here())
        await s.until_host(HostState.NEEDS_INPUT)


async def test_one_who_comes_later_is_asked_too_and_the_first_answer_counts() -> None:
    strict = Strict(CODE)
    async with scene(connect=strict.connect) as s:
        first = s.supervisor.subscribe([DEV])
        await s.supervisor.up(s.profile(local()), here())
        question = await question_in(first)
        second = s.supervisor.subscribe([AnswerScope("dev", "server")])
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
        await s.supervisor.up(s.profile(local()), here())
        question = await question_in(subscription)
        for profile, number in (("dev", "0"), ("other", question.id)):
            with pytest.raises(Failure, match="no longer open"):
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
        await s.supervisor.up(s.profile(local()), here())
        question = await question_in(subscription)
        if how == "goes":
            subscription.close()
        else:
            s.supervisor.answer("dev", question.id, None)
        await s.until_host(HostState.NEEDS_INPUT)
        assert strict.attempts == 1


async def test_a_person_has_two_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(question_desk, "ANSWER_WITHIN", 0.05)
    strict = Strict(CODE)
    async with scene(connect=strict.connect) as s:
        subscription = s.supervisor.subscribe([DEV])
        await s.supervisor.up(s.profile(local()), here())
        await question_in(subscription, "closed")
        await s.until_host(HostState.NEEDS_INPUT)
        assert strict.attempts == 1  # whoever listens is not asked for ever


async def test_a_login_that_is_given_up_takes_its_question_back() -> None:
    strict = Strict(CODE)
    async with scene(connect=strict.connect) as s:
        subscription = s.supervisor.subscribe([DEV])
        await s.supervisor.up(s.profile(local()), here())
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
        await s.supervisor.up(s.profile(local(), host=s.host(remember=True)), here())
        s.supervisor.answer("dev", (await question_in(subscription)).id, RIGHT)
        await s.until(ProfileState.UP)
        subscription.close()
        await cut(s)
        await s.until_host(HostState.NEEDS_INPUT)
        assert strict.attempts == 2
        assert s.states("server").count("needs-input") == 1
        assert s.status().state is ProfileState.FAILED


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
        await s.supervisor.up(s.profile(local()), here())
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
        await s.supervisor.up(s.profile(local()), here())
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
        hosts = tuple(s.host(f"asks{n}") for n in range(AT_WORK + 1))
        subscription = s.supervisor.subscribe([DEV])
        await s.supervisor.up(Profile("dev", "dev.yaml", hosts, ()), here())
        waiting = [await question_in(subscription) for _ in hosts]
        await s.supervisor.up(Profile("other", "other.yaml", (s.host("key"),), ()), here())
        await s.until(ProfileState.UP, "other")
        for question in waiting:
            s.supervisor.answer("dev", question.id, RIGHT)
        await s.until(ProfileState.UP)
