"""A holder ends the session that the last one left on a real sshd, and no other process."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.here import here
from tests.support.ports import free_port
from tests.support.processes import is_running
from tests.support.sshd import OpenSSHServer
from tests.support.tunnel import Tunnel, rule
from tests.support.waiting import eventually_async
from tunnelctl.errors import Code, Failure
from tunnelctl.net.reactor import Reactor
from tunnelctl.spec.forward import Probe, ProbeType, Side
from tunnelctl.spec.profile import Profile
from tunnelctl.ssh.link.link import Link
from tunnelctl.state.documents.fleet_status import FleetStatus, Role, Store
from tunnelctl.state.documents.snapshot import ProfileState
from tunnelctl.supervisor.forwards import eviction
from tunnelctl.supervisor.forwards.eviction import claimed
from tunnelctl.supervisor.supervisor import Supervisor

_NAME = "web+dev+server"


class Account:
    """An account on a server whose state is in a folder of the test. `record` is what the holder
    leaves there."""

    def __init__(self, server: OpenSSHServer, folder: Path, reactor: Reactor) -> None:
        self.server = server
        self.record = folder / "tunnelctl" / "fleet" / _NAME
        self._environ = f"SetEnv XDG_STATE_HOME={folder}"
        self._reactor = reactor
        self._tunnels: list[Tunnel] = []
        self.configure()

    def configure(self, *lines: str, environ: str = "") -> None:
        """Start its sshd anew with these lines, and more in the environment of its sessions."""
        self.server.reconfigure(f"{self._environ} {environ}", *lines)

    async def link(self) -> Link:
        """Another machine's link."""
        tunnel = Tunnel(self._reactor)
        self._tunnels.append(tunnel)
        return await tunnel.connect(self.server.host(runs_commands=True))

    async def close(self) -> None:
        """Close every link."""
        for tunnel in self._tunnels:
            await tunnel.close()


@pytest.fixture
async def account(sshd: OpenSSHServer, tmp_path: Path) -> AsyncIterator[Account]:
    reactor = Reactor(asyncio.get_running_loop())
    made = Account(sshd, tmp_path / "state", reactor)
    yield made
    await made.close()
    reactor.close()


def _process(account: Account) -> int:
    return int(account.record.read_text().split()[1])


async def test_a_higher_token_ends_the_session_of_a_lower_one(account: Account) -> None:
    first, second = await account.link(), await account.link()
    assert await claimed(first, _NAME, 7, "server") is None
    of_first = _process(account)
    assert await claimed(second, _NAME, 10, "server") == of_first
    await eventually_async(first.closed.done, "the first machine's link has ended")
    assert not is_running(of_first)
    assert not second.closed.done()
    assert account.record.read_text().startswith(f"10 {_process(account)} ")
    assert account.record.stat().st_mode & 0o77 == 0


@pytest.mark.parametrize("token", [7, 9])
async def test_no_other_token_ends_one(account: Account, token: int) -> None:
    first, second = await account.link(), await account.link()
    await claimed(first, _NAME, 9, "server")
    of_first = _process(account)
    assert await claimed(second, _NAME, token, "server") is None
    assert is_running(of_first)
    assert (_process(account) == of_first) is (token < 9)
    # A record of another name, as of another profile, is another's.
    assert await claimed(second, "web+other+server", 20, "server") is None
    assert is_running(of_first)


@contextlib.contextmanager
def _bystander() -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process.pid
        assert process.poll() is None
        process.kill()


