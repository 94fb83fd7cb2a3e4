"""Every way to a host that fails, often: no thread, descriptor or process stays behind.

The check itself is the fixture `no_leaks`, which holds for every test; here each class of failure
comes often; with TUNNELCTL_LEAK_TRIES=50 so often that a leak of one in fifty shows as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.ssh.reach import Reach, reach, servers
from tests.support.leaks import TRIES, holdings
from tests.support.ports import free_port
from tests.support.programs import require
from tests.support.proxies import ScriptedProxy
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually_async
from tunnelctl.errors import Code
from tunnelctl.spec.host import Host, Proxy, ProxyKind
from tunnelctl.ssh.reach import proxy_command

AT_ONCE = 10
SOON = 0.3  # seconds until what hangs is given up
_LONGEST = 0.15  # seconds until the last of the tries is cancelled


@dataclass(frozen=True)
class Place:
    """What the tries can be made against: a server as the hop, and another one behind it."""

    hop: OpenSSHServer
    inner: OpenSSHServer
    proxies: dict[str, ScriptedProxy]

    def through(self, **changes: object) -> Host:
        """The inner host through the hop, which has the `changes`."""
        return self.inner.host(name="inner", proxy_jump=(self.hop.host(name="hop", **changes),))

    def proxied(self, kind: ProxyKind, script: str, **changes: object) -> Host:
        """The inner host through a proxy that follows a script."""
        proxy = Proxy(kind, "127.0.0.1", self.proxies[script].port)
        return self.inner.host(proxy=proxy, connect_timeout=SOON * 10, **changes)

    def run(self, *command: str) -> Host:
        """The inner host by a program."""
        return self.inner.host(proxy_command=command, connect_timeout=5.0)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory: Path = tmp_path_factory.mktemp("ways")
    scripts: dict[str, Callable[[], ScriptedProxy]] = {
        "silence": ScriptedProxy,
        "garbage": lambda: ScriptedProxy(b"\0garbage\r\n\r\n", hangs_up=True),
        "socks: no": lambda: ScriptedProxy(b"\5\0", b"\5\2\0\1" + bytes(6)),
        "socks: who?": lambda: ScriptedProxy(b"\5\xff"),
        "http: no": lambda: ScriptedProxy(b"HTTP/1.1 403 Forbidden\r\n\r\n"),
        "http: who?": lambda: ScriptedProxy(b"HTTP/1.1 407 Who are you\r\n\r\n"),
        "and then nothing": lambda: ScriptedProxy(b"HTTP/1.1 200 OK\r\n\r\n", hangs_up=True),
    }
    with servers(directory, "hop", "inner") as (hop, inner), ExitStack() as stack:
        proxies = {name: stack.enter_context(make()) for name, make in scripts.items()}
        yield Place(hop, inner, proxies)


SOCKS5, HTTP = ProxyKind.SOCKS5, ProxyKind.HTTP
FAILURES: dict[str, tuple[Code, Callable[[Place], Host]]] = {
    "refused": (Code.CONNECTION_REFUSED, lambda p: p.inner.host(port=free_port())),
    "unresolvable": (Code.NAME_NOT_FOUND, lambda p: p.inner.host(hostname="a" * 64 + ".invalid")),
    "hop refused": (Code.CONNECTION_REFUSED, lambda p: p.through(port=free_port())),
    "hop auth failed": (
        Code.AUTH_FAILED,
        lambda p: p.through(identity_file=(str(p.inner.identity),)),
    ),
    "hop key unknown": (
        Code.HOST_KEY_UNKNOWN,
        lambda p: p.through(user_known_hosts_file=("/nonexistent",)),
    ),
    "hop target refused": (
        Code.CONNECTION_REFUSED,
        lambda p: p.inner.host(port=free_port(), proxy_jump=(p.hop.host(name="hop"),)),
    ),
    "hop target prohibited": (
        Code.FORWARD_DENIED,
        lambda p: p.hop.host(proxy_jump=(p.inner.host(name="only forwards nothing"),)),
    ),
    "command exits 1": (Code.HANDSHAKE_FAILED, lambda p: p.run("sh", "-c", "exit 1")),
    "command not found": (Code.CONFIG_INVALID, lambda p: p.run("/nonexistent/program")),
    "command hangs": (Code.TIMED_OUT, lambda p: p.run("sleep", "100")),
    "proxy not there": (
        Code.CONNECTION_REFUSED,
        lambda p: p.inner.host(proxy=Proxy(SOCKS5, "127.0.0.1", free_port())),
    ),
    "socks refuses": (Code.FORWARD_DENIED, lambda p: p.proxied(SOCKS5, "socks: no")),
    "socks garbage": (Code.HANDSHAKE_FAILED, lambda p: p.proxied(SOCKS5, "garbage")),
    "socks auth needed": (Code.AUTH_FAILED, lambda p: p.proxied(SOCKS5, "socks: who?")),
    "http refuses": (Code.FORWARD_DENIED, lambda p: p.proxied(HTTP, "http: no")),
    "http garbage": (Code.HANDSHAKE_FAILED, lambda p: p.proxied(HTTP, "garbage")),
    "http auth needed": (Code.AUTH_FAILED, lambda p: p.proxied(HTTP, "http: who?")),
    "http and then nothing": (
        Code.HANDSHAKE_FAILED,
        lambda p: p.proxied(HTTP, "and then nothing"),
    ),
}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_command, "PATIENCE", SOON)


@pytest.fixture(scope="module", autouse=True)
def inner_forwards_nothing(place: Place) -> None:
    place.inner.reconfigure("AllowTcpForwarding no")


@contextmanager
def nothing_more() -> Iterator[Callable[[], list[str]]]:
    """What is held beyond what was held at the beginning."""
    before = holdings()
    yield lambda: holdings().beyond(before)


async def all_gone(left: Callable[[], list[str]]) -> None:
    """Wait until nothing is held beyond what was held at the beginning."""
    try:
        await eventually_async(lambda: not left(), "nothing is left")
    except AssertionError:
        raise AssertionError(f"left behind: {left()}") from None


async def often(attempt: Callable[[], object]) -> None:
    """Make all the tries, a few at a time."""
    for _ in range(TRIES // AT_ONCE):
        await asyncio.gather(*(attempt() for _ in range(AT_ONCE)))  # type: ignore[call-overload]  # each returns an awaitable


@pytest.mark.parametrize("name", FAILURES)
async def test_a_failure_leaves_nothing(place: Place, name: str) -> None:
    code, make = FAILURES[name]
    async with reach() as r:
        await r.fails(code, make(place))  # what is made once for all exists from here on
        with nothing_more() as left:
            await often(lambda: r.fails(code, make(place)))
            await all_gone(left)


WAITS: dict[str, Callable[[Place], Host]] = {
    "a hop": lambda p: p.through(),
    "a program": lambda p: p.run("sleep", "100"),
    "a program that connects": lambda p: p.run("socat", "STDIO", "TCP:%h:%p"),
    "a SOCKS proxy": lambda p: p.proxied(SOCKS5, "silence"),
    "an HTTP proxy": lambda p: p.proxied(HTTP, "silence"),
}


@pytest.mark.parametrize("name", WAITS)
async def test_cancelled_anywhere_leaves_nothing(place: Place, name: str) -> None:
    """Each try is cancelled a little later than the one before."""
    if name == "a program that connects":
        require("socat")
    delays = iter(number * _LONGEST / TRIES for number in range(TRIES))

    async def given_up(r: Reach) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(next(delays)):
                link = await r.link(WAITS[name](place))
            link.close()
            await link.wait_thread()

    async with reach() as r:
        with nothing_more() as left:
            await often(lambda: given_up(r))
            await all_gone(left)
