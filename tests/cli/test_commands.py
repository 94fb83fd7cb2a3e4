"""The commands as a user types them: output, exit codes, and one line for each error."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shlex
import signal
import socket
import subprocess
import sys

import pytest

from tests.support.profiles import EMBEDDED
from tests.support.services import connect
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually
from tests.support.world import World

GONE = """\
version: 1
hosts:
  gone: {hostname: 127.0.0.1, port: 1, user: me}
forwards:
  x: {local: 0, to: 9, via: gone}
"""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["ps"], 3),
        (["port", "dev/hello"], 3),
        (["restart"], 3),
        (["events"], 3),
        (["up", "unknown"], 66),
        (["up", "-f", "unknown.yaml"], 66),
        (["check", "unknown"], 66),
        (["check"], 66),
        (["nothing"], 2),
        (["completion"], 2),
        (["import", "borin"], 2),
        (["up", "--unknown"], 2),
        (["up", "dev", "--wait-timeout", "soon"], 2),
        (["up", "a", "b", "-f", "x.yaml"], 2),
        (["-f", "x.yaml", "ps"], 2),
        (["down", "dev", "--all"], 2),
        (["port"], 2),
        (["port", "dev"], 2),
        (["trust", "a:99999999"], 2),
        (["connections", "--close", ""], 2),
        (["requests", "dev/web", "--replay", ""], 2),
    ],
)
def test_an_error_is_one_line(world: World, arguments: list[str], code: int) -> None:
    done = world.run(*arguments)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("tunnelctl: ")
    assert not world.processes()


def test_the_usage_that_is_pointed_to_is_that_of_the_command(world: World) -> None:
    for arguments in (["expose", "1", "--via"], ["expose", "--vya", "x"], ["expose"]):
        assert "(tunnelctl expose --help shows the usage)" in world.run(*arguments).stderr
    assert "; choose from: bash, zsh, fish (" in world.run("completion").stderr
    assert "did you mean 'boring'?" in world.run("import", "borin").stderr


def test_nothing_up_is_nothing_to_take_down(world: World) -> None:
    for arguments in (["down"], ["down", "dev"], ["down", "--all"]):
        assert world.run(*arguments).returncode == 0
    assert not world.processes()


def test_up_ps_port_down(world: World) -> None:
    world.profile("default", EMBEDDED)
    said = world.ok("up", "-d")
    address = world.ok("port", "default/hello").strip()
    assert said == f"Forwarding from {address} -> hello:80 (default/hello, via demo)\n"
    header, row = world.ok("ps").splitlines()
    assert header.split() == [
        "NAME",
        "TYPE",
        "LISTEN",
        "TARGET",
        "VIA",
        "STATUS",
        "CONNS",
        "IN/OUT",
        "AGE",
    ]
    assert row.split()[:6] == ["default/hello", "local", address, "hello:80", "demo", "up"]
    assert world.ok("status").splitlines()[0].split() == header.split()
    assert world.run("port", "default/nothing").returncode == 66
    assert world.run("port", "nothing/hello").returncode == 66
    assert world.run("port", "default").returncode == 2
    world.ok("down")
    assert len(world.ok("ps").splitlines()) == 1
    assert "stopped" in world.ok("ps", "-a")
    assert json.loads(world.ok("ps", "--json"))["profiles"] == []
    assert world.run("port", "default/hello").returncode == 1
    assert "not up" in world.run("down", "default").stderr
    assert world.run("down", "unknown").returncode == 66
    for command in ("restart", "reload"):
        done = world.run(command, "default")
        assert done.returncode == 1
        assert "profile default is not up (tunnelctl up default -d)" in done.stderr
        assert world.run(command, "unknown").returncode == 66


def test_a_second_up_changes_nothing(world: World) -> None:
    world.profile("dev", EMBEDDED)
    first = world.ok("up", "dev", "-d")
    since = world.host("dev", "demo")["since"]
    assert world.ok("up", "dev", "-d") == first
    assert world.host("dev", "demo")["since"] == since


def test_all_mistakes_of_all_profiles_are_said_before_anything_starts(world: World) -> None:
    one = world.profile("one", "version: 1\nhosts: {demo: {prot: 22}}\nforwards: {x: {lokal: 1}}\n")
    two = world.profile("two", "version: 2\n")
    world.profile("good", EMBEDDED)
    for command in (["up", "good", "one", "two", "-d"], ["check"]):
        done = world.run(*command)
        assert done.returncode == 78
        assert f"{one}:2:16: hosts.demo.prot" in done.stderr
        assert f"{one}:3:" in done.stderr
        assert f"{two}:1:" in done.stderr
        assert "Traceback" not in done.stderr
    assert not world.processes()
    assert world.ok("check", "good").endswith("profile good is valid\n")


def test_files(world: World) -> None:
    used = world.profile("dev", EMBEDDED)
    hidden = world.home / ".tunnelctl" / "dev.yaml"
    hidden.parent.mkdir()
    hidden.write_text(EMBEDDED)
    listed = world.ok("ls").splitlines()
    assert f"dev  {used}" in listed
    assert f"dev  {hidden}  (hidden by {used})" in listed
    assert json.loads(world.ok("ls", "--json"))["profiles"] == [
        {"name": "dev", "file": str(used), "hidden_by": None},
        {"name": "dev", "file": str(hidden), "hidden_by": str(used)},
    ]
    assert f"log:      {world.state}/tunnelctl/daemon.log" in world.ok("paths").splitlines()
    assert json.loads(world.ok("paths", "--json"))["profiles"][0] == str(world.configs)
    assert world.ok("check", "-f", str(hidden)) == f"{hidden}: profile dev is valid\n"
    world.ok("up", "-d", "-f", str(hidden))
    assert world.status()["profiles"][0]["source"] == str(hidden)


def test_a_file_may_be_named_before_the_command_as_well(world: World) -> None:
    other = world.home / "other.yaml"
    other.write_text(GONE.replace("local: 0", "local: 62899"))
    for words, named in (
        (["check"], []),
        (["config"], []),
        (["export", "ssh"], ["other"]),
    ):
        after = world.ok(*words, *named, "-f", str(other))
        assert world.ok("-f", str(other), *words, *named) == after
    assert "for up, run, check, config, doctor and export" in " ".join(world.ok("--help").split())


def test_a_host_that_is_not_there_is_75_and_goes_on(world: World) -> None:
    world.profile("dev", GONE)
    for detach in (["-d"], []):
        done = world.run("up", "dev", "--wait-timeout", "2s", *detach)
        assert done.returncode == 75, done.stderr
        assert "connection refused" in done.stderr
        assert "tunnelctl down dev" in done.stderr.splitlines()[-1]
    (profile,) = world.status()["profiles"]
    assert (profile["wanted"], profile["state"]) == ("up", "starting")
    ps = world.run("ps")
    assert ps.returncode == 1
    assert "retry in" in ps.stdout or "connecting" in ps.stdout
    assert "connection refused" in ps.stderr


def test_an_attached_up_does_not_take_down_what_was_up_before(world: World) -> None:
    world.profile("dev", EMBEDDED)
    world.profile("other", EMBEDDED)
    world.ok("up", "dev", "-d")
    with world.start("up", "dev", "other") as attached:
        try:
            assert attached.stdout is not None
            assert [attached.stdout.readline()[:10] for _ in range(2)] == ["Forwarding"] * 2
            attached.send_signal(signal.SIGINT)
            attached.communicate(timeout=20)
        finally:
            attached.kill()
    assert attached.returncode == 130
    states = {profile["name"]: profile["state"] for profile in world.status()["profiles"]}
    assert states == {"dev": "up", "other": "stopped"}


def test_what_another_command_asked_for_outlives_an_attached_up(world: World) -> None:
    world.profile("dev", EMBEDDED)
    with world.start("up", "dev") as attached:
        try:
            assert attached.stdout is not None
            attached.stdout.readline()
            world.ok("up", "dev", "-d")
        finally:
            attached.kill()
            attached.communicate()
    assert world.status()["profiles"][0]["wanted"] == "up"


def test_an_attached_up_ends_when_its_profile_is_taken_down(world: World) -> None:
    world.profile("dev", EMBEDDED)
    with world.start("up", "dev") as attached:
        try:
            assert attached.stdout is not None
            attached.stdout.readline()
            world.ok("down", "dev")
            _, said = attached.communicate(timeout=20)
        finally:
            attached.kill()
    assert attached.returncode == 0
    assert "taken down" in said


def test_an_attached_up_says_that_the_daemon_died(world: World) -> None:
    world.profile("dev", EMBEDDED)
    with world.start("up", "dev") as attached:
        try:
            assert attached.stdout is not None
            attached.stdout.readline()
            os.kill(world.status()["daemon"]["pid"], signal.SIGKILL)
            _, said = attached.communicate(timeout=20)
        finally:
            attached.kill()
    assert attached.returncode == 1
    # It may be asked for its status at that moment.
    how = "(has stopped|went away before it answered)"
    line = f"tunnelctl: the daemon {how}; nothing is up any more"
    assert re.fullmatch(line, said.splitlines()[-1])


def test_a_second_interrupt_does_not_wait_for_connections(world: World) -> None:
    world.profile("dev", EMBEDDED)
    with world.start("up", "dev") as attached:
        try:
            assert attached.stdout is not None
            address = attached.stdout.readline().split()[2]
            with connect(int(address.rpartition(":")[2])) as client:
                eventually(
                    lambda: world.forward("dev", "hello")["connections"]["open"] == 1, "it is open"
                )
                attached.send_signal(signal.SIGINT)
                eventually(lambda: world.host("dev", "demo")["state"] == "stopping", "it drains")
                attached.send_signal(signal.SIGINT)
                attached.communicate(timeout=8)
                with pytest.raises(ConnectionResetError):
                    client.recv(1)
        finally:
            attached.kill()
    assert attached.returncode == 130


def test_events(world: World) -> None:
    world.profile("dev", EMBEDDED)
    world.ok("up", "dev", "-d")
    with world.start("events", "--json") as events, world.start("events") as told:
        try:
            assert events.stdout is not None
            assert told.stdout is not None
            outputs = [events.stdout, told.stdout]

            def restarted_and_told() -> bool:
                world.ok("restart", "dev")
                return len(select.select(outputs, [], [], 0)[0]) == len(outputs)

            eventually(restarted_and_told, "both are told")
            event = json.loads(events.stdout.readline())
            assert event["profile"] == "dev"
            assert " dev" in told.stdout.readline()
        finally:
            for command in (events, told):
                command.kill()
                command.communicate()


def test_a_program_that_is_no_daemon_is_told_apart(world: World) -> None:
    runtime = world.home / "run" / "tunnelctl"
    runtime.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(runtime / "control.sock"))
        other.listen()
        with world.start("ps") as command:
            try:
                connection, _ = other.accept()
                with connection:
                    connection.recv(1000)
                    connection.sendall(b"220 hello\r\n\r\n")
                _, said = command.communicate(timeout=20)
            finally:
                command.kill()
    assert command.returncode == 1
    assert said.startswith("tunnelctl: ")
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("environ", "coloured"),
    [
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ({}, False),
    ],
)
def test_colour_where_it_is_wanted(world: World, environ: dict[str, str], coloured: bool) -> None:
    world.profile("dev", EMBEDDED)
    world.ok("up", "dev", "-d")
    shown = world.run("ps", environ=environ)
    assert ("\x1b[" in shown.stdout) is coloured


def test_demo_tells_the_story_and_leaves_nothing(world: World) -> None:
    scratch = world.home / "tmp"
    scratch.mkdir()
    world.environ["TMPDIR"] = str(scratch)
    told = world.ok("demo", "--megabytes", "2")
    assert told.count("SHA-256 matches") == 4
    assert told.count("Hello, World!") == 2
    assert "on the same local port" in told
    # With the path of the command where it is not in $PATH.
    command = rf"(tunnelctl|{re.escape(shlex.quote(sys.executable))} -m tunnelctl)"
    assert re.search(rf"Next: {command} init && {command} up\n$", told), told
    assert not world.processes()
    assert not any(scratch.iterdir())
    assert not any(world.state.iterdir())


def test_trust_records_a_key_only_when_it_is_the_right_one(
    world: World, sshd: OpenSSHServer
) -> None:
    target = f"127.0.0.1:{sshd.port}"
    known = world.home / ".ssh" / "known_hosts"
    shown = world.run("trust", target)
    assert shown.returncode == 77
    address, key_type, fingerprint = shown.stdout.split()
    assert (address, key_type) == (target, "ssh-ed25519")
    assert f"tunnelctl trust {target} --fingerprint {fingerprint}" in shown.stderr
    wrong = world.run("trust", target, "--fingerprint", "SHA256:" + "A" * 43)
    assert wrong.returncode == 77
    assert not known.exists()
    world.ok("trust", target, "--fingerprint", fingerprint)
    assert known.read_text().split()[:2] == [f"[127.0.0.1]:{sshd.port}", "ssh-ed25519"]
    before = known.read_text()
    assert "is already known" in world.run("trust", target).stderr
    assert known.read_text() == before


@pytest.mark.parametrize(
    ("answer", "code"),
    [("y", 0), ("Yes", 0), ("what?\nyes", 0), ("n", 77), ("no", 77), ("SHA256:" + "A" * 43, 77)],
)
def test_trust_asks_at_a_terminal(
    world: World, sshd: OpenSSHServer, answer: str, code: int
) -> None:
    terminal, end = pty.openpty()
    try:
        with subprocess.Popen(
            [sys.executable, "-m", "tunnelctl", "trust", f"127.0.0.1:{sshd.port}"],
            env=world.environ,
            cwd=world.home,
            stdin=end,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as command:
            os.write(terminal, f"{answer}\n".encode())
            command.communicate(timeout=30)
    finally:
        os.close(terminal)
        os.close(end)
    assert command.returncode == code
    assert (world.home / ".ssh" / "known_hosts").exists() is (code == 0)


def test_check_says_which_targets_are_not_probed(world: World) -> None:
    path = world.profile(
        "dev",
        EMBEDDED
        + "  db: {local: 0, to: 'db.internal:3306', via: demo}\n"
        + "  shell: {remote: 0, to: '22', via: demo}\n"
        + "  asked: {local: 0, to: 'db.internal:3306', via: demo, probe: tcp}\n"
        + "  socket: {local: 0, to: /run/mysqld/mysqld.sock, via: demo}\n",
    )
    done = world.run("check", "dev")
    assert done.returncode == 0
    assert done.stdout == f"{path}: profile dev is valid\n"
    first, second = done.stderr.splitlines()
    assert f"{path}: forwards.db: db.internal:3306 is not probed by default (MySQL bars" in first
    assert f"{path}: forwards.shell: 127.0.0.1:22 is not probed by default (SSH" in second
