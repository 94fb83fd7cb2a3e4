"""What only a person can answer, asked at real terminals and through real askpass programs."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.ssh.questioner import Questioner, Round, Rules
from tests.support.keys import write_key
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually
from tests.support.world import World, tunnel_text

PASSPHRASE = "correct horse battery staple"
CODE = "493817"
PROMPT = "dev/server: Enter passphrase for key"
CODE_PROMPT = "Verification code: "


@pytest.fixture
def locked(world: World, sshd: OpenSSHServer) -> OpenSSHServer:
    """A server that takes a key which needs a passphrase; the profile `dev` leads to it."""
    encrypt(sshd)
    world.tunnel(sshd, db='local: 0, to: "127.0.0.1:9"')
    return sshd


def encrypt(sshd: OpenSSHServer) -> None:
    sshd.authorized_keys.write_text(write_key(sshd.identity, passphrase=PASSPHRASE) + "\n")


def two_factors() -> Questioner:
    """A server that wants a code, and says a word to it."""
    asked = Round(((CODE_PROMPT, False),), (CODE,), instruction="Your phone knows it.")
    return Questioner(Rules(steps=("keyboard-interactive",), rounds=(asked,)))


def profile_for(world: World, server: Questioner, **more: str) -> None:
    """The profile `dev`, whose host `server` is that server."""
    host = server.host()
    words = {
        "hostname": host.hostname,
        "port": str(host.port),
        "user": str(host.user),
        "identity_agent": "none",
        "host_key": f'"{host.host_key[0]}"',
        **more,
    }
    text = "{" + ", ".join(f"{key}: {value}" for key, value in words.items()) + "}"
    world.profile("dev", tunnel_text(text, db='local: 0, to: "127.0.0.1:9"'))


def program(path: Path, script: str) -> str:
    """An executable shell script."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def log(world: World) -> str:
    """All that the daemon has logged."""
    return next(world.state.rglob("*.log")).read_text()


def last_error(world: World) -> dict[str, Any]:
    """Why the host of `dev` is not up."""
    error: dict[str, Any] = world.host("dev")["last_error"]
    return error


def test_without_anybody_there_it_says_what_it_needs_and_how(
    world: World, locked: OpenSSHServer
) -> None:
    done = world.run("up", "dev", "-d")
    assert done.returncode == 77
    assert "dev/server" in done.stderr
    assert "Enter passphrase for key" in done.stderr
    assert "tunnelctl answer dev/server" in done.stderr
    assert world.host("dev")["state"] == "needs-input"
    assert last_error(world)["code"] == "needs-input"
    assert last_error(world)["hint"] == "tunnelctl answer dev/server"
    shown = world.run("ps")
    assert shown.returncode == 1
    assert "tunnelctl answer dev/server" in shown.stderr
    attempts = locked.log.count("Connection from")
    answered = world.run("answer", "dev/server")
    assert answered.returncode == 77
    assert "there is no terminal here" in answered.stderr
    assert locked.log.count("Connection from") == attempts  # it does not try by itself


def test_an_attached_up_asks_at_its_terminal(world: World, locked: OpenSSHServer) -> None:
    with world.terminal("up", "dev") as terminal:
        terminal.expect(PROMPT)
        assert not terminal.echoes
        terminal.type(PASSPHRASE + "\n")
        terminal.expect("Forwarding from")
        terminal.expect("Ready")
        assert terminal.echoes
        assert PASSPHRASE not in terminal.shown
        assert world.host("dev")["state"] == "up"
        # What is not remembered is asked for anew.
        world.ok("restart", "dev")
        terminal.answer(PROMPT, PASSPHRASE)
        eventually(lambda: world.host("dev")["state"] == "up", "the host is up again")
        terminal.type("\x03")
        assert terminal.wait() == 130


def test_a_passphrase_that_is_ended_with_tab_serves_reconnects(
    world: World, locked: OpenSSHServer
) -> None:
    with world.terminal("up", "dev", "-d") as terminal:
        terminal.expect("end it with Tab, not Enter, and it is kept in the daemon's memory")
        terminal.expect(PROMPT)
        terminal.type(PASSPHRASE + "\t")
        terminal.expect("kept in the daemon's memory until it exits, and never written")
        assert terminal.wait() == 0
        assert PASSPHRASE not in terminal.shown
    locked.kill_sessions()
    eventually(lambda: world.host("dev")["reconnects"] == 1, "it is up again")
    assert PASSPHRASE not in log(world)


