"""Orders and holders with a real supervisor: the last order counts, and nothing else drops one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.profiles import EMBEDDED
from tests.support.waiting import eventually_async
from tunnelctl.daemon.orders import ReloadOrder, UpOrder
from tunnelctl.daemon.troubles import Troubles
from tunnelctl.daemon.wanted.profiles import Profiles
from tunnelctl.daemon.wanted.saved import WantedProfile
from tunnelctl.daemon.wanted.saving import WantedFile
from tunnelctl.errors import Code, Failure
from tunnelctl.net.reactor import Reactor
from tunnelctl.spec.environment import Environment
from tunnelctl.state.documents.snapshot import ProfileState, Wanted
from tunnelctl.supervisor.supervisor import Supervisor

LEASES = ("a" * 16, "b" * 16)
NAMES = ("dev", "other")


class Daemon:
    """The part of a daemon that takes orders; files are in `folder`."""

    def __init__(self, folder: Path, profiles: Profiles, supervisor: Supervisor) -> None:
        self.folder = folder
        self.profiles = profiles
        self.supervisor = supervisor

    def file(self, name: str, text: str = EMBEDDED, place: str = "here") -> Path:
        """Write a profile."""
        folder = self.folder / place
        folder.mkdir(exist_ok=True)
        path = folder / f"{name}.yaml"
        path.write_text(text)
        return path

    async def up(self, name: str, lease: str | None = None, **asked: object) -> None:
        """`up` from a file that is written for it."""
        order = UpOrder(self.folder / "here" / f"{name}.yaml", Environment(), lease)
        await self.profiles.up(name, order)

    def saved(self) -> set[str]:
        """What the next daemon would have."""
        try:
            document = json.loads((self.folder / "wanted.json").read_bytes())
        except FileNotFoundError:
            return set()
        return {profile["name"] for profile in document["profiles"]}

    async def until(self, name: str, state: ProfileState) -> None:
        """Wait until a profile is in that state."""

        def is_so() -> bool:
            status = self.profiles.status_of(name)
            return status is not None and status.state is state

        await eventually_async(is_so, f"{name} is {state}")


@asynccontextmanager
async def daemon(folder: Path) -> AsyncIterator[Daemon]:
    """As the process makes it, without a socket."""
    reactor = Reactor(asyncio.get_running_loop())
    supervisor = Supervisor(reactor)
    file = WantedFile(folder / "wanted.json", Path("/run/control.sock"), Troubles())
    profiles = Profiles(supervisor, file, environment=Environment(), cwd=folder)
    one = Daemon(folder, profiles, supervisor)
    try:
        yield one
    finally:
        await supervisor.close(10)
        await profiles.close(5)
        reactor.close()


async def test_a_lease_that_ends_while_another_comes_with_d(tmp_path: Path) -> None:
    """Nothing is taken down in between, either."""
    async with daemon(tmp_path) as d:
        d.file("dev")
        d.profiles.holders.open(LEASES[0])
        await d.up("dev", LEASES[0])
        await d.until("dev", ProfileState.UP)
        events = d.supervisor.subscribe()
        coming = asyncio.create_task(d.up("dev"))
        await asyncio.sleep(0)
        d.profiles.end_lease(LEASES[0])
        await coming
        assert d.saved() == {"dev"}
        await d.until("dev", ProfileState.UP)
        events.close()
        assert "stopping" not in [event.state async for event in events]


async def test_a_down_while_an_up_is_read_counts(tmp_path: Path) -> None:
    async with daemon(tmp_path) as d:
        d.file("dev")
        coming = asyncio.create_task(d.up("dev"))
        await asyncio.sleep(0)
        await d.profiles.down("dev", 0)
        with pytest.raises(Failure, match="taken down meanwhile"):
            await coming
        assert d.profiles.status_of("dev") is None
        assert d.saved() == set()


async def test_a_down_while_files_are_read_again(tmp_path: Path) -> None:
    async with daemon(tmp_path) as d:
        for name in NAMES:
            d.file(name)
            await d.up(name)
        reloading = asyncio.create_task(d.profiles.reload(ReloadOrder()))
        await asyncio.sleep(0)
        await d.profiles.down("other", 0)
        assert [one.name for one in await reloading] == ["dev"]


async def test_a_file_that_takes_the_place_of_one_that_is_read_again(tmp_path: Path) -> None:
    async with daemon(tmp_path) as d:
        d.file("dev")
        there = d.file("dev", place="there")
        await d.up("dev")
        replacing = asyncio.create_task(
            d.profiles.up("dev", UpOrder(there, Environment(), replace=True))
        )
        await asyncio.sleep(0)
        reloading = asyncio.create_task(d.profiles.reload(ReloadOrder()))
        await asyncio.gather(replacing, reloading)
        status = d.profiles.status_of("dev")
        assert status is not None
        assert status.source == str(there)


async def test_a_name_belongs_to_its_file(tmp_path: Path) -> None:
    async with daemon(tmp_path) as d:
        first, second = d.file("dev"), d.file("dev", place="there")
        link = tmp_path / "link.yaml"
        link.symlink_to(first)
        d.profiles.holders.open(LEASES[0])
        await d.profiles.up("dev", UpOrder(first, Environment(), LEASES[0]))
        await d.profiles.up("dev", UpOrder(link, Environment()))
        with pytest.raises(Failure) as taken:
            await d.profiles.up("dev", UpOrder(second, Environment()))
        assert taken.value.code is Code.NAME_TAKEN
        assert taken.value.exit_code == 2
        assert str(link) in taken.value.message
        await d.profiles.up("dev", UpOrder(second, Environment(), replace=True))
        status = d.profiles.status_of("dev")
        assert status is not None
        assert (status.source, status.holders.commands) == (str(second), 0)
        await d.profiles.down("dev", 0)
        await d.profiles.up("dev", UpOrder(first, Environment()))


async def test_nothing_is_forgotten_while_it_is_restored(tmp_path: Path) -> None:
    """Killed at any moment of it, the next daemon has what this one had."""
    names = {f"p{number}" for number in range(5)}
    async with daemon(tmp_path) as d:
        for name in names:
            d.file(name)
            await d.up(name)
        assert d.saved() == names
    (tmp_path / "here" / "p1.yaml").unlink()
    d.file("p2", "version: 1\nhosts: {a: {prot: 1}}\n")
    d.file("p3", EMBEDDED.replace('"hello:80"', '"${NOT_GIVEN}:80"'))
    for _ in range(2):
        async with daemon(tmp_path) as d:
            restoring = asyncio.create_task(d.profiles.restore())
            while not restoring.done():
                assert d.saved() == names
                await asyncio.sleep(0)  # looks after every step of the loop
            await restoring
            failed = {s.name for s in d.profiles.status() if s.state is ProfileState.FAILED}
            assert failed == {"p1", "p2", "p3"}
            await d.profiles.up("p0", UpOrder())  # saves
            with suppress(Failure):
                await d.profiles.reload(ReloadOrder())
            assert d.saved() == names
    for name in names:
        d.file(name)
    async with daemon(tmp_path) as d:
        await d.profiles.restore()
        for name in names:
            await d.until(name, ProfileState.UP)


async def test_an_end_is_kept_by_the_daemon_and_by_the_next_one(tmp_path: Path) -> None:
    async with daemon(tmp_path) as d:
        d.file("dev")
        d.file("other")
        await d.profiles.up("dev", UpOrder(tmp_path / "here/dev.yaml", Environment(), ttl=3600))
        await d.profiles.up("other", UpOrder(tmp_path / "here/other.yaml", Environment(), ttl=0.2))
        await d.until("other", ProfileState.STOPPED)
        await eventually_async(lambda: d.saved() == {"dev"}, "its end is kept")
    (saved,) = WantedFile(tmp_path / "wanted.json", Path("/x"), Troubles()).read()
    assert saved.until is not None
    file = WantedFile(tmp_path / "wanted.json", Path("/x"), Troubles())
    await file.save([WantedProfile(saved.name, saved.file, until=1)])
    async with daemon(tmp_path) as d:
        await d.profiles.restore()
        assert d.profiles.status() == ()
        await eventually_async(lambda: d.saved() == set(), "it is not kept")


# --- any orders --------------------------------------------------------------------------------

Step = tuple[str, str, int]
kinds = ("up -d", "up", "down", "drain", "release", "end", "reload", "replace", "wait")
steps = st.lists(
    st.tuples(st.sampled_from(kinds), st.sampled_from(NAMES), st.integers(0, 1)),
    min_size=2,
    max_size=12,
)


class Model:
    """What each order means, one after another."""

    def __init__(self) -> None:
        self.open = {0, 1}
        self.held: dict[str, set[object]] = {name: set() for name in NAMES}
        self.place = dict.fromkeys(NAMES, "here")

    def step(self, kind: str, name: str, lease: int) -> None:
        """One order."""
        held = self.held[name]
        if kind in ("up -d", "up") and (not held or self.place[name] == "here"):
            if kind == "up -d":
                held.add("-d")
            elif lease in self.open:
                held.add(lease)
            self.place[name] = "here"
        elif kind == "replace":
            if not held or self.place[name] == "here":
                held.clear()
            held.add("-d")
            self.place[name] = "there"
        elif kind in ("down", "drain"):
            held.clear()
        elif kind == "release":
            held.discard(lease)
        elif kind == "end":
            self.open.discard(lease)
            for one in self.held.values():
                one.discard(lease)


async def carry_out(d: Daemon, kind: str, name: str, lease: int) -> None:
    """The same order, as the API gives it."""
    there = UpOrder(d.folder / "there" / f"{name}.yaml", Environment(), replace=True)
    with suppress(Failure):
        if kind == "up -d":
            await d.up(name)
        elif kind == "up":
            await d.up(name, LEASES[lease])
        elif kind == "replace":
            await d.profiles.up(name, there)
        elif kind in ("down", "drain"):
            await d.profiles.down(name, 0.05 if kind == "drain" else 0)
        elif kind == "release":
            await d.profiles.release(name, LEASES[lease], 0)
        elif kind == "end":
            d.profiles.end_lease(LEASES[lease])
        elif kind == "reload":
            await d.profiles.reload(ReloadOrder())


@pytest.mark.timeout(300)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps)
def test_any_orders_end_as_if_they_came_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Step]
) -> None:
    """They are given without waiting for one another; `wait` lets one of those before it end."""
    asyncio.run(_any_orders(tmp_path_factory.mktemp("orders"), steps))


async def _any_orders(folder: Path, steps: list[Step]) -> None:
    model = Model()
    async with daemon(folder) as d:
        for name in NAMES:
            d.file(name)
            d.file(name, place="there")
        for lease in LEASES:
            d.profiles.holders.open(lease)
        given_orders: list[asyncio.Task[None]] = []
        for step in steps:
            if step[0] == "wait":
                # Orders also come apart from each other.
                if going_on := [order for order in given_orders if not order.done()]:
                    await asyncio.wait(going_on, return_when=asyncio.FIRST_COMPLETED)
                continue
            model.step(*step)
            given_orders.append(asyncio.create_task(carry_out(d, *step)))
            await asyncio.sleep(0)  # it has come, and nothing more
        await asyncio.gather(*given_orders)
        for name in NAMES:
            held, status = model.held[name], d.profiles.status_of(name)
            if held:
                await d.until(name, ProfileState.UP)
                status = d.profiles.status_of(name)
                assert status is not None
                assert status.wanted is Wanted.UP
                assert status.source.endswith(f"{model.place[name]}/{name}.yaml")
                assert status.holders.detached is ("-d" in held)
                assert status.holders.commands == len(held - {"-d"})
            elif status is not None:
                await d.until(name, ProfileState.STOPPED)
                assert status.wanted is Wanted.DOWN
        await eventually_async(
            lambda: d.saved() == {name for name in NAMES if "-d" in model.held[name]}, "it is saved"
        )
