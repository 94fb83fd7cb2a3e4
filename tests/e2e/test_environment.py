"""What ssh would run finds here what it finds there: programs, variables, the shell, the agent.

Each way is asked of OpenSSH's client first, with the same ssh_config in the same environment.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.agent import RunningAgent
from tests.support.ports import free_port
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually
from tests.support.world import World

pytestmark = pytest.mark.skipif(shutil.which("socat") is None, reason="socat is not installed")

DEV = "version: 1\nhosts: {far: {}}\nforwards: {f: {local: 0, to: 1, via: far}}\n"
SECRET = "squeamish-ossifrage"


class Session:
    """A login session of the user: a shell, a PATH with tools of theirs, and variables."""

    def __init__(self, world: World, sshd: OpenSSHServer) -> None:
        self.world = world
        self.sshd = sshd
        self.bin = world.home / "bin"
        self.bin.mkdir()
        self.calls = world.home / "calls"
        self.calls.touch()
        world.environ |= {
            "PATH": f"{self.bin}:{world.environ['PATH']}",
            "AWS_PROFILE": "prod",
            "SHELL": "/bin/bash",
        }

    def tool(self, name: str, script: str) -> None:
        """A program of the user's own; each run writes a line: its name, and $AWS_PROFILE."""
        path = self.bin / name
        path.write_text(f'#!/bin/sh\necho "{name} $AWS_PROFILE" >> {self.calls}\n{script}\n')
        path.chmod(0o700)

    def alias(self, *lines: str) -> None:
        """`ssh far` reaches the server, with these lines of ssh_config before the others."""
        self.world.alias("far", self.sshd)
        config = self.world.home / ".ssh" / "config"
        config.write_text(
            "\n".join(("Host far", *(f"  {line}" for line in lines), "")) + config.read_text()
        )

    def by_ssh(self) -> int:
        """`ssh far true` in this session; what it ran is forgotten."""
        config = str(self.world.home / ".ssh" / "config")
        command = ["ssh", "-F", config, "-o", "BatchMode=yes", "far", "true"]
        status = subprocess.run(command, env=self.world.environ, check=False).returncode
        assert self.runs
        self.calls.write_text("")
        return status

    @property
    def runs(self) -> list[str]:
        """What was run since the beginning, or since `by_ssh`."""
        return self.calls.read_text().splitlines()


@pytest.fixture
def session(world: World, sshd: OpenSSHServer) -> Session:
    return Session(world, sshd)


def test_a_proxy_command_of_the_users_own(session: Session) -> None:
    """A tool in ~/bin that reads $AWS_PROFILE, on a line that only bash understands."""
    session.tool("aws", f"exec socat STDIO TCP:127.0.0.1:{session.sshd.port}")
    session.alias("ProxyCommand aws ssm start-session 2> >(cat >/dev/null)")
    assert session.by_ssh() == 0
    session.world.profile("dev", DEV)
    session.world.ok("up", "dev", "-d")
    assert session.runs == ["aws prod"]


def test_the_same_typed_at_the_command_line(session: Session) -> None:
    session.tool("aws", f"exec socat STDIO TCP:127.0.0.1:{session.sshd.port}")
    session.alias("ProxyCommand aws ssm start-session")
    session.world.ok("up", "-d", "-L", f"{free_port()}:127.0.0.1:1", "far")
    assert session.runs == ["aws prod"]