def test_answer_remembers_where_it_is_told_to(
    world: World, locked: OpenSSHServer, tmp_path: Path
) -> None:
    """As with an askpass program, which has no Tab."""
    world.run("up", "dev", "-d")
    asks = program(tmp_path / "asks", f"echo '{PASSPHRASE}'")
    environ = {"SSH_ASKPASS": asks, "SSH_ASKPASS_REQUIRE": "force"}
    done = world.run("answer", "dev/server", "--remember", environ=environ)
    assert done.returncode == 0, done.stderr
    locked.kill_sessions()
    eventually(lambda: world.host("dev")["reconnects"] == 1, "it is up again")


def test_up_in_the_background_asks_while_it_waits(world: World, locked: OpenSSHServer) -> None:
    with world.terminal("up", "dev", "-d") as terminal:
        terminal.answer(PROMPT, "wrong")
        terminal.answer(PROMPT, PASSPHRASE)
        assert terminal.wait() == 0
    assert world.host("dev")["state"] == "up"
    world.run("restart", "dev")
    eventually(lambda: world.host("dev")["state"] == "needs-input", "nobody is asked any more")


def test_three_wrong_answers_end_it(world: World, locked: OpenSSHServer) -> None:
    with world.terminal("up", "dev", "-d") as terminal:
        for number in range(3):
            terminal.answer(PROMPT, f"wrong {number}")
        assert terminal.wait() == 77
    assert world.host("dev")["state"] == "failed"


@pytest.mark.parametrize(
    "arguments", [("up", "dev"), ("up", "dev", "-d"), ("answer", "dev/server")]
)
def test_ctrl_c_at_the_prompt_leaves_the_terminal_as_it_was(
    world: World, locked: OpenSSHServer, arguments: tuple[str, ...]
) -> None:
    if arguments[0] == "answer":
        world.run("up", "dev", "-d")
    with world.terminal(*arguments) as terminal:
        terminal.expect(PROMPT)
        terminal.type("\x03")
        assert terminal.wait() == 130
        assert terminal.echoes
        assert "Traceback" not in terminal.shown
    if arguments != ("up", "dev"):
        eventually(lambda: world.host("dev")["state"] == "needs-input", "nobody answers")


def test_the_end_of_input_is_no_answer(world: World, locked: OpenSSHServer) -> None:
    with world.terminal("up", "dev", "-d") as terminal:
        terminal.expect(PROMPT)
        terminal.type("\x04")
        assert terminal.wait() == 77
        assert "tunnelctl answer dev/server" in terminal.shown
    assert world.host("dev")["state"] == "needs-input"


def test_answer_from_another_shell(world: World, locked: OpenSSHServer) -> None:
    world.run("up", "dev", "-d")
    with world.terminal("answer", "dev/server") as terminal:
        terminal.answer(PROMPT, PASSPHRASE)
        assert terminal.wait() == 0
        assert "dev/server is up" in terminal.shown
    assert world.host("dev")["state"] == "up"
    assert "has no question" in world.run("answer", "dev/server").stderr


def test_answer_while_a_fallback_serves(
    world: World, locked: OpenSSHServer, tmp_path: Path
) -> None:
    spare = OpenSSHServer(tmp_path / "spare")
    spare.start()
    try:
        world.profile(
            "dev",
            f"version: 1\nhosts:\n  server: {locked.host_yaml(fallback='[spare]')}\n"
            f"  spare: {spare.host_yaml()}\n"
            'forwards: {db: {local: 0, to: "127.0.0.1:9", via: server}}\n',
        )
        world.ok("up", "dev", "-d")
        assert world.host("dev")["fallback"] == "spare"
        assert last_error(world)["code"] == "needs-input"
        with world.terminal("answer", "dev/server") as terminal:
            for number in range(3):
                terminal.answer(PROMPT, f"wrong {number}")
            assert terminal.wait() == 77
        assert world.host("dev")["fallback"] == "spare"
        # `up` tries it again, too; what a wrong answer was given to is not asked by itself.
        with world.terminal("up", "dev") as terminal:
            terminal.answer(PROMPT, PASSPHRASE)
            eventually(lambda: world.host("dev")["fallback"] is None, "it has taken over")
            terminal.type("\x03")
            terminal.wait()
    finally:
        spare.stop()


