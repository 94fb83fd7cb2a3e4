"""No secret is in anything that is printed, written down or shown by the system."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ssh.questioner import Questioner, Round, Rules
from tests.support.keys import write_key
from tests.support.login_sessions import LOCKED, LoginSessions
from tests.support.processes import command_line
from tests.support.proxies import HttpProxy
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually
from tests.support.world import World, tunnel_text

# One for each way in which a secret comes in.
FROM_ENV = "squeamish-ossifrage-1"
FROM_FILE = "correct-horse-2"
FROM_COMMAND = "battery-staple-3"
ANSWERED = "open-sesame-4"
CODE = "493817265"
SECRETS = (FROM_ENV, FROM_FILE, FROM_COMMAND, ANSWERED, CODE)


class Outputs:
    """All that anybody could read of a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.texts: dict[str, str] = {}
        self._events = world.start("events", "--json")

    def run(self, *arguments: str, code: int, **environ: str) -> None:
        """Run a command and keep what it says; it must end with that exit code."""
        done = self.world.run(*arguments, environ=environ)
        assert done.returncode == code, done.stderr
        self.texts[f"{len(self.texts)} {' '.join(arguments)}"] = done.stdout + done.stderr

    def collect(self) -> None:
        """Look everywhere: at the commands that show, the log, the processes, the files."""
        for line in (
            "ps -a --json",
            "ps -a",
            "logs",
            "config dev",
            "config dev --json",
            "check dev",
        ):
            done = self.world.run(*line.split(), environ={"A_SECRET": FROM_ENV})
            self.texts[line] = done.stdout + done.stderr
        for pid in self.world.processes():
            self.texts[f"argv of {pid}"] = str(command_line(pid))
        for path in (*self.world.state.rglob("*"), *(self.world.home / "run").rglob("*")):
            if path.is_file():
                self.texts[str(path)] = path.read_text(errors="replace")

    def close(self) -> None:
        self._events.terminate()
        self.texts["events"] = "".join(self._events.communicate(timeout=20))

    def assert_clean(self) -> None:
        """Nothing has a secret, and there was something to read."""
        assert '"profile": "dev"' in self.texts["events"]
        assert any("dev/server" in text for name, text in self.texts.items() if ".log" in name)
        for name, text in self.texts.items():
            for secret in SECRETS:
                assert secret not in text, f"{secret} in {name}: {text}"


@pytest.fixture
def outputs(world: World) -> Iterator[Outputs]:
    world.profile("idle", IDLE)
    world.ok("up", "idle", "-d")  # a daemon, for the events
    outputs = Outputs(world)
    yield outputs
    outputs.close()


IDLE = """\
version: 1
hosts: {demo: {embedded: true}}
forwards: {hello: {local: 0, to: "hello:80", via: demo}}
"""


def profile(world: World, host: dict[str, Any]) -> None:
    """The profile `dev` with one host, `server`. JSON is YAML."""
    rule = {"local": 0, "to": "127.0.0.1:9", "via": "server"}
    text = {"version": 1, "hosts": {"server": host}, "forwards": {"db": rule}}
    world.profile("dev", json.dumps(text))


def reached(server: Questioner) -> dict[str, Any]:
    """The words of a host that is that server."""
    host = server.host()
    return {
        "hostname": host.hostname,
        "port": host.port,
        "user": host.user,
        "identity_agent": "none",
        "host_key": list(host.host_key),
    }


def prints(secret: str, folder: Path) -> dict[str, Any]:
    """A reference to a secret that a command prints."""
    path = folder / "printed"
    path.write_text(secret)
    return {"command": [sys.executable, "-c", f"print(open({str(path)!r}).read())"]}


@pytest.mark.parametrize("right", [True, False])
def test_a_password_from_the_environment_through_a_proxy_with_one(
    outputs: Outputs, tmp_path: Path, right: bool
) -> None:
    with (
        Questioner(Rules(password=FROM_ENV if right else "another")) as server,
        HttpProxy(("me", FROM_COMMAND)) as proxy,
    ):
        way = {
            "url": f"http://127.0.0.1:{proxy.port}",
            "user": "me",
            "password": prints(FROM_COMMAND, tmp_path),
        }
        profile(outputs.world, {**reached(server), "password": {"env": "A_SECRET"}, "proxy": way})
        code = 0 if right else 77
        outputs.run("--debug", "up", "dev", "-d", code=code, A_SECRET=FROM_ENV)
        outputs.run("up", "dev", "-d", code=code, A_SECRET=FROM_ENV)
        outputs.collect()
        outputs.world.close()
        outputs.close()
        outputs.assert_clean()


@pytest.mark.parametrize("right", [True, False])
def test_a_passphrase_from_a_file(
    outputs: Outputs, sshd: OpenSSHServer, tmp_path: Path, right: bool
) -> None:
    secret = tmp_path / "passphrase"
    secret.write_text(FROM_FILE)
    secret.chmod(0o600)
    passphrase = FROM_FILE if right else "another"
    sshd.authorized_keys.write_text(write_key(sshd.identity, passphrase=passphrase) + "\n")
    host = {
        "hostname": "127.0.0.1",
        "port": sshd.port,
        "user": sshd.user,
        "identity_file": str(sshd.identity),
        "user_known_hosts_file": str(sshd.known_hosts),
        "passphrase": {"file": str(secret)},
    }
    profile(outputs.world, host)
    outputs.run("up", "dev", "-d", code=0 if right else 77)
    outputs.collect()
    outputs.world.close()
    outputs.close()
    outputs.assert_clean()


def test_a_keyring_of_the_session_that_asks(world: World, sshd: OpenSSHServer) -> None:
    """Not of that which the daemon was started from, where the user may not even be logged in."""
    sshd.authorized_keys.write_text(write_key(sshd.identity, passphrase=FROM_FILE) + "\n")
    sessions = LoginSessions(world.home, "ssh/me")
    text = sshd.host_yaml(passphrase="{keyring: ssh/me}")
    world.profile("dev", tunnel_text(text, socks="dynamic: 0"))
    first, second = sessions.variables(LOCKED), sessions.variables(FROM_FILE)
    done = world.run("up", "dev", "-d", environ=first)
    assert "the keyring refused: KeyringLocked" in done.stderr
    assert "run tunnelctl up in the login session that has it" in done.stderr
    daemon = world.daemon_pid()
    done = world.run("up", "dev", "-d", environ=second)
    assert (done.returncode, world.daemon_pid()) == (0, daemon), done.stderr
    assert "authentication  " in world.run("doctor", "dev", environ=second).stdout


def test_what_a_person_types(outputs: Outputs) -> None:
    rounds = (Round((("Password: ", False), ("Code: ", True)), (ANSWERED, CODE)),)
    with Questioner(Rules(steps=("keyboard-interactive",), rounds=rounds)) as server:
        profile(outputs.world, {**reached(server), "remember": True})
        with outputs.world.terminal("up", "dev") as terminal:
            terminal.answer("Password: ", ANSWERED)
            terminal.answer("Code: ", "000000")
            terminal.answer("Password: ", ANSWERED)
            terminal.expect("Code: ")
            outputs.collect()  # while it is asked
            terminal.type(CODE + "\n")
            terminal.expect("Ready")
            outputs.collect()
            # The code may be seen where it is typed, the password not even there.
            assert ANSWERED not in terminal.shown
        eventually(lambda: outputs.world.host("dev")["state"] == "stopped", "it is down")
        outputs.world.close()
        outputs.close()
        outputs.assert_clean()
        assert server.rules.answered == [[ANSWERED, "000000"], [ANSWERED, CODE]]