def test_a_match_exec_is_decided_alike_everywhere(session: Session) -> None:
    """By config in this process, and by the daemon; a relative program is found where we stand."""
    session.tool("on-vpn", 'test "$AWS_PROFILE" = prod')
    here = session.world.home / "relative"
    here.write_text(f"#!/bin/sh\necho relative >> {session.calls}\n")
    here.chmod(0o700)
    port = session.sshd.port
    session.world.alias("far", session.sshd)
    config = session.world.home / ".ssh" / "config"
    text = config.read_text().replace(f"  Port {port}\n", "")
    config.write_text(
        f'Match host far exec "on-vpn" exec "./relative"\n  Port {port}\nHost far\n  Port 1\n{text}'
    )
    session.world.profile("dev", DEV)
    assert f"port: {port}" in session.world.ok("config", "dev")
    session.world.ok("up", "dev", "-d")
    assert session.world.host("dev", "far")["address"] == f"127.0.0.1:{port}"
    session.world.environ["AWS_PROFILE"] = "other"
    assert "port: 1\n" in session.world.ok("config", "dev")
    session.world.ok("reload", "dev")
    eventually(lambda: "by 127.0.0.1:1'" in str(session.world.host("dev", "far")), "it moved")


def test_keys_of_a_program_and_a_secret_of_a_program(session: Session) -> None:
    known = session.sshd.known_hosts.read_text().splitlines()[0].split()
    session.tool("keys-of", f"echo '*' {known[1]} {known[2]}")
    session.tool("vault", "echo wrong")
    session.alias("UserKnownHostsFile /dev/null", f"KnownHostsCommand {session.bin}/keys-of %H")
    assert session.by_ssh() == 0
    session.world.profile("dev", DEV.replace("far: {}", "far: {password: {command: [vault]}}"))
    session.world.ok("up", "dev", "-d")
    assert set(session.runs) == {"keys-of prod"}
    assert "is available" in session.world.run("doctor", "dev").stdout  # the secret, by this PATH
    assert "vault prod" in session.runs


def test_another_environment_alone_restarts_nothing(session: Session) -> None:
    """What is started later is in it."""
    session.tool("aws", f"exec socat STDIO TCP:127.0.0.1:{session.sshd.port}")
    session.alias("ProxyCommand aws", "IdentityAgent $MY_AGENT")
    world = session.world
    world.profile("dev", DEV)
    world.ok("up", "dev", "-d")
    since = world.host("dev", "far")["since"]
    for variables in ({"SHELL": "/bin/sh", "AWS_PROFILE": "second"}, {"MY_AGENT": "/elsewhere"}):
        world.environ |= variables
        world.ok("up", "dev", "-d")
    assert session.runs == ["aws prod"]
    assert world.host("dev", "far")["since"] == since
    world.environ["AWS_PROFILE"] = "third"
    world.ok("restart", "dev")
    eventually(lambda: session.runs == ["aws prod", "aws third"], "the third is used")
    world.environ["AWS_PROFILE"] = "fourth"
    world.ok("reload", "dev")
    assert session.runs == ["aws prod", "aws third"]
    session.sshd.kill()
    session.sshd.start()
    eventually(lambda: session.runs[-1] == "aws fourth", "the fourth is used")


def test_what_a_daemon_brings_back_by_itself_has_its_own(session: Session) -> None:
    session.tool("aws", f"exec socat STDIO TCP:127.0.0.1:{session.sshd.port}")
    session.alias(f"ProxyCommand {session.bin}/aws")
    world = session.world
    world.profile("dev", DEV)
    world.ok("up", "dev", "-d")
    world.kill_daemon()
    world.environ["AWS_PROFILE"] = "of-the-daemon"
    world.profile("other", "version: 1\nhosts: {h: {embedded: true}}\n")
    world.ok("up", "other", "-d")  # starts one
    eventually(lambda: session.runs == ["aws prod", "aws of-the-daemon"], "it is brought back")


@pytest.fixture
def agents(session: Session, tmp_path: Path) -> Iterator[tuple[RunningAgent, RunningAgent]]:
    """That of the session before, which has no key, and that of this one."""
    old, new = RunningAgent(tmp_path / "old"), RunningAgent(tmp_path / "new")
    new.add(Path(session.sshd.host().identity_file[0]))
    yield old, new
    old.stop()
    new.stop()