def test_what_somebody_else_answered_is_not_asked_any_more(
    world: World, locked: OpenSSHServer
) -> None:
    with world.terminal("up", "dev") as first, world.terminal("up", "dev", "-d") as second:
        first.expect(PROMPT)
        second.answer(PROMPT, PASSPHRASE)
        assert second.wait() == 0
        first.expect("question was withdrawn")
        first.expect("Ready")
        assert first.echoes


def test_answer_names_what_there_is(world: World, locked: OpenSSHServer) -> None:
    assert world.run("answer", "dev/server").returncode == 3
    world.run("up", "dev", "-d")
    assert world.run("answer", "nobody/server").returncode == 66
    other = world.run("answer", "dev/other")
    assert other.returncode == 66
    assert "it has server" in other.stderr
    assert world.run("answer", "dev").returncode == 2


def test_remember_serves_reconnects(world: World, sshd: OpenSSHServer) -> None:
    encrypt(sshd)
    host = sshd.host_yaml(remember="true")
    world.profile("dev", tunnel_text(host, db='local: 0, to: "127.0.0.1:9"'))
    with world.terminal("up", "dev", "-d") as terminal:
        terminal.answer(PROMPT, PASSPHRASE)
        assert terminal.wait() == 0
    sshd.kill_sessions()
    eventually(lambda: sshd.log.count("Accepted publickey") == 2, "it is back by itself")
    eventually(lambda: world.host("dev")["state"] == "up", "the host is up again")


def test_a_code_is_asked_for_at_every_login(world: World) -> None:
    with two_factors() as server:
        profile_for(world, server, remember="true")
        with world.terminal("up", "dev") as terminal:
            terminal.expect("Your phone knows it.")
            terminal.answer(CODE_PROMPT, CODE)
            terminal.expect("Ready")
            world.ok("restart", "dev")
            terminal.answer(CODE_PROMPT, "000000")
            terminal.answer(CODE_PROMPT, CODE)
            eventually(lambda: world.host("dev")["state"] == "up", "the host is up again")
            os.kill(terminal.process.pid, signal.SIGKILL)
        eventually(lambda: world.status()["profiles"][0]["wanted"] != "up", "it is down")
        world.close()
        assert server.rules.answered == [[CODE], ["000000"], [CODE]]


def test_a_reconnect_that_needs_a_code_is_told_and_not_repeated(world: World) -> None:
    with two_factors() as server:
        profile_for(world, server, reconnect="{min: 50ms, max: 100ms}")
        with world.terminal("up", "dev", "-d") as terminal:
            terminal.answer(CODE_PROMPT, CODE)
            assert terminal.wait() == 0
        world.ok("restart", "dev")
        eventually(lambda: world.host("dev")["state"] == "needs-input", "it needs a code again")
        assert CODE_PROMPT.strip(": ") in last_error(world)["message"]
        world.close()
        assert log(world).count("host dev/server needs-input") == 1


def test_an_unknown_host_key_is_asked_about(world: World, sshd: OpenSSHServer) -> None:
    known, line = sshd.known_hosts, sshd.known_hosts.read_text()
    known.unlink()
    world.tunnel(sshd, db='local: 0, to: "127.0.0.1:9"')
    done = world.run("up", "dev", "-d")
    assert done.returncode == 77
    assert "tunnelctl trust" in done.stderr
    assert world.host("dev")["state"] == "failed"
    with world.terminal("up", "dev", "-d") as terminal:
        terminal.expect("dev/server: ")
        assert "SHA256:" in terminal.expect("(yes/no/fingerprint)")
        assert terminal.echoes
        terminal.type("maybe\n")
        terminal.answer("Please type 'yes', 'no' or the fingerprint: ", "no")
        assert terminal.wait() == 77
    assert not known.exists()
    with world.terminal("up", "dev", "-d") as terminal:
        terminal.answer("(yes/no/fingerprint)", "y")
        assert terminal.wait() == 0
    assert known.read_text() == line


