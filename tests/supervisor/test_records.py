"""The list of connections of all profiles, and ten minutes of traffic and round trips."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Iterator

import pytest

from tests.supervisor.scene import Scene, local, remote, scene
from tests.support.clients import exchange
from tests.support.here import here
from tests.support.services import EchoService, ResetService, connect, receive, reset
from tests.support.threads import in_thread
from tests.support.waiting import eventually_async
from tunnelctl.errors import Code, Failure
from tunnelctl.forward.client_connections import ConnectionLog, Connections
from tunnelctl.net.reactor import Reactor
from tunnelctl.spec.endpoint import LOOPBACK, Endpoint
from tunnelctl.state.documents.connection_status import ConnectionEnd, ConnectionList, End
from tunnelctl.state.documents.history import SAMPLES, History
from tunnelctl.supervisor.records import sampler
from tunnelctl.supervisor.records.connection_list import WantedConnections
from tunnelctl.supervisor.records.ring import Ring
from tunnelctl.supervisor.records.sampler import Sampler


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples come so quickly that a test need not wait for them."""
    monkeypatch.setattr(sampler, "STEP_SECONDS", 0.02)


async def connections(s: Scene, profile: str | None = None) -> ConnectionList:
    return await s.supervisor.connections(WantedConnections(profile))


async def until_ended(s: Scene) -> ConnectionList:
    """The list, once a connection has ended and none is open."""
    await eventually_async(
        lambda: s.forward("web").connections_total == 1 and s.forward("web").connections_open == 0,
        "it has ended",
    )
    return await connections(s)


# Connections.


async def test_a_target_there_that_resets_is_told_by_our_own_server() -> None:
    with ResetService(after=4) as service:
        async with scene() as s:
            await s.up(s.profile(local(target=Endpoint(LOOPBACK, service.port))))
            with connect(s.port("web")) as client:
                client.sendall(b"1234")
                assert (await in_thread(receive, client)).end == "reset"
            (one,) = (await until_ended(s)).ended
            assert (one.how, one.reset_by) == (ConnectionEnd.RESET, End.TARGET)


async def test_a_client_there_that_resets_is_told_by_our_own_server() -> None:
    with EchoService() as echo:
        async with scene() as s:
            await s.up(s.profile(remote("web", 0, echo.port)))
            client = connect(s.port("web"))
            assert await in_thread(exchange, client, b"hello") == b"hello"
            (one,) = (await connections(s)).connections
            assert one.client == f"127.0.0.1:{client.getsockname()[1]}"
            reset(client)
            (one,) = (await until_ended(s)).ended
            assert (one.how, one.reset_by) == (ConnectionEnd.RESET, End.CLIENT)


async def test_the_end_of_a_profile_closes_its_connections() -> None:
    with EchoService() as echo:
        target = Endpoint(LOOPBACK, echo.port)
        async with scene() as s:
            await s.up(s.profile(local(target=target)))
            await s.up(s.profile(local(target=target), name="other"))
            with connect(s.port("web")) as one, connect(s.port("web", "other")) as two:
                for each in (one, two):
                    assert await in_thread(exchange, each, b"hello") == b"hello"
                found = await connections(s)
                assert [each.profile for each in found.connections] == ["dev", "other"]
                assert len({each.id for each in found.connections}) == 2
                await s.supervisor.down("dev", 0)
                found = await connections(s, "dev")
                assert found.connections == ()
                assert [each.how for each in found.ended] == [ConnectionEnd.CLOSED]
                (left,) = (await connections(s)).connections
                assert left.profile == "other"


async def test_a_connection_that_is_not_there_cannot_be_closed() -> None:
    async with scene() as s:
        for number in ("1", "0", "-1", "x", "9" * 5000, ""):
            with pytest.raises(Failure) as caught:
                s.supervisor.close_connection(number)
            assert caught.value.code is Code.CONNECTION_NOT_FOUND


# History.


