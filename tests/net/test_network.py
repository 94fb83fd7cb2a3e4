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
from tunnelctl.net.network import Network, NetworkWatch, ResumeWatch, read_network

# A watcher in a network of its own, which tells each change in one line.
_WATCHER = """\
import asyncio
from tunnelctl.net import servers
from tunnelctl.net.network import NetworkWatch

async def run():
    def tell(what):
        print(what, len(watch._seen.addresses), flush=True)
    watch = NetworkWatch(tell)
    servers.note("198.51.100.7")
    servers.note("2001:db8::7")
    tell("watching")
    await asyncio.Event().wait()

asyncio.run(run())
"""

LO = ("dev", "lo")


class Elsewhere:
    """A watcher in a namespace that holds nothing but a loopback that is down."""

    def __init__(self) -> None:
        self._addresses = 0  # that were added so that it settles
        self._process = subprocess.Popen(
            ["unshare", "--net", sys.executable, "-c", _WATCHER],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.said() == "watching 0"  # and so it is in a network of its own by now

    def said(self) -> str:
        """The next line."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def ip(self, *words: str) -> None:
        """ip(8) over there."""
        enter = ["nsenter", "--net", "--target", str(self._process.pid)]
        subprocess.run([*enter, "ip", *words], check=True)

    def route(self, words: str) -> None:
        """`ip route`, or `ip -6 route` where the words begin with that."""
        family = ["-6"] if words.startswith("-6 ") else []
        self.ip(*family, "route", *words.split()[len(family) :])

    def has_settled(self) -> None:
        """What was done so far was told: a new address is always told, and it comes last."""
        self._addresses += 1
        self.ip("addr", "add", f"203.0.113.{self._addresses}/32", "dev", "lo")
        while not self.said().endswith(f" {self._addresses + 1}"):
            pass

    def tells_a_change(self) -> None:
        """It tells one more, and the addresses are as they were."""
        assert self.said() == f"the network has changed {self._addresses + 1}"

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
    elsewhere.ip("addr", "add", "192.0.2.7/24", "dev", "lo")  # of a link that is down: no use
    elsewhere.ip("link", "set", "lo", "up")
    assert elsewhere.said() == "the network has changed 1"
    elsewhere.ip("route", "add", "default", "via", "192.0.2.1")
    assert elsewhere.said() == "the network has changed 1"
    elsewhere.ip("link", "set", "lo", "down")
    assert elsewhere.said() == "the network has changed 0"


def test_what_changes_nothing_is_not_told(elsewhere: Elsewhere) -> None:
    elsewhere.ip("link", "set", "lo", "up")
    elsewhere.ip("addr", "add", "192.0.2.7/24", "valid_lft", "900", "preferred_lft", "900", *LO)
    assert elsewhere.said() == "the network has changed 1"
    for seconds in ("1000", "2000"):  # as a router's advertisement does every few minutes
        life = ("valid_lft", seconds, "preferred_lft", seconds)
        elsewhere.ip("addr", "change", "192.0.2.7/24", *life, *LO)
    elsewhere.ip("route", "add", "203.0.113.0/24", "via", "192.0.2.1")  # no server is there
    elsewhere.ip("addr", "add", "192.0.2.8/24", *LO)
    assert elsewhere.said() == "the network has changed 2"


# Through one router and another, to everywhere and to the network of the watcher's server.
DEFAULT, OTHER = "default via 192.0.2.1", "default via 192.0.2.2"
THERE = "198.51.100.0/24 via 192.0.2.1"


@pytest.mark.parametrize(
    ("before", "change"),
    [
        pytest.param(
            [f"add {DEFAULT} metric 100", f"add {OTHER} metric 200"],
            [f"add {DEFAULT} metric 300", f"del {DEFAULT} metric 100"],
            id="a metric is raised, as NetworkManager does to a link without a connection",
        ),
        pytest.param(
            [f"add {DEFAULT} metric 100", f"add {OTHER} metric 200"],
            [f"del {DEFAULT} metric 100"],
            id="one of two default routes goes",
        ),
        pytest.param(
            [f"add {DEFAULT}", f"add {THERE}"],
            ["replace 198.51.100.0/24 via 192.0.2.2"],
            id="the route to the server's network moves",
        ),
        pytest.param(
            [f"add {DEFAULT}"],
            ["add 198.51.100.7/32 via 192.0.2.2"],
            id="the server gets a route of its own",
        ),
        pytest.param(
            [f"add {DEFAULT}", f"add {THERE}"],
            ["replace unreachable 198.51.100.0/24"],
            id="its network cannot be reached any more",
        ),
        pytest.param(
            [f"add {DEFAULT}"],
            ["add 198.51.100.0/24 via 192.0.2.2 table 51820"],
            id="a route in another table, as a VPN has it",
        ),
        pytest.param(
            ["add default nexthop via 192.0.2.1 nexthop via 192.0.2.2"],
            [f"replace {DEFAULT}"],
            id="one of two gateways of a route goes",
        ),
        pytest.param([], ["-6 add 2001:db8::/32 dev lo"], id="IPv6"),
    ],
)
def test_a_route_to_a_server_that_changes_is_told(
    elsewhere: Elsewhere, before: list[str], change: list[str]
) -> None:
    elsewhere.ip("link", "set", "lo", "up")
    elsewhere.ip("addr", "add", "192.0.2.7/24", *LO)
    elsewhere.has_settled()
    for words in before:
        elsewhere.route(words)
    elsewhere.has_settled()
    for words in change:
        elsewhere.route(words)
    elsewhere.tells_a_change()


async def test_a_burst_is_told_once_and_one_that_ends_as_it_began_never() -> None:
    """Over a real netlink socket; what is seen is ours."""
    now = Network(frozenset({(1,)}))
    told: list[str] = []
    watch = NetworkWatch(told.append, look=lambda: now, settled_after=0.01)
    try:
        for seen, count in (({(1,)}, 0), ({(2,)}, 1), ({(2,)}, 1), ({(1,)}, 2)):
            now = Network(frozenset(seen))
            for _ in range(3):
                watch._told()
            assert watch._timer is not None
            await eventually_async(
                lambda: watch._timer is None and watch._looking is None, "it has settled"
            )
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
    assert read_network() == Network()
    NetworkWatch(lambda reason: None).close()
    await asyncio.sleep(0)