def _started(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


async def test_what_is_not_that_session_is_left_alone(account: Account) -> None:
    first, second = await account.link(), await account.link()
    await claimed(first, _NAME, 3, "server")
    token, of_first, started, node = account.record.read_text().split()
    with _bystander() as pid:
        start = _started(pid)
        for record in (
            f"3 {pid} {start} {node}",  # no sshd
            f"3 {account.server.pid} {started} {node}",  # started at another time
            f"3 {of_first} {int(started) + 1} {node}",  # another process has its number now
            f"3 {of_first} {started} elsewhere",  # a home that machines share
            "3 -1 0 x",
            f"{token};touch x {of_first}",
            "",
        ):
            account.record.write_text(record + "\n")
            assert await claimed(second, _NAME, 4, "server") is None, record
    assert is_running(int(of_first))
    assert is_running(account.server.pid)
    assert not first.closed.done()


def _machine(reactor: Reactor, name: str, token: int) -> Supervisor:
    machine = Supervisor(reactor)
    status = FleetStatus("web", name, Role.HOLDER, name, token, Store.OK)
    machine.join_fleet(["dev"], lambda profile: status, evicts=True)
    return machine


async def test_the_successor_has_the_port_of_a_session_that_lives(account: Account) -> None:
    reactor = Reactor(asyncio.get_running_loop())
    forward = rule(Side.THERE, free_port(), 9, name="shared", probe=Probe(ProbeType.NONE))
    profile = Profile("dev", "dev.yaml", (account.server.host(),), (forward,))
    last, successor = _machine(reactor, "m1", 5), _machine(reactor, "m2", 6)

    def is_up(machine: Supervisor) -> bool:
        status = machine.status_of("dev")
        return status is not None and status.state is ProfileState.UP

    def has_lost(machine: Supervisor) -> bool:
        status = machine.status_of("dev")
        return status is not None and (not is_up(machine) or status.hosts[0].reconnects > 0)

    await last.up(profile, here())
    await eventually_async(lambda: is_up(last), "the last holder has the port")
    await eventually_async(account.record.exists, "its session is recorded")
    await successor.up(profile, here())
    await eventually_async(lambda: has_lost(last), "the session of the last holder is ended")
    # It lives, unlike a machine whose lease has ended, so it may have been quicker to log in again.
    await last.close(1.0)
    await eventually_async(lambda: is_up(successor), "the successor has the port")
    await successor.close(1.0)
    reactor.close()


async def test_two_at_once_leave_one_record(account: Account) -> None:
    links = [await account.link() for _ in range(4)]

    async def claim(token: int) -> None:
        with contextlib.suppress(Failure):  # its own session may be ended by a higher one
            await claimed(links[token - 1], _NAME, token, "server")

    await asyncio.gather(*(claim(token) for token in range(1, 5)))
    assert account.record.read_text().startswith("4 ")
    assert not links[3].closed.done()


async def test_without_flock_and_proc(
    account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("cat", "id", "mkdir", "mv", "ps", "rmdir", "sleep", "uname"):
        if (path := shutil.which(name)) is None:
            pytest.skip(f"{name} is not installed")
        (tools / name).symlink_to(path)
    account.configure(environ=f"PATH={tools}")
    monkeypatch.setattr(eviction, "_SCRIPT", eviction._SCRIPT.replace("/proc/", "/no/proc/"))
    first, second = await account.link(), await account.link()
    assert await claimed(first, _NAME, 1, "server") is None
    of_first = _process(account)
    assert await claimed(second, _NAME, 2, "server") == of_first
    assert not is_running(of_first)
    assert sorted(path.name for path in account.record.parent.iterdir()) == [_NAME]


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("ForceCommand echo hello from the menu", "hello from the menu"),
        ("ForceCommand exit", "printed nothing"),
        ("MaxSessions 0", "grants no session"),
    ],
)
async def test_an_account_that_runs_something_else(account: Account, line: str, word: str) -> None:
    account.configure(line)
    link = await account.link()
    with pytest.raises(Failure) as caught:
        await claimed(link, _NAME, 1, "server")
    assert caught.value.code is Code.PERMISSION_DENIED
    assert word in caught.value.message
    assert "forced command" in str(caught.value.hints[0])
    assert not account.record.exists()
    assert not link.closed.done()
