"""How many handshakes are under way at once, and what they resolve secrets from."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext

import pytest

from tests.ssh.clients import no_secret
from tests.supervisor.scene import SOON, scene
from tests.support.here import here
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually_async
from tunnelctl.errors import Code, Failure
from tunnelctl.net.reactor import Reactor
from tunnelctl.spec.environment import Environment
from tunnelctl.spec.host import Host
from tunnelctl.spec.profile import Profile
from tunnelctl.spec.secret import SecretRef, SecretSource
from tunnelctl.ssh import sentences
from tunnelctl.ssh.link.link import Link
from tunnelctl.ssh.turns import Turn
from tunnelctl.supervisor.logins.handshakes import Handshakes


class Door:
    """A `connect` behind which every handshake takes until the door is opened, then fails."""

    def __init__(self) -> None:
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.most_in_all = 0
        self.finished = 0
        self.opened = asyncio.Event()

    async def connect(self, host: Host, reactor: Reactor, *, turn: Turn, **_: object) -> Link:
        async with turn(host) as place:
            await place.work()
            self.now[host.address] += 1
            self.most[host.address] = max(self.most[host.address], self.now[host.address])
            self.most_in_all = max(self.most_in_all, self.now.total())
            try:
                await self.opened.wait()
            finally:
                self.now[host.address] -= 1
                self.finished += 1
        raise Failure(Code.AUTH_FAILED, "nobody comes in here")


def crowd(addresses: int, at_each: int) -> Profile:
    """Hosts that are `addresses` servers in truth, `at_each` hosts to one."""
    hosts = tuple(
        Host(f"h{a}-{n}", f"server{a}.example", reconnect=SOON)
        for a in range(addresses)
        for n in range(at_each)
    )
    return Profile("dev", "dev.yaml", hosts, ())


async def test_four_at_one_address() -> None:
    door = Door()
    async with scene(connect=door.connect) as s:
        await s.supervisor.up(crowd(1, 9), here())
        await eventually_async(lambda: door.now.total() == 4, "four are at the door")
        door.opened.set()
        await eventually_async(lambda: door.finished == 9, "all had their turn")
        assert door.most == {"server0.example:22": 4}


@asynccontextmanager
async def at_the_door(door: Door, moment: float) -> AsyncIterator[None]:
    """Three hosts at each of seven addresses; a place is held for a `moment` at most."""
    reactor = Reactor(asyncio.get_running_loop())
    queue = Handshakes(reactor, door.connect, moment=moment)

    async def knock(host: Host) -> None:
        with pytest.raises(Failure):
            await queue.connect(host, here(), no_secret, lambda _: None, lambda *_: nullcontext())

    async with asyncio.TaskGroup() as tasks:
        for host in crowd(7, 3).hosts:
            tasks.create_task(knock(host))
        yield
        door.opened.set()
    reactor.close()


async def test_sixteen_work_at_once() -> None:
    door = Door()
    async with at_the_door(door, moment=600):
        await eventually_async(lambda: door.now.total() == 16, "sixteen are at the door")
    assert door.finished == 21
    assert door.most_in_all == 16


async def test_who_takes_long_holds_up_nobody() -> None:
    door = Door()
    async with at_the_door(door, moment=0.05):
        await eventually_async(lambda: door.now.total() == 21, "all are, though none has ended")
    assert max(door.most.values()) == 3


async def test_a_server_that_takes_two_at_a_time_has_them_all_in_the_end(
    sshd: OpenSSHServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # sshd from 9.8 on has the same sentence for a penalty, which is waited for.
    monkeypatch.setattr(sentences, "_PENALTY_PAUSE", 0.1)
    sshd.reconfigure("MaxStartups 2:100:2")
    async with scene() as s:
        hosts = tuple(sshd.host(name=f"h{n}", reconnect=SOON) for n in range(8))
        await s.up(Profile("dev", "dev.yaml", hosts, ()))
        turned_away = [e.message for e in s.events if e.state == "backoff"]
        assert turned_away
        assert all("too many logins in progress" in message for message in turned_away)


async def test_who_waits_for_a_turn_can_be_taken_down() -> None:
    door = Door()
    async with scene(connect=door.connect) as s:
        await s.supervisor.up(crowd(1, 9), here())
        await eventually_async(lambda: door.now.total() == 4, "four are at the door")
        await s.supervisor.down("dev", 0)
        assert door.now.total() == 0
        await s.supervisor.up(crowd(1, 1), here())
        await eventually_async(lambda: door.now.total() == 1, "no turn was lost")


async def test_secrets_come_from_the_environment_given_last() -> None:
    found: list[str] = []

    async def connect(
        host: Host, reactor: Reactor, *, resolve_secret: Callable[[SecretRef], str], **_: object
    ) -> Link:
        reference = SecretRef(SecretSource.ENV, ("SSH_PASSWORD",))
        found.append(await asyncio.to_thread(resolve_secret, reference))
        raise Failure(Code.AUTH_FAILED, "the password is wrong")

    async with scene(connect=connect) as s:
        for password in ("first", "second"):
            await s.supervisor.up(crowd(1, 1), here(SSH_PASSWORD=password))
            await eventually_async(lambda: "failed" in s.states("h0-0"), "it was used")
            s.events.clear()
        assert found == ["first", "second"]


@pytest.mark.parametrize(
    "refusal",
    [
        Failure(Code.AUTH_FAILED, "never taken"),
        Failure(Code.AGENT_UNAVAILABLE, "locked", retryable=True, retry_after=600.0, spaced=True),
    ],
    ids=["for good", "for minutes"],
)
async def test_what_fails_in_an_old_environment_is_tried_in_the_new_one(refusal: Failure) -> None:
    """The new one came while a handshake was under way."""
    found: list[str] = []
    failing = asyncio.Event()

    async def connect(
        host: Host, reactor: Reactor, *, environment: Environment, **_: object
    ) -> Link:
        found.append(str(environment.get("SSH_AUTH_SOCK")))
        await failing.wait()
        raise refusal

    async with scene(connect=connect) as s:
        await s.supervisor.up(crowd(1, 1), here(SSH_AUTH_SOCK="/first"))
        await eventually_async(lambda: found == ["/first"], "it is under way")
        await s.supervisor.up(crowd(1, 1), here(SSH_AUTH_SOCK="/second"))
        failing.set()
        await eventually_async(lambda: found == ["/first", "/second"], "it is tried again")


async def test_a_secret_that_is_missing_fails_the_host() -> None:
    async def connect(
        host: Host, reactor: Reactor, *, resolve_secret: Callable[[SecretRef], str], **_: object
    ) -> Link:
        resolve_secret(SecretRef(SecretSource.ENV, ("NOT_THERE",)))
        raise AssertionError("resolved")

    async with scene(connect=connect) as s:
        await s.supervisor.up(crowd(1, 1), here())
        await eventually_async(lambda: "failed" in s.states("h0-0"), "it failed")
        error = s.host_status("h0-0").last_error
        assert error is not None
        assert error.code == Code.SECRET_UNAVAILABLE
