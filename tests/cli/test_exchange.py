"""`import` writes what `init` would, `export` prints what ssh runs, and what is lost is said."""

from __future__ import annotations

import shlex
import shutil
import socket
import subprocess
import sys

import pytest

from tests.support.ports import free_port
from tests.support.services import EchoService
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually
from tests.support.world import World

COMMAND = "ssh -N -C -L 5432:db:5432 alice@bastion.example.com"


def test_a_command_becomes_a_profile(world: World) -> None:
    done = world.run("import", "ssh-command", COMMAND)
    assert done.returncode == 0
    assert done.stderr.startswith("tunnelctl: not converted: -C: nothing is compressed")
    assert done.stdout.startswith("# Not carried over:\n#   -C: nothing is compressed")
    assert list(world.configs.iterdir()) == []

    path = world.ok("import", "ssh-command", COMMAND, "-o", "db").strip()
    assert path == str(world.configs / "db.yaml")
    assert (world.configs / "tunnelctl.schema.json").exists()
    assert "is valid" in world.ok("check", "db")
    again = world.run("import", "ssh-command", COMMAND, "-o", "db")
    assert (again.returncode, "already exists" in again.stderr) == (2, True)
    world.ok("import", "ssh-command", COMMAND, "-o", "db", "--force")

    shown = world.ok("export", "ssh", "db")
    assert "-L localhost:5432:db:5432" in shown
    assert shown.endswith(" alice@bastion.example.com\n")
    back = subprocess.run(
        [sys.executable, "-m", "tunnelctl", "import", "ssh-command", "-"],
        input=shown,
        env=world.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "local: localhost:5432" in back.stdout


def test_what_a_host_of_ssh_config_forwards_is_imported_and_comes_up(
    world: World, sshd: OpenSSHServer
) -> None:
    world.alias("real", sshd)
    with (world.home / ".ssh" / "config").open("a") as config:
        config.write("  DynamicForward 0.0.0.0:1\n")
    (world.home / "other").write_text("Host x\n  RemoteForward 1081\n")
    refused = world.run("import", "ssh-config", "-F", "other")
    assert refused.returncode == 78
    assert refused.stderr.count("\n") == 2

    done = world.run("import", "ssh-config", "real", "-o", "real")
    assert done.returncode == 0
    assert "socks-1: also reachable from other machines" in done.stderr
    path = world.configs / "real.yaml"
    path.write_text(path.read_text().replace("0.0.0.0:1", "127.0.0.1:0"))
    assert "Forwarding" in world.ok("up", "real", "-d")
    world.ok("down", "real")


def test_boring_is_found_where_it_keeps_its_file(world: World) -> None:
    missing = world.run("import", "boring")
    assert (missing.returncode, ".boring.toml cannot be read" in missing.stderr) == (78, True)
    (world.home / ".boring.toml").write_text(
        "[[tunnels]]\nname = 'dev'\nlocal = 9000\nremote = 'localhost:9000'\nhost = 'h'\n"
    )
    assert "local: 127.0.0.1:9000" in world.ok("import", "boring")
    none = world.run("import", "boring", "-")
    assert (none.returncode, "found no forward" in none.stderr) == (78, True)


@pytest.mark.skipif(shutil.which("ssh") is None, reason="needs OpenSSH's client")
def test_ssh_forwards_what_was_exported(world: World, sshd: OpenSSHServer) -> None:
    here, there = free_port(), free_port()
    with EchoService() as echo:
        world.tunnel(
            sshd,
            local=f"local: {here}, to: {echo.port}",
            remote=f"remote: {there}, to: {echo.port}",
            sock=f"local: ./a.sock, to: {echo.port}",
        )
        command = shlex.split(world.ok("export", "ssh", "dev"))
        ssh = subprocess.Popen([*command[:1], "-F", "none", *command[1:]], stdin=subprocess.DEVNULL)
        try:
            eventually((world.configs / "a.sock").exists, "ssh listens")
            for port in (here, there):
                with _connection(port) as client:
                    client.sendall(b"hello")
                    assert client.recv(5) == b"hello"
        finally:
            ssh.terminate()
            ssh.wait(20)


def _connection(port: int) -> socket.socket:
    client = eventually(lambda: _connected(port), "ssh forwards")
    assert client is not None
    return client


def _connected(port: int) -> socket.socket | None:
    try:
        return socket.create_connection(("127.0.0.1", port), timeout=20)
    except ConnectionRefusedError:
        return None


@pytest.mark.skipif(shutil.which("ssh") is None, reason="needs OpenSSH's client")
def test_the_exported_block_is_one_that_ssh_takes(world: World) -> None:
    world.ok("import", "ssh-command", COMMAND, "-o", "db")
    (world.home / "block").write_text(world.ok("export", "ssh", "db", "--config"))
    done = subprocess.run(
        ["ssh", "-F", str(world.home / "block"), "-G", "bastion.example.com"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "localforward [localhost]:5432 [db]:5432" in done.stdout.splitlines()


def test_a_command_line_may_be_one_word_or_many(world: World) -> None:
    text = world.ok("import", "ssh-command", COMMAND)
    assert world.ok("import", "ssh-command", "--", *shlex.split(COMMAND)) == text


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (["ssh-command", "scp a b:"], 2, "it is no command line of ssh or autossh"),
        (["ssh-command", COMMAND, "-o", "No Name"], 2, "cannot be the name of a profile"),
        (["ssh-command", "ssh -R 1080 h", "--permit", "x"], 2, "--permit 'x' is not HOST:PORT"),
        (["ssh-command", "ssh -L 80:a:80 -J h h"], 78, "goes round for ever"),
    ],
)
def test_what_is_wrong_is_one_line(world: World, arguments: list[str], code: int, why: str) -> None:
    done = world.run("import", *arguments)
    assert (done.returncode, done.stdout, why in done.stderr) == (code, "", True), done.stderr
    assert "Traceback" not in done.stderr