def test_a_fingerprint_typed_is_as_good_as_yes_if_it_is_the_one(
    world: World, sshd: OpenSSHServer
) -> None:
    sshd.known_hosts.unlink()
    world.tunnel(sshd, db='local: 0, to: "127.0.0.1:9"')
    with world.terminal("up", "dev", "-d") as terminal:
        terminal.answer("(yes/no/fingerprint)", "SHA256:" + "A" * 43)
        assert terminal.wait() == 77
    with world.terminal("up", "dev", "-d") as terminal:
        shown = terminal.expect("(yes/no/fingerprint)")
        fingerprint = next(word for word in shown.split() if word.startswith("SHA256:"))
        terminal.type(fingerprint.rstrip(".,;") + "\n")
        assert terminal.wait() == 0


def test_askpass_answers_where_there_is_no_terminal(
    world: World, locked: OpenSSHServer, tmp_path: Path
) -> None:
    asked = tmp_path / "asked"
    script = program(tmp_path / "askpass", f'echo "$1" >> {asked}; echo {PASSPHRASE}')
    done = world.run("up", "dev", "-d", environ={"SSH_ASKPASS": script})
    assert done.returncode == 77  # no display
    environ = {"SSH_ASKPASS": script, "DISPLAY": ":0"}
    never = world.run("up", "dev", "-d", environ={**environ, "SSH_ASKPASS_REQUIRE": "never"})
    assert never.returncode == 77
    assert not asked.exists()
    done = world.run("up", "dev", "-d", environ=environ)
    assert done.returncode == 0, done.stderr
    assert asked.read_text().startswith(PROMPT)


@pytest.mark.parametrize(("required", "asks"), [("force", True), ("prefer", True), ("", False)])
def test_askpass_may_come_before_the_terminal(
    world: World, locked: OpenSSHServer, tmp_path: Path, required: str, asks: bool
) -> None:
    script = program(tmp_path / "askpass", f"echo {PASSPHRASE}")
    environ = {"SSH_ASKPASS": script, "SSH_ASKPASS_REQUIRE": required, "DISPLAY": ":0"}
    if required == "force":
        del environ["DISPLAY"]
    with world.terminal("up", "dev", "-d", environ=environ) as terminal:
        if not asks:
            terminal.answer(PROMPT, PASSPHRASE)
        assert terminal.wait() == 0
        assert (PROMPT in terminal.shown) is not asks


def test_an_askpass_that_says_no(world: World, locked: OpenSSHServer, tmp_path: Path) -> None:
    script = program(tmp_path / "askpass", f"echo {PASSPHRASE}; exit 1")
    environ = {"SSH_ASKPASS": script, "SSH_ASKPASS_REQUIRE": "force"}
    assert world.run("up", "dev", "-d", environ=environ).returncode == 77
    gone = {"SSH_ASKPASS": "/no/such/program", "SSH_ASKPASS_REQUIRE": "force"}
    done = world.run("answer", "dev/server", environ=gone)
    assert done.returncode == 77
    assert "/no/such/program cannot be started" in done.stderr


def test_run_asks_before_its_command_starts(world: World, locked: OpenSSHServer) -> None:
    with world.terminal("run", "dev", "--", "sh", "-c", "echo ran; exit 5") as terminal:
        terminal.answer(PROMPT, PASSPHRASE)
        terminal.expect("ran")
        assert terminal.wait() == 5


def test_a_password_beside_a_refused_key_is_missed_at_a_reconnect(world: World) -> None:
    """A server that once took a typed password needs it again: nothing about the key is new."""
    stranger = world.home / "stranger_key"
    write_key(stranger)
    with Questioner(Rules(steps=("publickey,password",), takes_keys=False)) as server:
        profile_for(world, server, identity_file=str(stranger))
        assert world.run("up", "dev", "-d").returncode == 77
        assert last_error(world)["code"] == "auth-failed"
        with world.terminal("up", "dev", "-d") as terminal:
            terminal.answer("'s password: ", server.rules.password)
            assert terminal.wait() == 0
        world.ok("restart", "dev")
        eventually(lambda: world.host("dev")["state"] == "needs-input", "it asks again")
        assert str(stranger) in last_error(world)["message"]
        assert last_error(world)["hint"] == "tunnelctl answer dev/server"
        with world.terminal("answer", "dev/server") as terminal:
            terminal.answer("'s password: ", server.rules.password)
            assert terminal.wait() == 0
        world.close()