def test_a_ring_keeps_the_last_samples_in_order() -> None:
    ring = Ring()
    assert list(ring.in_order()) == []
    for number in range(SAMPLES + 7):
        ring.add(number)
    assert list(ring.in_order()) == list(range(7, SAMPLES + 7))


async def test_traffic_and_round_trips_are_sampled(soon: None) -> None:
    with EchoService() as echo:
        async with scene() as s:
            await s.up(s.profile(local(target=Endpoint(LOOPBACK, echo.port))))
            with connect(s.port("web")) as client:
                assert await in_thread(exchange, client, b"x" * 9000) == b"x" * 9000

                def history() -> History | None:
                    found = s.supervisor.samples().history()
                    return found if found.forwards and any(found.forwards[0].bytes_in) else None

                found = await eventually_async(history, "it is measured")
                assert found is not None
                (forward,), (host,) = found.forwards, found.hosts
                assert (forward.profile, forward.forward) == ("dev", "web")
                assert any(forward.bytes_out)
                assert len(forward.bytes_in) == len(forward.bytes_out)
                assert (host.profile, host.host) == ("dev", "server")
                await eventually_async(
                    lambda: s.supervisor.samples().history().hosts[0].rtt_ms[-1], "a round trip"
                )
                # A host without a link has none.
                await s.server.close()
                await eventually_async(
                    lambda: s.supervisor.samples().history().hosts[0].rtt_ms[-1] is None, "none"
                )


async def test_a_forward_that_a_reload_leaves_alone_keeps_its_samples(soon: None) -> None:
    async with scene() as s:

        def count(name: str) -> int:
            forwards = s.supervisor.samples().history().forwards
            return next((len(one.bytes_in) for one in forwards if one.forward == name), 0)

        await s.up(s.profile(local("kept"), local("gone")))
        await eventually_async(lambda: min(count("kept"), count("gone")) >= 5, "samples")
        before = count("kept")
        await s.up(s.profile(local("kept"), local("new")))
        assert count("kept") >= before
        await eventually_async(lambda: count("new") >= 1 and not count("gone"), "the others")
        assert count("kept") > count("new")
        await s.supervisor.up(s.profile(), here())
        await eventually_async(lambda: not count("kept"), "none is left")


async def test_a_profile_that_is_down_is_not_sampled(soon: None) -> None:
    async with scene() as s:
        await s.up(s.profile(local()))
        await eventually_async(lambda: s.supervisor.samples().forwards, "it is sampled")
        await s.supervisor.down("dev", 0)
        await eventually_async(lambda: not s.supervisor.samples().forwards, "it is not")
        await s.up(s.profile(local()))
        await eventually_async(lambda: s.supervisor.samples().forwards, "it is again")


@pytest.fixture
def traced() -> Iterator[None]:
    """Allocations are counted."""
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("forwards", "hosts", "kilobytes"), [(1000, 0, 2.9), (0, 1000, 1.6)], ids=["forward", "host"]
)
async def test_ten_minutes_have_a_few_kilobytes(
    monkeypatch: pytest.MonkeyPatch, traced: None, forwards: int, hosts: int, kilobytes: float
) -> None:
    """As docs/api.md says; with `-s` it prints how many."""
    monkeypatch.setattr(sampler, "STEP_SECONDS", 0.001)
    reactor = Reactor(asyncio.get_running_loop())
    log = ConnectionLog()
    measured = [Connections(reactor, log, listening_here=True) for _ in range(forwards)]
    round_trips = [(f"profile-{number}", "bastion", 0.5) for number in range(hosts)]
    before, _ = tracemalloc.get_traced_memory()
    one = Sampler(lambda: measured, lambda: round_trips)
    one.start()

    def is_full() -> bool:
        found = one.samples()
        return any(len(each[-1]) == SAMPLES for each in (*found.forwards, *found.hosts)[-1:])

    await eventually_async(is_full, "ten minutes", seconds=60)
    one.close()
    after, _ = tracemalloc.get_traced_memory()
    reactor.close()
    each = (after - before) / (forwards + hosts) / 1000
    print(f"{each:.2f} kB")
    assert each == pytest.approx(kilobytes, abs=0.1)
