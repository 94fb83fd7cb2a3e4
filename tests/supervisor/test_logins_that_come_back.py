"""A login that fails for a moment does not end a tunnel; one that never worked is not repeated."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from tests.ssh.questioner import Questioner, Round, Rules
from tests.supervisor.questioning import DEV, question_in
from tests.supervisor.scene import Scene, client, local, scene
from tests.support.agent import PASSPHRASE, RunningAgent
from tests.support.certificates import Authority
from tests.support.here import here
from tests.support.keys import write_key
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually_async
from tunnelctl import clock
from tunnelctl.spec.host import Host
from tunnelctl.spec.secret import SecretRef, SecretSource
from tunnelctl.ssh.keys import agent as agent_module
from tunnelctl.state.backoff import SPACING
from tunnelctl.state.documents.snapshot import ErrorStatus, HostState, HostStatus
from tunnelctl.state.host.facts import Machine, Rest
from tunnelctl.supervisor.logins.credential_watch import LoginWatch
from tunnelctl.supervisor.logins.refusals import Refusals
from tunnelctl.supervisor.tasks import Tasks

SOON = (0.1,)
# Whatever comes sooner was not the timer.
LATE = (600.0,)


@pytest.fixture
def agent(no_leaks: None, tmp_path: Path) -> Iterator[RunningAgent]:
    """An agent whose person says yes as long as there is a file `yes`."""
    asks = program(tmp_path / "asks", f"echo asked >> {tmp_path}/asked; test -e {tmp_path}/yes")
    (tmp_path / "yes").touch()
    running = RunningAgent(tmp_path / "agent", asks=asks)
    yield running
    running.stop()


def program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    return path


def with_agent(sshd: OpenSSHServer, agent: RunningAgent) -> Host:
    """As most people have it: the agent's keys, whichever they are."""
    return sshd.host(identity_file=(), identities_only=False, identity_agent=str(agent.path))


def with_locked_file(sshd: OpenSSHServer, agent: RunningAgent) -> Host:
    """The agent spares the passphrase of a key that is named."""
    return sshd.host(identity_agent=str(agent.path))


def with_public_file(sshd: OpenSSHServer, agent: RunningAgent) -> Host:
    """The private key is in the agent alone."""
    key = f"{sshd.identity}.pub"
    return sshd.host(identity_file=(key,), identity_agent=str(agent.path))


WAYS = [with_agent, with_locked_file, with_public_file]


def give(sshd: OpenSSHServer, agent: RunningAgent, *options: str) -> None:
    """The agent gets the server's key, whose file needs a passphrase."""
    sshd.authorized_keys.write_text(write_key(sshd.identity, passphrase=PASSPHRASE) + "\n")
    agent.add(sshd.identity, *options)


async def lose(s: Scene, sshd: OpenSSHServer) -> tuple[HostStatus, ErrorStatus]:
    """Lose the link, and wait until the next login has failed."""
    sshd.kill_sessions()

    def refused() -> HostStatus | None:
        status = s.host_status()
        is_lost = status.last_error is None or status.last_error.code == "session-lost"
        is_over = status.state in (HostState.BACKOFF, HostState.FAILED, HostState.NEEDS_INPUT)
        return status if is_over and not is_lost else None

    status = await eventually_async(refused, "a login failed")
    assert status is not None
    assert status.last_error is not None
    return status, status.last_error


# The agent


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("trouble", ["locked", "away", "empty"])
async def test_an_agent_that_is_no_help_for_a_while(
    sshd: OpenSSHServer,
    agent: RunningAgent,
    way: Callable[[OpenSSHServer, RunningAgent], Host],
    trouble: str,
) -> None:
    give(sshd, agent)
    async with scene(spacing=LATE) as s:
        await s.up(s.profile(local(), host=way(sshd, agent)))
        {"locked": agent.lock, "away": agent.stop, "empty": agent.clear}[trouble]()
        status, error = await lose(s, sshd)
        assert (status.state, error.code) == (HostState.BACKOFF, "agent-unavailable")
        assert "ssh-agent" in error.message
        assert status.next_retry_at is not None
        if trouble == "away":
            agent.start()
        if trouble == "locked":
            agent.unlock()
        else:
            agent.add(sshd.identity)
        await s.until_told("server", "up", 2)


