"""What counts as a change of the network, and as a resume; and what does not."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.programs import require
from tests.support.waiting import eventually_async
from tunnelctl.supervisor.network import Network, NetworkWatch, ResumeWatch, read_network

# A watcher in a network of its own, which tells each change in one line.
_WATCHER = """\
import asyncio
from tunnelctl.supervisor.network import NetworkWatch, read_network

async def watch():
    NetworkWatch(lambda reason: print(reason, len(read_network()), flush=True))
    print("watching", len(read_network()), flush=True)
    await asyncio.Event().wait()

asyncio.run(watch())
"""

LO = ("dev", "lo")


class Elsewhere:
    """A watcher in a namespace that holds nothing but a loopback that is down."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["unshare", "--net", sys.executable, "-c", _WATCHER],
            stdout=subprocess.PIPE,
            text=True,
        )

    def said(self) -> str:
        """The next line."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def ip(self, *words: str) -> None:
        """ip(8) over there."""
        enter = ["nsenter", "--net", "--target", str(self._process.pid)]
        subprocess.run([*enter, "ip", *words], check=True)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


def _can_unshare() -> bool:
    if os.geteuid() != 0 or not Path("/proc/self/ns/net").exists():
        return False
    return subprocess.run(["unshare", "--net", "true"], check=False).returncode == 0


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    if not _can_unshare():
        pytest.skip("only root can have a network of its own")
    require("ip")
    other = Elsewhere()
    yield other
    other.close()


def test_addresses_links_and_default_routes_are_seen(elsewhere: Elsewhere) -> None:
    assert elsewhere.said() == "watching 0"
    elsewhere.ip("addr", "add", "192.0.2.7/24", "dev", "lo")  # of a link that is down: no use
    elsewhere.ip("link", "set", "lo", "up")
    assert elsewhere.said() == "the network has changed 1"
    elsewhere.ip("route", "add", "default", "via", "192.0.2.1")
    assert elsewhere.said() == "the network has changed 2"
    elsewhere.ip("link", "set", "lo", "down")
    assert elsewhere.said() == "the network has changed 0"


def test_what_changes_nothing_is_not_told(elsewhere: Elsewhere) -> None:
    assert elsewhere.said() == "watching 0"
    elsewhere.ip("link", "set", "lo", "up")
    elsewhere.ip("addr", "add", "192.0.2.7/24", "valid_lft", "900", "preferred_lft", "900", *LO)
    assert elsewhere.said() == "the network has changed 1"
    for seconds in ("1000", "2000"):  # as a router's advertisement does every few minutes
        life = ("valid_lft", seconds, "preferred_lft", seconds)
        elsewhere.ip("addr", "change", "192.0.2.7/24", *life, *LO)
    elsewhere.ip("route", "add", "198.51.100.0/24", "via", "192.0.2.1")  # no default
    elsewhere.ip("addr", "add", "192.0.2.8/24", *LO)
    assert elsewhere.said() == "the network has changed 2"


async def test_a_burst_is_told_once_and_one_that_ends_as_it_began_never() -> None:
    """Over a real netlink socket; what is seen is ours."""
    now: Network = frozenset({(1,)})
    told: list[str] = []
    watch = NetworkWatch(told.append, look=lambda: now, settled_after=0.01)
    try:
        for seen, count in (({(1,)}, 0), ({(2,)}, 1), ({(2,)}, 1), ({(1,)}, 2)):
            now = frozenset(seen)
            for _ in range(3):
                watch._told()
            timer = watch._timer
            assert timer is not None
            await eventually_async(lambda: watch._timer is None, "it has settled")
            assert len(told) == count
    finally:
        watch.close()
    watch.close()


class Clocks:
    """Both clocks of a machine, put forward by hand."""

    def __init__(self) -> None:
        self.awake = 1000.0
        self.all = 5000.0
        self.looks = 0

    def monotonic(self) -> float:
        self.looks += 1
        return self.awake

    def boottime(self) -> float:
        return self.all

    async def pass_by(self, awake: float, asleep: float = 0.0) -> None:
        """Time passes between two looks, and the next look is over."""
        self.awake += awake
        self.all += awake + asleep
        after = self.looks + 2
        await eventually_async(lambda: self.looks >= after, "it has looked")


async def test_a_suspend_and_a_long_stop_count_and_time_that_passes_does_not() -> None:
    clocks = Clocks()
    told: list[str] = []
    watch = ResumeWatch(
        told.append, monotonic=clocks.monotonic, boottime=clocks.boottime, look_every=0.01
    )
    try:
        for _ in range(3):
            await clocks.pass_by(2.0)
        assert told == []
        await clocks.pass_by(0.5, asleep=3600)
        await clocks.pass_by(120.0)
        await clocks.pass_by(2.0)
    finally:
        watch.close()
    assert told == ["the machine was asleep for 3600 s", "this process was stopped for 120 s"]


async def test_a_machine_without_netlink_is_served_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert read_network() == frozenset()
    NetworkWatch(lambda reason: None).close()
    await asyncio.sleep(0)
