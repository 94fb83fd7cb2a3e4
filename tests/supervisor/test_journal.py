"""Every change is told once to each subscriber and once to the log."""

from __future__ import annotations

import asyncio
import logging
import os
import signal

import pytest

from tests.supervisor.scene import SOON, echo_service, local, remote, scene
from tests.support.sshd import OpenSSHServer
from tunnelctl.errors import Code, Failure
from tunnelctl.spec.endpoint import LOOPBACK, Endpoint
from tunnelctl.state.documents.snapshot import ProfileState
from tunnelctl.state.documents.status_events import EventKind
from tunnelctl.supervisor.journal import EVENTS_HELD, Journal

REFUSED = Failure(Code.CONNECTION_REFUSED, "bastion refused", "is sshd running?")


def tell(journal: Journal, name: str, failure: Failure | None = None) -> None:
    journal.record(EventKind.HOST, "dev", name, "up", "10.0.0.7:22", failure)


async def test_each_subscriber_reads_every_event_from_then_on() -> None:
    journal = Journal()
    tell(journal, "missed")
    first, second = journal.subscribe(), journal.subscribe()
    tell(journal, "one")
    tell(journal, "two")
    journal.close()
    assert [e.name async for e in first] == ["one", "two"]
    assert [e.name async for e in second] == ["one", "two"]


async def test_a_reader_that_waits_is_woken() -> None:
    journal = Journal()
    subscription = journal.subscribe()
    waiting = asyncio.ensure_future(anext(subscription))
    await asyncio.sleep(0)  # let it begin to wait
    tell(journal, "one")
    assert (await waiting).name == "one"
    ended = asyncio.ensure_future(anext(subscription))
    await asyncio.sleep(0)
    subscription.close()
    subscription.close()
    with pytest.raises(StopAsyncIteration):
        await ended


async def test_a_slow_reader_loses_the_oldest_and_is_told_how_many() -> None:
    journal = Journal()
    subscription = journal.subscribe()
    for number in range(EVENTS_HELD + 3):
        tell(journal, str(number))
    journal.close()
    assert (await anext(subscription)).name == "3"
    assert subscription.lost == 3


async def test_a_closed_subscription_holds_nothing_new() -> None:
    journal = Journal()
    subscription = journal.subscribe()
    subscription.close()
    tell(journal, "late")
    assert [e async for e in subscription] == []


async def test_a_change_is_one_record_that_names_its_subject(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "tunnelctl")
    journal = Journal()
    tell(journal, "bastion")
    journal.record(EventKind.HOST, "dev", "bastion", "backoff", str(REFUSED), REFUSED)
    journal.record(EventKind.HOST, "dev", "bastion", "failed", str(REFUSED), REFUSED)
    journal.record(EventKind.PROFILE, "dev", "", "failed", "")
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("INFO", "host dev/bastion up: 10.0.0.7:22"),
        ("WARNING", "host dev/bastion backoff: bastion refused (is sshd running?)"),
        ("ERROR", "host dev/bastion failed: bastion refused (is sshd running?)"),
        ("INFO", "profile dev failed"),
    ]


async def test_a_failure_travels_with_its_event() -> None:
    journal = Journal()
    subscription = journal.subscribe()
    tell(journal, "bastion", REFUSED)
    event = await anext(subscription)
    assert event.error is not None
    assert event.error.as_json() == REFUSED.as_dict()
    subscription.close()


async def test_the_log_of_a_life_has_one_line_a_change(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tunnelctl")
    async with scene() as s:
        await s.up(s.profile(local()))
        await s.supervisor.down("dev", 0)
        await s.until_told("", "stopped")
        told = [record for record in caplog.records if hasattr(record, "event")]
        assert [record.event for record in told] == s.events


async def test_a_host_that_flaps_is_short_in_the_log_and_whole_in_the_events(
    sshd: OpenSSHServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tunnelctl")
    times = 4
    async with scene() as s, echo_service() as echo:
        rules = (local(target=Endpoint(LOOPBACK, echo)), remote("back", 0, echo))
        await s.up(s.profile(*rules, host=sshd.host(reconnect=SOON)))
        for number in range(1, times + 1):
            for pid in sshd.sessions:
                os.kill(pid, signal.SIGKILL)
            await s.until_told("back", "up", number + 1)
            await s.until(ProfileState.UP)
        subjects = ["server", "web", "back", ""]
        in_events = {name: [e.state for e in s.events if e.name == name] for name in subjects}
        logged = [record.event for record in caplog.records if hasattr(record, "event")]
        in_log = {name: [e.state for e in logged if e.name == name] for name in subjects}
    assert in_events["server"].count("backoff") == times
    assert in_log["server"].count("backoff") == 1
    assert in_log["server"].count("up") == 2
    # Nor do its forwards and its profile fill the log.
    assert in_events["back"].count("up") == in_events[""].count("up") == times + 1
    assert in_log["back"].count("up") == in_log[""].count("up") == 2
    assert len(in_log["web"]) <= 4


async def test_an_outage_is_short_in_the_log_and_whole_in_the_events(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "tunnelctl")
    journal = Journal()
    subscription = journal.subscribe()
    journal.record(EventKind.HOST, "dev", "b", "backoff", "refused", REFUSED, "; 2 failed tries")
    journal.record(EventKind.HOST, "dev", "b", "backoff", "refused", REFUSED, None)
    journal.close()
    assert [event.message async for event in subscription] == ["refused", "refused"]
    assert [r.getMessage() for r in caplog.records] == [
        "host dev/b backoff: refused; 2 failed tries"
    ]
