"""What cannot work says so: which code, which words, and nothing that runs is touched."""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
import socket
from pathlib import Path

import pytest

from tests.support.clients import ask, exchange
from tests.support.keys import write_key
from tests.support.ports import free_port
from tests.support.services import EchoService, connect
from tests.support.sshd import OpenSSHServer
from tests.support.steady import steady
from tests.support.waiting import eventually
from tests.support.world import World, tunnel_text


def fingerprint(key: str) -> str:
    """The SHA256 fingerprint of a public key in its written form, as ssh-keygen -l shows it."""
    digest = hashlib.sha256(base64.b64decode(key.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def local(port: int, target: int) -> str:
    """One local forward as a flow map."""
    return f'local: {port}, to: "127.0.0.1:{target}"'


def test_an_unknown_host_key_is_refused_with_the_command_that_would_accept_it(
    world: World, sshd: OpenSSHServer
) -> None:
    sshd.known_hosts.write_text("")
    world.tunnel(sshd, db=local(free_port(), 9))
    done = world.run("up", "dev", "-d")
    assert done.returncode == 77, done.stderr
    assert fingerprint(sshd.host_keys[0]) in done.stderr
    assert "tunnelctl trust" in done.stderr
    assert "Traceback" not in done.stderr
    assert world.host("dev")["last_error"]["code"] == "host-key-unknown"
    assert world.host("dev")["state"] == "failed"
    # Not one byte of authentication went out.
    assert "Accepted" not in sshd.log
    assert "Failed publickey" not in sshd.log
    # The command does what it says: with it, and nothing else, the next `up` works.
    command = re.search(r"tunnelctl (trust [^)]+)", done.stderr)
    assert command is not None
    world.ok(*shlex.split(command[1]))
    assert sshd.host_keys[0] in sshd.known_hosts.read_text()
    world.ok("up", "dev", "-d")


def test_the_command_in_the_hint_works_for_a_host_key_alias_too(
    world: World, sshd: OpenSSHServer
) -> None:
    text = tunnel_text(sshd.host_yaml(host_key_alias="farm"), db=local(free_port(), 9))
    world.profile("dev", text)
    command = re.search(r"tunnelctl (trust [^)]+)", world.run("up", "dev", "-d").stderr)
    assert command is not None
    world.ok(*shlex.split(command[1]))
    assert f"farm {sshd.host_keys[0]}" in sshd.known_hosts.read_text()
    world.ok("up", "dev", "-d")


def test_the_command_in_the_hint_writes_to_a_file_with_a_blank_in_its_name(
    world: World, sshd: OpenSSHServer
) -> None:
    """Of ssh_config, where `ssh -G` prints no quotes."""
    world.alias("prod", sshd)
    folder = world.home / "my hosts"
    folder.mkdir()
    config = world.home / ".ssh" / "config"
    said = config.read_text().replace(str(sshd.known_hosts), f'"{folder}/known"')
    config.write_text(said)
    world.profile("dev", "hosts: {prod: {}}\nforwards: {db: {local: 0, to: 9, via: prod}}\n")
    before = set(world.home.iterdir())
    command = re.search(r"tunnelctl (trust [^)]+)", world.run("up", "dev", "-d").stderr)
    assert command is not None
    world.ok(*shlex.split(command[1]))
    assert sshd.host_keys[0] in (folder / "known").read_text()
    assert [path.name for path in folder.iterdir()] == ["known"]
    assert set(world.home.iterdir()) == before
    world.ok("up", "dev", "-d")


def test_trust_records_nothing_that_has_another_fingerprint(
    world: World, sshd: OpenSSHServer
) -> None:
    address = f"127.0.0.1:{sshd.port}"
    for arguments in (["--fingerprint", fingerprint(write_key(world.home / "other"))], []):
        done = world.run("trust", address, *arguments)
        assert done.returncode == 77, done.stderr
        assert fingerprint(sshd.host_keys[0]) in done.stdout
    assert not (world.home / ".ssh" / "known_hosts").exists()


def test_a_changed_host_key_is_refused_with_both_fingerprints(
    world: World, sshd: OpenSSHServer
) -> None:
    before = fingerprint(sshd.host_keys[0])
    sshd.rotate_host_key()
    world.tunnel(sshd, db=local(free_port(), 9))
    done = world.run("up", "dev", "-d")
    assert done.returncode == 77, done.stderr
    assert fingerprint(sshd.host_keys[0]) in done.stderr
    assert before in done.stderr
    assert str(sshd.known_hosts) in done.stderr
    assert world.host("dev")["last_error"]["code"] == "host-key-changed"


def test_a_server_that_returns_with_another_key_is_not_talked_to_again(
    world: World, sshd: OpenSSHServer
) -> None:
    port = free_port()
    with EchoService() as echo:
        world.tunnel(sshd, db=local(port, echo.port) + ", while_down: {hold: 200ms}")
        world.ok("up", "dev", "-d")
        logins = sshd.log.count("Accepted publickey")
        sshd.rotate_host_key()
        eventually(lambda: world.host("dev")["state"] == "failed", "the host is given up")
        host = world.host("dev")
        assert host["last_error"]["code"] == "host-key-changed"
        assert host["next_retry_at"] is None
        assert sshd.log.count("Accepted publickey") == logins
        with pytest.raises(ConnectionError):
            ask(port, b"")


def test_a_wrong_key_says_which_key_was_tried(world: World, sshd: OpenSSHServer) -> None:
    stranger = world.home / "stranger_key"
    public = write_key(stranger)
    text = tunnel_text(sshd.host_yaml(identity_file=str(stranger)), db=local(free_port(), 9))
    world.profile("dev", text)
    done = world.run("up", "dev", "-d")
    assert done.returncode == 77, done.stderr
    assert str(stranger) in done.stderr or fingerprint(public) in done.stderr
    assert world.host("dev")["last_error"]["code"] == "auth-failed"
    assert world.host("dev")["state"] == "failed"


def test_a_wrong_key_is_final_though_the_server_takes_passwords_too(
    world: World, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    stranger = world.home / "stranger_key"
    public = write_key(stranger)
    server = OpenSSHServer(tmp_path / "asks", config=["PasswordAuthentication yes"])
    server.start()
    request.addfinalizer(server.stop)
    text = tunnel_text(server.host_yaml(identity_file=str(stranger)), db=local(free_port(), 9))
    world.profile("dev", text)
    for arguments in ([], ["-d"]):
        done = world.run("up", "dev", *arguments)
        assert done.returncode == 77, done.stderr
        assert f"{stranger} (ssh-ed25519 {fingerprint(public)})" in done.stderr
    assert world.host("dev")["last_error"]["code"] == "auth-failed"
    assert world.host("dev")["state"] == "failed"


@pytest.mark.parametrize("trouble", ["missing", "open to others"])
def test_a_key_that_cannot_be_used_says_so(world: World, sshd: OpenSSHServer, trouble: str) -> None:
    path = world.home / "my_key"
    if trouble == "open to others":
        write_key(path, mode=0o644)
    text = tunnel_text(sshd.host_yaml(identity_file=str(path)), db=local(free_port(), 9))
    world.profile("dev", text)
    done = world.run("up", "dev", "-d")
    assert done.returncode == 77, done.stderr
    assert str(path) in done.stderr
    assert world.host("dev")["last_error"]["code"] == "key-unreadable"


def test_a_server_that_is_not_there_is_tried_again_until_it_is(
    world: World, sshd: OpenSSHServer
) -> None:
    port = free_port()
    with EchoService() as echo:
        world.tunnel(sshd, db=local(port, echo.port))
        sshd.stop()
        done = world.run("up", "dev", "-d", "--wait-timeout", "1s")
        assert done.returncode == 75, done.stderr
        assert f"127.0.0.1:{sshd.port}" in done.stderr
        assert world.host("dev")["last_error"]["code"] == "connection-refused"
        sshd.start()
        world.ok("up", "dev", "-d")
        assert ask(port, b"there") == b"there"


def test_a_local_port_in_use_names_its_holder(world: World, sshd: OpenSSHServer) -> None:
    with EchoService() as holder:
        world.tunnel(sshd, db=local(holder.port, 9))
        done = world.run("up", "dev", "-d", "--wait-timeout", "5s")
        assert done.returncode == 73, done.stderr
        assert f"127.0.0.1:{holder.port}" in done.stderr
        assert "pid" in done.stderr
        assert world.forward("dev", "db")["last_error"]["code"] == "port-in-use"


def test_of_several_profiles_each_says_how_it_is(world: World, sshd: OpenSSHServer) -> None:
    with EchoService() as holder:
        world.tunnel(sshd, name="taken", db=local(holder.port, 9))
        world.tunnel(sshd, name="here", db=local(0, 9))
        keyless = sshd.host_yaml(identity_file=str(world.home / "none"))
        world.profile("keyless", tunnel_text(keyless, db=local(0, 9)))
        done = world.run("up", "keyless", "taken", "here", "-d")
        assert done.returncode == 77, done.stderr
        (row,) = done.stdout.splitlines()
        assert row.endswith("(here/db, via server)")
        *_, taken, without_key = done.stderr.splitlines()
        assert taken.startswith(f"tunnelctl: taken/db: 127.0.0.1:{holder.port} is in use")
        assert without_key.startswith("tunnelctl: keyless/server: ")
        world.ok("down", "--all")
        attached = world.run("up", "here", "keyless")
        assert attached.returncode == 77, attached.stderr
        assert "tunnelctl: here stays up: held until tunnelctl down here\n" in attached.stderr


def test_a_refused_remote_forward_has_its_own_exit_code(world: World, sshd: OpenSSHServer) -> None:
    with EchoService() as holder:
        # With the address: a bare port is the server's `localhost`, and ::1 would do.
        world.tunnel(sshd, back=f'remote: "127.0.0.1:{holder.port}", to: "127.0.0.1:9"')
        done = world.run("up", "dev", "-d", "--wait-timeout", "5s")
        assert done.returncode == 76, done.stderr
        assert str(holder.port) in done.stderr
        assert world.forward("dev", "back")["last_error"]["code"] == "port-in-use"


def test_commands_without_a_daemon_or_a_profile_say_so(world: World) -> None:
    assert world.run("ps").returncode == 3
    missing = world.run("up", "nowhere", "-d")
    assert missing.returncode == 66
    assert "nowhere" in missing.stderr
    assert str(world.configs) in missing.stderr
    assert world.run("up", "--no-such-option").returncode == 2


def test_a_wrong_profile_says_all_that_is_wrong_and_changes_nothing_that_runs(
    world: World, sshd: OpenSSHServer
) -> None:
    port = free_port()
    with EchoService() as echo:
        path = world.tunnel(sshd, db=local(port, echo.port))
        world.ok("up", "dev", "-d")
        with connect(port) as connection:
            assert exchange(connection, b"before") == b"before"
            good = world.status()["profiles"]
            path.write_text(
                "version: 1\n"
                "hosts:\n"
                f"  server: {{hostname: 127.0.0.1, prot: {sshd.port}}}\n"
                "forwards:\n"
                "  db: {local: 99999, via: sever}\n"
            )
            done = world.run("up", "dev", "-d")
            assert done.returncode == 78
            assert f"{path}:3:" in done.stderr
            assert "hosts.server.prot" in done.stderr
            assert "port" in done.stderr.partition("did you mean")[2]
            assert f"{path}:5:" in done.stderr
            assert "99999" in done.stderr
            assert "sever" in done.stderr
            assert world.run("check", "dev").returncode == 78
            assert exchange(connection, b"after") == b"after"
            after = world.status()["profiles"]
            assert [steady(profile) for profile in after] == [steady(profile) for profile in good]


def test_a_second_up_changes_only_what_differs(world: World, sshd: OpenSSHServer) -> None:
    kept, added = free_port(), free_port()
    with EchoService() as echo:
        world.tunnel(sshd, kept=local(kept, echo.port), gone=local(free_port(), echo.port))
        world.ok("up", "dev", "-d")
        with connect(kept) as connection:
            assert exchange(connection, b"before") == b"before"
            world.ok("up", "dev", "-d")
            assert exchange(connection, b"the same") == b"the same"
            world.tunnel(sshd, kept=local(kept, echo.port), added=local(added, echo.port))
            world.ok("up", "dev", "-d")
            assert exchange(connection, b"after") == b"after"
            assert ask(added, b"new") == b"new"
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b""
        names = {forward["name"] for forward in world.status()["profiles"][0]["forwards"]}
        assert names == {"kept", "added"}
    assert sshd.log.count("Accepted publickey") == 1


def test_a_server_that_forbids_a_target_is_quoted_though_the_port_is_up(
    world: World, sshd: OpenSSHServer
) -> None:
    """sshd says no to each client only; the probe of the forward finds it out before one comes."""
    sshd.reconfigure("AllowTcpForwarding no")
    world.tunnel(sshd, db="local: 0, to: 5432, probe: {type: tcp, interval: 200ms, fall: 1}")
    world.ok("up", "dev", "-d")
    eventually(lambda: world.forward("dev", "db")["health"] == "unhealthy", "it is found out")
    error = world.forward("dev", "db")["last_error"]
    assert error["code"] == "forward-denied"
    assert "AllowTcpForwarding" in error["hint"]
    shown = world.run("ps")
    assert "up (unhealthy)" in shown.stdout
    assert f"dev/db: {error['message']} ({error['hint']})" in shown.stderr


def test_why_a_fallback_serves_is_shown_by_ps(world: World, sshd: OpenSSHServer) -> None:
    gone = f"{{hostname: 127.0.0.1, port: {free_port()}, user: nobody, fallback: [server]}}"
    world.profile(
        "dev",
        f"version: 1\nhosts:\n  first: {gone}\n  server: {sshd.host_yaml()}\n"
        "forwards:\n  db: {local: 0, to: 5432, via: first, probe: none}\n",
    )
    world.ok("up", "dev", "-d")
    shown = world.run("ps")
    assert shown.returncode == 0
    assert "dev/first: server serves: first (127.0.0.1:" in shown.stderr
    assert "connection refused" in shown.stderr


def test_what_a_lazy_host_met_before_it_rests_is_no_trouble_of_now(
    world: World, sshd: OpenSSHServer
) -> None:
    port = free_port()
    host = sshd.host_yaml(lazy="true", idle_timeout="4s", reconnect="{min: 100ms, max: 200ms}")
    world.profile("dev", tunnel_text(host, db=f"{local(port, 9)}, while_down: {{hold: 300ms}}"))
    world.ok("up", "dev", "-d")
    sshd.stop()
    with connect(port) as client, pytest.raises(ConnectionResetError):
        client.recv(1)
    shown = world.run("ps")
    assert shown.returncode == 1
    assert "dev/server: server (127.0.0.1:" in shown.stderr
    eventually(lambda: world.host("dev")["state"] == "idle", "it rests")
    assert world.host("dev")["last_error"]["code"] == "connection-refused"
    shown = world.run("ps")
    assert (shown.returncode, shown.stderr) == (0, "")