@pytest.mark.parametrize(
    "agent", ["{}", "{identity_agent: SSH_AUTH_SOCK}", "{identity_agent: '${SSH_AUTH_SOCK}'}",
              "{identity_agent: '$$SSH_AUTH_SOCK'}"]
)  # fmt: skip
def test_a_new_session_brings_its_agent_along(
    session: Session, agents: tuple[RunningAgent, RunningAgent], agent: str
) -> None:
    """The daemon is that of a session whose agent has no key, or has ended."""
    old, new = agents
    world = session.world
    host = session.sshd.host()
    (world.home / ".ssh").mkdir(mode=0o700)
    (world.home / ".ssh" / "known_hosts").write_text(session.sshd.known_hosts.read_text())
    world.profile(
        "dev",
        f"version: 1\ndefaults: {agent}\nhosts:\n  far: {{hostname: 127.0.0.1, port: {host.port}, "
        f"user: {host.user}}}\nforwards: {{f: {{local: 0, to: 1, via: far}}}}\n",
    )
    world.environ["SSH_AUTH_SOCK"] = str(old.path)
    assert world.run("up", "dev", "-d", "--wait-timeout", "2s").returncode != 0
    old.stop()
    world.environ["SSH_AUTH_SOCK"] = str(new.path)
    assert "the profile is wanted up, and is " in world.run("doctor", "dev").stdout
    world.ok("up", "dev", "-d")
    assert world.host("dev", "far")["state"] == "up"


def test_the_environment_is_nowhere_to_be_seen(session: Session) -> None:
    """Not in what is printed, not in what is written, and not in the answer to a wrong order."""
    session.tool("aws", "echo no >&2; exit 1")
    session.alias("ProxyCommand aws")
    world = session.world
    world.environ["A_TOKEN"] = SECRET
    world.profile("dev", DEV)
    world.run("up", "dev", "-d", "--wait-timeout", "1s")
    world.run("restart", "dev")
    shown = [
        world.run(*words)
        for words in (
            ("ps", "-a", "--json"), ("config", "dev", "--json"), ("logs",), ("doctor", "dev"),
            ("--debug", "up", "nobody"), ("check",),
        )
    ]  # fmt: skip
    assert not [done.args for done in shown if SECRET in done.stdout + done.stderr]
    for folder, _, names in os.walk(world.home):
        for name in names:
            path = Path(folder, name)
            assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


def test_an_environment_that_is_too_large_is_sent_without_its_largest_variables(
    session: Session,
) -> None:
    session.tool("aws", f"env | cut -c-20 > {session.calls}.env; "
                 f"exec socat STDIO TCP:127.0.0.1:{session.sshd.port}")  # fmt: skip
    session.alias("ProxyCommand aws")
    session.world.environ |= {f"LARGE_{n}": "\1" * 100_000 for n in range(3)}
    session.world.profile("dev", DEV.replace("far: {}", "far: {user: '${LARGE_0:+root}'}"))
    done = session.world.run("up", "dev", "-d")
    assert done.returncode == 0, done.stderr
    assert "larger than 1024 KiB" in done.stderr
    assert "do not get LARGE_1, LARGE_2" in done.stderr
    given = Path(f"{session.calls}.env").read_text()
    assert "LARGE_0=" in given
    assert "LARGE_1=" not in given


def test_bytes_that_are_no_text_come_through(session: Session) -> None:
    session.tool("aws", f"env -0 | grep -az ODD > {session.calls}.env; "
                 f"exec socat STDIO TCP:127.0.0.1:{session.sshd.port}")  # fmt: skip
    session.alias("ProxyCommand aws")
    session.world.environ["ODD"] = os.fsdecode(b"\xff\xfe line\n next")
    session.world.profile("dev", DEV)
    session.world.ok("up", "dev", "-d")
    assert Path(f"{session.calls}.env").read_bytes() == b"ODD=\xff\xfe line\n next\0"
