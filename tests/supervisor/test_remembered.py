"""What becomes of an answer: what is remembered, for how long, and what proves wrong."""

from __future__ import annotations

from typing import Any

import pytest

from tests.supervisor.questioning import (
    CODE,
    DEV,
    PASSPHRASE,
    RIGHT,
    Strict,
    asked_or_refused,
    cut,
    question_in,
)
from tests.supervisor.scene import local, scene
from tests.support.here import here
from tunnelctl.net.reactor import Reactor
from tunnelctl.spec.host import Host
from tunnelctl.ssh.connect import connect
from tunnelctl.ssh.link.link import Link
from tunnelctl.ssh.questions import Asking, Question, QuestionKind
from tunnelctl.ssh.turns import Turn
from tunnelctl.state.documents.snapshot import HostState, ProfileState


async def test_remember_serves_reconnects_from_memory() -> None:
    strict = Strict(PASSPHRASE)
    async with scene(connect=strict.connect) as s:
        subscription = s.supervisor.subscribe([DEV])
        await s.supervisor.up(s.profile(local(), host=s.host(remember=True)), here())
        s.supervisor.answer("dev", (await question_in(subscription)).id, RIGHT)
        await s.until(ProfileState.UP)
        subscription.close()
        for times in (2, 3):
            await cut(s)
            await s.until_told("server", "up", times)
        # A try may also come while the server is away.
        assert len(strict.heard) >= 3
        assert {*strict.heard} == {RIGHT}
        assert RIGHT not in repr(vars(s.supervisor))


async def test_without_remember_it_is_asked_again() -> None:
    strict = Strict(PASSPHRASE)
    async with scene(connect=strict.connect) as s:
        subscription = s.supervisor.subscribe([DEV])
        await s.supervisor.up(s.profile(local()), here())
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
        await s.supervisor.up(s.profile(local(), host=host), here())
        s.supervisor.answer("dev", (await question_in(subscription)).id, RIGHT)
        await s.until(ProfileState.UP)
        subscription.close()
        if change == "down":
            await s.supervisor.down("dev", 0)
            await s.supervisor.up(s.profile(local(), host=host), here())
        else:
            changed = s.host(remember=True, server_alive_interval=7)
            await s.supervisor.up(s.profile(local(), host=changed), here())
        await s.until_host(HostState.NEEDS_INPUT)
        assert strict.heard == [RIGHT, None]


async def test_what_proved_wrong_is_forgotten() -> None:
    strict = Strict(PASSPHRASE, tries=2)
    async with scene(connect=strict.connect) as s:
        subscription = s.supervisor.subscribe([DEV])
        await s.supervisor.up(s.profile(local(), host=s.host(remember=True)), here())
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
        await s.supervisor.up(s.profile(local(), host=s.host(remember=True)), here())
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
        await s.supervisor.up(s.profile(local(), host=s.host(remember=True)), here())
        s.supervisor.answer("dev", (await question_in(subscription)).id, RIGHT)
        await s.until(ProfileState.UP)
        subscription.close()
        strict.right = "another passphrase"
        await cut(s)
        await s.until_host(HostState.NEEDS_INPUT)
        error = s.status().hosts[0].last_error
        assert error is not None
        assert "the passphrase that was remembered is wrong now" in error.message


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
        await s.supervisor.up(s.profile(local()), here())
        status = await s.until_host(HostState.FAILED)
        assert status.last_error is not None
        assert status.last_error.code == "auth-failed"
        subscription = s.supervisor.subscribe([DEV])
        await s.supervisor.up(s.profile(local()), here())
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


async def test_what_a_person_wants_kept_is_there_until_the_end() -> None:
    """Also after `down`, and for another host that has the same key."""
    strict = Strict(PASSPHRASE)
    async with scene(connect=strict.connect) as s:
        subscription = s.supervisor.subscribe([DEV])
        await s.supervisor.up(s.profile(local()), here())
        question = await question_in(subscription)
        assert question.as_json()["remember"] is False
        s.supervisor.answer("dev", question.id, RIGHT, remember=True)
        await s.until(ProfileState.UP)
        subscription.close()
        await cut(s)
        await s.until_told("server", "up", 2)
        await s.supervisor.down("dev", 0)
        await s.up(s.profile(local()))
        await s.up(s.profile(local(), name="other", host=s.host(server_alive_interval=7)))
        assert {*strict.heard} == {RIGHT}
        assert RIGHT not in repr(vars(s.supervisor))


async def test_a_password_that_is_kept_is_for_its_user_alone() -> None:
    password = Question(QuestionKind.PASSWORD, "server", "Password: ", False)
    strict = Strict(password)
    async with scene(connect=strict.connect) as s:
        subscription = s.supervisor.subscribe([DEV])
        await s.supervisor.up(s.profile(local()), here())
        s.supervisor.answer("dev", (await question_in(subscription)).id, RIGHT, remember=True)
        await s.until(ProfileState.UP)
        subscription.close()
        other = s.profile(local(), name="other", host=s.host(user="somebody"))
        await s.supervisor.up(other, here())
        await s.until(ProfileState.FAILED, "other")
        assert strict.heard == [RIGHT, None]


async def test_what_is_kept_and_proves_wrong_is_asked_anew() -> None:
    strict = Strict(PASSPHRASE)
    async with scene(connect=strict.connect) as s:
        subscription = s.supervisor.subscribe([DEV])
        await s.supervisor.up(s.profile(local()), here())
        s.supervisor.answer("dev", (await question_in(subscription)).id, RIGHT, remember=True)
        await s.until(ProfileState.UP)
        strict.right = "another passphrase"
        await cut(s)
        s.supervisor.answer("dev", (await question_in(subscription)).id, strict.right)
        await s.until_told("server", "up", 2)
        assert strict.heard == [RIGHT, RIGHT, strict.right]


async def test_a_code_is_for_once_whatever_is_wanted() -> None:
    strict = Strict(CODE)
    async with scene(connect=strict.connect) as s:
        subscription = s.supervisor.subscribe([DEV])
        await s.supervisor.up(s.profile(local()), here())
        question = await question_in(subscription)
        assert question.as_json()["remember"] is None
        s.supervisor.answer("dev", question.id, RIGHT, remember=True)
        await s.until(ProfileState.UP)
        subscription.close()
        await cut(s)
        await s.until_host(HostState.NEEDS_INPUT)