async def test_a_signature_that_is_refused_once(
    sshd: OpenSSHServer, agent: RunningAgent, tmp_path: Path
) -> None:
    give(sshd, agent, "-c")
    async with scene(spacing=SOON) as s:
        await s.up(s.profile(local(), host=with_agent(sshd, agent)))
        (tmp_path / "yes").unlink()
        _, error = await lose(s, sshd)
        assert error.code == "agent-unavailable"
        (tmp_path / "yes").touch()
        await s.until_told("server", "up", 2)


async def test_a_person_who_confirms_may_take_a_while(
    sshd: OpenSSHServer, agent: RunningAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer than an agent has for any other question, and than the connection has in all."""
    monkeypatch.setattr(agent_module, "PATIENCE", 0.5)
    asked, answered = tmp_path / "asked", tmp_path / "answered"
    program(tmp_path / "asks", f"touch {asked}; while ! test -e {answered}; do sleep 0.1; done")
    give(sshd, agent, "-c")
    async with scene(spacing=LATE) as s:
        host = replace(with_agent(sshd, agent), connect_timeout=1.0)
        await s.supervisor.up(s.profile(local(), host=host), here())
        await eventually_async(asked.exists, "it asks")
        until = clock.monotonic() + 1.5
        await eventually_async(lambda: clock.monotonic() > until, "the person takes a while")
        assert s.host_status().state is HostState.AUTHENTICATING
        answered.touch()
        await s.until_host(HostState.UP)
        assert "backoff" not in s.states("server")


@pytest.mark.parametrize("trouble", ["away", "empty"])
async def test_an_agent_that_comes_after_us(
    sshd: OpenSSHServer, agent: RunningAgent, trouble: str
) -> None:
    """As at boot: there was no login before, and nothing else to log in with."""
    if trouble == "away":
        agent.stop()
    async with scene(spacing=LATE) as s:
        await s.supervisor.up(s.profile(local(), host=with_agent(sshd, agent)), here())
        status = await s.until_host(HostState.BACKOFF)
        assert status.last_error is not None
        assert status.last_error.code == "agent-unavailable"
        if trouble == "away":
            agent.start()
        agent.add(sshd.identity)
        await s.until_host(HostState.UP)


async def test_keys_that_the_agent_has_and_nobody_takes_are_final(
    sshd: OpenSSHServer, agent: RunningAgent, tmp_path: Path
) -> None:
    write_key(tmp_path / "other")
    agent.add(tmp_path / "other")
    async with scene(spacing=SOON) as s:
        await s.supervisor.up(s.profile(local(), host=with_agent(sshd, agent)), here())
        status = await s.until_host(HostState.FAILED)
        assert status.last_error is not None
        assert status.last_error.code == "auth-failed"


async def test_a_question_of_a_person_is_settled_by_the_agent_too(
    sshd: OpenSSHServer, agent: RunningAgent
) -> None:
    sshd.authorized_keys.write_text(write_key(sshd.identity, passphrase=PASSPHRASE) + "\n")
    async with scene(spacing=LATE) as s:
        await s.supervisor.up(s.profile(local(), host=with_locked_file(sshd, agent)), here())
        await s.until_host(HostState.NEEDS_INPUT)
        agent.add(sshd.identity)
        await s.until_host(HostState.UP)


@pytest.fixture
def takes_passwords(tmp_path: Path) -> Iterator[OpenSSHServer]:
    """A server that takes passwords as well, as most do."""
    server = OpenSSHServer(tmp_path / "takes_passwords", config=("PasswordAuthentication yes",))
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize("trouble", ["locked", "away"])
async def test_an_agent_is_what_is_missing_where_nobody_tells_a_password(
    takes_passwords: OpenSSHServer, agent: RunningAgent, trouble: str
) -> None:
    """Whoever comes to tell it is asked, and may leave it to the agent again."""
    agent.add(takes_passwords.identity)
    {"locked": agent.lock, "away": agent.stop}[trouble]()
    async with scene(spacing=LATE) as s:
        await s.supervisor.up(s.profile(local(), host=with_agent(takes_passwords, agent)), here())
        status = await s.until_host(HostState.BACKOFF)
        assert status.last_error is not None
        assert status.last_error.code == "agent-unavailable"
        assert str(agent.path) in status.last_error.message
        assert "tunnelctl answer dev/server" in status.last_error.hint
        subscription = s.supervisor.subscribe([DEV])
        question = await question_in(subscription)
        assert "password" in question.message
        s.supervisor.answer("dev", question.id, None)
        status = await s.until_host(HostState.NEEDS_INPUT)  # and is not asked again and again
        assert status.last_error is not None
        assert str(agent.path) in status.last_error.message
        assert "password" in status.last_error.message
        subscription.close()
        if trouble == "away":
            agent.start()
            agent.add(takes_passwords.identity)
        else:
            agent.unlock()
        await s.until_host(HostState.UP)


# The server


class Home:
    """The server's /home: away as long as it is not mounted."""

    def __init__(self, sshd: OpenSSHServer) -> None:
        self._keys = sshd.authorized_keys
        self._kept = sshd.authorized_keys.with_name("kept")

    def unmount(self) -> None:
        self._keys.rename(self._kept)

    def mount(self) -> None:
        self._kept.rename(self._keys)


async def test_a_home_that_is_mounted_late(sshd: OpenSSHServer) -> None:
    home = Home(sshd)
    async with scene(spacing=SOON) as s:
        await s.up(s.profile(local(), host=sshd.host()))
        home.unmount()
        _, error = await lose(s, sshd)
        assert error.code == "auth-failed"
        assert "the last login succeeded" in error.message
        await s.until_told("server", "backoff", 4)
        home.mount()
        await s.until_told("server", "up", 2)
        assert s.host_status().last_error is None


async def test_it_is_tried_again_after_five_seconds_then_ever_later(sshd: OpenSSHServer) -> None:
    async with scene() as s:
        await s.up(s.profile(local(), host=sshd.host()))
        Home(sshd).unmount()
        await lose(s, sshd)
        waits = [
            e.message
            for e in s.events
            if e.state == "backoff" and "last login succeeded" in e.message
        ]
        assert "next try in 5." in waits[0]
        assert SPACING == (5, 15, 60, 300)


@pytest.mark.parametrize("order", ["up", "restart", "key", "certificate"])
async def test_it_is_tried_at_once_when_somebody_acts(
    sshd: OpenSSHServer, tmp_path: Path, order: str
) -> None:
    home = Home(sshd)
    async with scene(spacing=LATE) as s:
        profile = s.profile(local(), host=sshd.host())
        await s.up(profile)
        home.unmount()
        await lose(s, sshd)
        s.supervisor.hurry("the network has changed")  # that is no reason
        assert s.host_status().state is HostState.BACKOFF
        home.mount()
        match order:
            case "up":
                await s.supervisor.up(profile, here())
            case "restart":
                await s.supervisor.restart("dev")
            case "key":
                sshd.authorized_keys.write_text(write_key(sshd.identity) + "\n")
            case "certificate":
                authority = Authority(tmp_path / "ca")
                line = f"cert-authority {authority.line}\n"
                sshd.authorized_keys.write_text(line)
                authority.sign(sshd.identity, principals=sshd.user, host=False)
        await s.until_told("server", "up", 2)


async def test_a_key_file_that_is_away_for_a_while(sshd: OpenSSHServer) -> None:
    away = sshd.identity.with_name("away")
    async with scene(spacing=LATE) as s:
        await s.up(s.profile(local(), host=sshd.host(identity_agent="none")))
        sshd.identity.rename(away)
        sshd.identity.with_name("client_key.pub").unlink()
        status, error = await lose(s, sshd)
        assert (status.state, error.code) == (HostState.BACKOFF, "key-unreadable")
        away.rename(sshd.identity)
        await s.until_told("server", "up", 2)


async def test_a_key_file_that_is_back_before_anybody_looked(tmp_path: Path) -> None:
    """It was away when the login began, and is back at the first look after the failure."""
    host = Host("server", "127.0.0.1", identity_file=(str(tmp_path / "key"),))
    changed = asyncio.Event()
    tasks = Tasks("test")
    refusals = Refusals(Random(0), LATE)
    watch = LoginWatch(lambda: (host,), here, refusals, tasks, changed.set)
    began = Machine(state=HostState.AUTHENTICATING)
    watch.follow(began)
    await tasks.settle()
    write_key(tmp_path / "key")
    watch.follow(replace(began, state=HostState.BACKOFF, rests=(Rest(0, 600.0, asked=False),)))
    try:
        async with asyncio.timeout(20):
            await changed.wait()
    finally:
        watch.forget()
        await tasks.settle()


async def test_another_key_in_the_same_file_was_never_taken(sshd: OpenSSHServer) -> None:
    async with scene(spacing=SOON) as s:
        await s.up(s.profile(local(), host=sshd.host()))
        write_key(sshd.identity)
        status, error = await lose(s, sshd)
        assert (status.state, error.code) == (HostState.FAILED, "auth-failed")


async def test_a_key_that_was_never_taken_is_not_repeated(sshd: OpenSSHServer) -> None:
    Home(sshd).unmount()
    async with scene(spacing=SOON) as s:
        await s.supervisor.up(s.profile(local(), host=sshd.host()), here())
        await s.until_host(HostState.FAILED)
        assert sshd.log.count("Connection from") == 1


async def test_other_settings_are_other_credentials(sshd: OpenSSHServer, tmp_path: Path) -> None:
    other = tmp_path / "other"
    write_key(other)
    async with scene(spacing=SOON) as s:
        await s.up(s.profile(local(), host=sshd.host()))
        changed = sshd.host(identity_file=(str(other),))
        await s.supervisor.up(s.profile(local(), host=changed), here())
        await s.until_host(HostState.FAILED)


async def test_a_hop_that_refuses_for_a_while(sshd: OpenSSHServer, tmp_path: Path) -> None:
    inner = OpenSSHServer(tmp_path / "inner")
    inner.start()
    home = Home(sshd)
    try:
        async with scene(spacing=SOON) as s:
            host = inner.host(proxy_jump=(sshd.host(name="gateway"),))
            await s.up(s.profile(local(), host=host))
            home.unmount()
            _, error = await lose(s, sshd)
            assert error.code == "auth-failed"
            assert error.message.startswith("hop gateway")
            home.mount()
            await s.until_told("server", "up", 2)
    finally:
        inner.stop()


async def test_a_hop_that_somebody_else_logged_in_to(sshd: OpenSSHServer, tmp_path: Path) -> None:
    """Whoever shared the link that is lost knows that the hop took it, too."""
    inner = OpenSSHServer(tmp_path / "inner")
    inner.start()
    home = Home(sshd)
    try:
        async with scene(spacing=SOON) as s:
            host = inner.host(proxy_jump=(sshd.host(name="gateway"),))
            await s.up(s.profile(local(), host=host))
            await s.up(s.profile(local(), name="other", host=host))
            await s.supervisor.down("dev", 0)
            home.unmount()
            sshd.kill_sessions()
            await eventually_async(
                lambda: s.host_status(profile="other").state is HostState.BACKOFF, "it waits"
            )
            await s.until_told("server", "backoff", 3)
            home.mount()
            await eventually_async(
                lambda: s.host_status(profile="other").state is HostState.UP, "it is up again"
            )
    finally:
        inner.stop()


async def test_a_fallback_is_not_kept_waiting(sshd: OpenSSHServer, tmp_path: Path) -> None:
    """It serves while the host refuses, and a new key has the host itself tried at once."""
    other = OpenSSHServer(tmp_path / "other")
    other.start()
    try:
        async with scene(spacing=LATE) as s:
            host = sshd.host(fallback=(other.host(name="other"),))
            await s.up(s.profile(local(), host=host))
            sshd.authorized_keys.write_text("")
            sshd.kill_sessions()
            await eventually_async(lambda: s.host_status().fallback == "other", "it serves")
            other.kill_sessions()  # and comes back, though the host waits for ten minutes
            await s.until_told("server", "up", 3)
            assert s.host_status().fallback == "other"
            sshd.authorized_keys.write_text(write_key(sshd.identity) + "\n")
            await eventually_async(lambda: s.host_status().fallback is None, "it is back home")
    finally:
        other.stop()


async def test_a_lazy_host_waits_as_long(sshd: OpenSSHServer) -> None:
    home = Home(sshd)
    async with scene(spacing=SOON) as s:
        host = sshd.host(lazy=True)
        await s.supervisor.up(s.profile(local(), host=host), here())
        await s.until_host(HostState.IDLE)
        port = s.port("web")
        async with client(port):
            await s.until_host(HostState.UP)
        home.unmount()
        _, error = await lose(s, sshd)
        assert error.code == "auth-failed"
        home.mount()
        await s.until_told("server", "up", 2)


# Passwords

PASSWORD = Round((("Password: ", False),), ("hunter2",))


@pytest.mark.parametrize("method", ["password", "keyboard-interactive"])
@pytest.mark.parametrize("trouble", ["refused", "no secret"])
async def test_a_password_that_the_profile_names(tmp_path: Path, method: str, trouble: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2\n")
    secret.chmod(0o600)
    rules = Rules(steps=(method,), rounds=(PASSWORD,))
    reference = SecretRef(SecretSource.FILE, (str(secret),))
    with Questioner(rules) as server:
        async with scene(spacing=SOON) as s:
            host = server.host(name="server", password=reference, reconnect=s.host().reconnect)
            await s.up(s.profile(local(), host=host))
            if trouble == "refused":
                rules.password, rules.rounds = "away", (Round(PASSWORD.prompts, ("away",)),)
            else:
                secret.rename(tmp_path / "away")
            await s.supervisor.restart("dev")
            waiting = await s.until_host(HostState.BACKOFF)
            assert waiting.last_error is not None
            codes = {"refused": "auth-failed", "no secret": "secret-unavailable"}
            assert waiting.last_error.code == codes[trouble]
            if trouble == "refused":
                rules.password, rules.rounds = "hunter2", (PASSWORD,)
            else:
                (tmp_path / "away").rename(secret)
            await s.until_told("server", "up", 2)
            await s.supervisor.down("dev", 0)


# What the server bears


async def test_many_hosts_with_the_same_key_share_one_wait(sshd: OpenSSHServer) -> None:
    async with scene(spacing=LATE) as s:
        names = [f"dev{number}" for number in range(8)]
        for name in names:
            await s.up(s.profile(local(), name=name, host=sshd.host()))
        Home(sshd).unmount()
        before = sshd.log.count("Connection from")
        sshd.kill_sessions()

        def all_wait() -> bool:
            hosts = [s.host_status(profile=name) for name in names]
            errors = [host.last_error for host in hosts if host.state is HostState.BACKOFF]
            return [e.code for e in errors if e] == ["auth-failed"] * len(names)

        await eventually_async(all_wait, "all wait")
        assert sshd.log.count("Connection from") - before <= 4
