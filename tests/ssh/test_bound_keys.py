"""Keys in an agent that may be used for some hosts alone (`ssh-add -h`), beside ssh."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ssh.clients import fails, logged_in
from tests.ssh.reach import reach, servers
from tests.support.agent import RunningAgent
from tests.support.certificates import Authority
from tests.support.sshd import OpenSSHServer
from tunnelctl.errors import Code
from tunnelctl.spec.host import Host

pytestmark = pytest.mark.usefixtures("own_world")


@pytest.fixture
def two(no_leaks: None, tmp_path: Path) -> Iterator[tuple[OpenSSHServer, OpenSSHServer]]:
    """A gateway and what is behind it; both take the key of the gateway's user."""
    with servers(tmp_path, "gateway", "inner") as (gateway, inner):
        inner.authorized_keys.write_text(gateway.authorized_keys.read_text())
        yield gateway, inner


class Bound:
    """The gateway's key in an agent, bound to hosts by the names `gateway` and `inner`."""

    def __init__(
        self,
        agent: RunningAgent,
        gateway: OpenSSHServer,
        inner: OpenSSHServer,
        *hosts: str,
        authority: str = "",
    ) -> None:
        names = gateway.directory / "names"
        names.write_text(
            f"gateway {gateway.host_keys[0]}\ninner {inner.host_keys[0]}\n"
            + (f"@cert-authority gateway {authority}\n" if authority else "")
        )
        options = [word for host in hosts for word in ("-h", host)]
        agent.add(gateway.identity, "-H", str(names), *options)
        self._gateway, self._inner, self._agent = gateway, inner, agent.path

    def host(self, server: OpenSSHServer, agent: Path | None = None, *hops: Host) -> Host:
        return server.host(
            name="inner" if server is self._inner else "gateway",
            identity_file=(),
            identities_only=False,
            identity_agent=str(agent or self._agent),
            proxy_jump=hops,
        )

    def chain(self) -> Host:
        """The inner server through the gateway, each with this key alone."""
        return self.host(self._inner, None, self.host(self._gateway))

    def ssh(self, name: str, *arguments: str, agent: Path | None = None) -> int:
        """What ssh exits with that logs in to `gateway` or `inner` and runs `true` there."""
        config = self._gateway.directory / "ssh_config"
        config.write_text(
            "".join(
                f"Host {each}\n  Hostname {server.address}\n  Port {server.port}\n"
                f"  UserKnownHostsFile {server.known_hosts}\n"
                for each, server in (("gateway", self._gateway), ("inner", self._inner))
            )
            + f"Host *\n  User {self._gateway.user}\n  BatchMode yes\n"
            f"  IdentityAgent {agent or self._agent}\n  IdentityFile none\n"
        )
        return subprocess.run(
            ["ssh", "-F", str(config), *arguments, name, "true"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=30,
            check=False,
        ).returncode


def test_a_key_that_is_bound_to_the_host(
    agent: RunningAgent, two: tuple[OpenSSHServer, OpenSSHServer]
) -> None:
    bound = Bound(agent, *two, "gateway")
    assert bound.ssh("gateway") == 0
    with logged_in(bound.host(two[0])) as transport:
        assert transport.is_authenticated()


def test_a_key_that_is_bound_to_another_host_is_no_key_here(
    agent: RunningAgent, two: tuple[OpenSSHServer, OpenSSHServer]
) -> None:
    bound = Bound(agent, *two, "gateway")
    assert bound.ssh("inner") == 255
    assert "no key to try" in fails(Code.AUTH_FAILED, bound.host(two[1])).message


async def test_a_key_that_is_bound_to_every_hop(
    agent: RunningAgent, two: tuple[OpenSSHServer, OpenSSHServer]
) -> None:
    """Each hop is logged in to from here: the agent is forwarded to none of them."""
    bound = Bound(agent, *two, "gateway", "inner")
    assert bound.ssh("inner", "-J", "gateway") == 0
    async with reach() as r:
        link = await r.link(bound.chain())
        assert not link.closed.done()


async def test_a_key_that_is_bound_to_the_hop_alone_stops_there(
    agent: RunningAgent, two: tuple[OpenSSHServer, OpenSSHServer]
) -> None:
    bound = Bound(agent, *two, "gateway")
    assert bound.ssh("inner", "-J", "gateway") == 255
    async with reach() as r:
        failure = await r.fails(Code.AUTH_FAILED, bound.chain())
        assert not failure.message.startswith("hop ")


def test_a_host_that_shows_a_certificate(
    agent: RunningAgent, two: tuple[OpenSSHServer, OpenSSHServer], tmp_path: Path
) -> None:
    gateway, inner = two
    authority = Authority(tmp_path / "authority")
    certificate = authority.sign(
        gateway.directory / "host_ed25519", principals=f"{gateway.address},gateway"
    )
    gateway.reconfigure(f"HostCertificate {certificate}")
    gateway.known_hosts.write_text(f"@cert-authority * {authority.line}\n")
    bound = Bound(agent, gateway, inner, "gateway", authority=authority.line)
    assert bound.ssh("gateway") == 0
    with logged_in(bound.host(gateway)) as transport:
        assert transport.is_authenticated()


def test_an_agent_that_was_forwarded_to_this_machine(
    agent: RunningAgent, two: tuple[OpenSSHServer, OpenSSHServer], tmp_path: Path
) -> None:
    """Its agent is bound twice, and wants the host key to be in what it signs."""
    bound = Bound(agent, *two, "gateway", "gateway>inner")
    with _forwarded(agent.path, two[0]) as path:
        assert bound.ssh("inner", agent=path) == 0
        with logged_in(bound.host(two[1], path)) as transport:
            assert transport.is_authenticated()


@contextmanager
def _forwarded(agent: Path, server: OpenSSHServer) -> Iterator[Path]:
    """The socket that `ssh -A` makes on the server, for as long as that runs."""
    config: Sequence[str] = (
        f"UserKnownHostsFile={server.known_hosts}",
        f"IdentityAgent={agent}",
        "IdentityFile=none",
        f"ForwardAgent={agent}",
    )
    command = ["ssh", "-F", "none", "-p", str(server.port)]
    command += [word for line in config for word in ("-o", line)]
    command += [f"{server.user}@{server.address}", "echo $SSH_AUTH_SOCK; cat"]
    ssh = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with ssh:
        assert ssh.stdin is not None
        assert ssh.stdout is not None
        try:
            yield Path(ssh.stdout.readline().strip())
        finally:
            ssh.stdin.close()
