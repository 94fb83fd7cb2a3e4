"""`expose`: a local service on a server, in one line, and the truth about where it is reached."""

from __future__ import annotations

import contextlib
import itertools
import json
import signal
import socket
from pathlib import Path

import pytest

from tests.support.clients import ask
from tests.support.ports import free_port
from tests.support.servers import running
from tests.support.servers.dropbear import NarrowDropbear
from tests.support.services import ReplyAfterEndService
from tests.support.sshd import OpenSSHServer
from tests.support.urls import URL, UrlServer
from tests.support.waiting import eventually
from tests.support.world import World


@pytest.fixture
def bastion(world: World, sshd: OpenSSHServer) -> World:
    world.alias("bastion", sshd)
    return world


def _wanted(world: World) -> list[str]:
    done = world.run("ps", "-a", "--json")
    profiles = json.loads(done.stdout)["profiles"] if done.returncode != 3 else []
    return [profile["name"] for profile in profiles if profile["wanted"] == "up"]


def test_the_url_that_a_server_tells_in_its_session(world: World) -> None:
    with UrlServer() as server, ReplyAfterEndService(lambda asked: asked) as service:
        server.alias(world.home, "sish")
        arguments = ["expose", str(service.port), "--via", "sish", "--remote-port", "80"]
        done = world.run(*arguments, "-d")
        assert done.returncode == 0, done.stderr
        address, *said = done.stdout.splitlines()
        assert address == "127.0.0.1:80"
        assert said[-1] == f"HTTPS: {URL}"
        assert len(said) == 3
        # It can be asked for later, and whoever attaches sees it too.
        assert world.host(f"expose-{service.port}", "sish")["said"] == said
        assert f"the server says: HTTPS: {URL}" in world.ok("logs")
        world.ok("down", f"expose-{service.port}")
        process = world.start(*arguments)
        assert process.stdout is not None
        assert [process.stdout.readline().strip() for _ in range(4)] == [address, *said]
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=30)
        assert (process.returncode, out) == (130, "")
        assert "the server says" not in errors


def test_an_attached_up_shows_what_a_server_says(world: World) -> None:
    with UrlServer() as server:
        server.alias(world.home, "sish")
        world.profile(
            "dev",
            "version: 1\nhosts: {sish: {session_type: default}}\n"
            "forwards: {web: {remote: 80, to: 3000, via: sish, probe: none}}\n",
        )
        process = world.start("up", "dev")
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        assert any(f"dev/sish up: the server says: HTTPS: {URL}" in line for line in lines)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)


def test_where_it_can_be_reached(bastion: World) -> None:
    with ReplyAfterEndService(lambda asked: b"seen " + asked) as service:
        done = bastion.run("expose", "-d", str(service.port), "--via", "bastion", "--qr")
        assert done.returncode == 0, done.stderr
        host, _, port = done.stdout.strip().rpartition(":")
        assert host == "127.0.0.1"
        assert "(checked from here)" in done.stderr
        assert "█" in done.stderr or "▀" in done.stderr
        assert ask(int(port), b"it") == b"seen it"
        assert f"expose-{service.port}/exposed" in bastion.ok("ps")


def test_a_second_one_takes_nothing_down(bastion: World) -> None:
    """The same again is the same; with another port it is another one, with a name of its own."""
    with ReplyAfterEndService(lambda asked: b"seen " + asked) as service:
        arguments = ["expose", "-d", str(service.port), "--via", "bastion"]
        first = bastion.ok(*arguments)
        assert bastion.ok(*arguments) == first
        second = bastion.ok(*arguments, "--remote-port", str(free_port()))
        assert second != first
        assert bastion.ok(*arguments) == first
        name = f"expose-{service.port}"
        assert sorted(_wanted(bastion)) == [name, f"{name}-2"]
        for address in (first, second):
            assert ask(int(address.rpartition(":")[2]), b"it") == b"seen it"


def test_a_connection_that_somebody_else_takes(bastion: World) -> None:
    """sshd finds the port of one family taken, and listens on that of the other alone."""
    with ReplyAfterEndService(lambda asked: asked) as service, socket.create_server(("", 0)) as s:
        port = str(s.getsockname()[1])
        arguments = ["-d", str(service.port), "--via", "bastion", "--remote-port", port]
        done = bastion.run("expose", *arguments)
        # Where there is no IPv6 it is refused.
        assert done.returncode in (0, 76)
        assert "is reachable at" not in done.stderr
        assert "did not come here" in done.stderr or "is in use" in done.stderr


def test_its_time_is_up_before_its_address_was_tried(bastion: World) -> None:
    """As above; the connection that does not come is waited for longer than it is to stay."""
    with ReplyAfterEndService(lambda asked: asked) as service, socket.create_server(("", 0)) as s:
        port = str(s.getsockname()[1])
        arguments = [str(service.port), "--via", "bastion", "--remote-port", port, "--ttl", "2s"]
        done = bastion.run("expose", *arguments)
        assert done.returncode in (0, 76), done.stderr
        assert "its time is up" in done.stderr or "is in use" in done.stderr


def test_its_time_is_up_before_it_is_ready(bastion: World) -> None:
    with ReplyAfterEndService(lambda asked: asked) as service:
        done = bastion.run("expose", str(service.port), "--via", "192.0.2.1", "--ttl", "1s")
        assert (done.returncode, done.stdout) == (75, "")
        assert "was not ready when its time was up (--ttl gives it more time)" in done.stderr


def test_the_port_that_was_asked_for_and_the_server_alone(bastion: World) -> None:
    port = free_port()
    with ReplyAfterEndService(lambda asked: b"seen " + asked) as service:
        target, wanted = f"127.0.0.1:{service.port}", ["--remote-port", str(port)]
        arguments = [target, "--via", "bastion", *wanted, "--bind", "localhost"]
        done = bastion.run("expose", "-d", *arguments)
        assert (done.returncode, done.stdout) == (0, f"localhost:{port}\n"), done.stderr
        assert ask(port, b"it") == b"seen it"


def test_a_server_that_quietly_listens_on_its_loopback_alone(
    world: World, sshd: OpenSSHServer
) -> None:
    sshd.reconfigure("ListenAddress 127.0.0.2", "GatewayPorts no")
    world.alias("bastion", sshd)
    config = world.home / ".ssh/config"
    config.write_text(config.read_text().replace("HostName 127.0.0.1", "HostName 127.0.0.2"))
    known = sshd.known_hosts.read_text()
    sshd.known_hosts.write_text(known.replace("127.0.0.1", "127.0.0.2"))
    with ReplyAfterEndService(lambda asked: asked) as service:
        done = world.run("expose", "-d", str(service.port), "--via", "bastion")
        assert done.returncode == 0, done.stderr
        # The cause is waited for, and told once; nobody is asked about a firewall.
        (said,) = [line for line in done.stderr.splitlines() if "loopback" in line]
        assert said.startswith("tunnelctl: remote forward exposed: bastion listens on its loopback")
        assert said.endswith("(GatewayPorts clientspecified in sshd_config there allows it)")
        assert "firewall" not in done.stderr
        assert "is reachable at 127.0.0.2" not in done.stderr
        address, _, port = done.stdout.strip().rpartition(":")
        assert address == "127.0.0.2"
        (forward,) = world.status()["profiles"][0]["forwards"]
        assert forward["listen"] == f"localhost:{port}"


def test_a_dropbear_that_listens_on_its_loopback_alone(world: World, tmp_path: Path) -> None:
    with running(NarrowDropbear, tmp_path) as server:
        host = server.host()
        (world.home / ".ssh").mkdir(mode=0o700)
        (world.home / ".ssh/config").write_text(
            f"Host bastion\n  HostName 127.0.0.2\n  HostKeyAlias {server.pattern}\n"
            f"  Port {host.port}\n  User {host.user}\n  IdentityFile {host.identity_file[0]}\n"
            f"  UserKnownHostsFile {server.known_hosts}\n"
        )
        with ReplyAfterEndService(lambda asked: asked) as service:
            arguments = ["-d", str(service.port), "--via", "bastion", "--bind", "0.0.0.0"]
            done = world.run("expose", *arguments)
    assert done.returncode == 0, done.stderr
    (said,) = [line for line in done.stderr.splitlines() if "loopback" in line]
    assert said.endswith("(the option -a of dropbear there allows it)")


@pytest.mark.parametrize("option", ["yes", "no"])
def test_what_the_server_makes_of_the_address_is_told_once_attached_too(
    world: World, sshd: OpenSSHServer, option: str
) -> None:
    """Narrower than it was asked to, and wider; the event of it comes when it will."""
    sshd.reconfigure("ListenAddress 127.0.0.2", f"GatewayPorts {option}")
    world.alias("bastion", sshd)
    config = world.home / ".ssh/config"
    config.write_text(config.read_text().replace("HostName 127.0.0.1", "HostName 127.0.0.2"))
    known = sshd.known_hosts.read_text()
    sshd.known_hosts.write_text(known.replace("127.0.0.1", "127.0.0.2"))
    bind = "0.0.0.0" if option == "no" else "localhost"
    with ReplyAfterEndService(lambda asked: asked) as service:
        process = world.start("expose", str(service.port), "--via", "bastion", "--bind", bind)
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        why = "listens on its loopback address" if option == "no" else "listens on all addresses"
        before = list(itertools.takewhile(lambda line: "Ready" not in line, lines))
        world.ok("restart", f"expose-{service.port}")
        name = f"expose-{service.port}"
        eventually(lambda: world.host(name, "bastion")["reconnects"] == 1, "it is up again")
        # On the next link it is news again, once.
        assert any(why in line for line in lines)
        process.send_signal(signal.SIGINT)
        _, after = process.communicate(timeout=30)
    assert process.returncode == 130  # that others cannot reach it is no failure of the command
    assert sum(why in line for line in before) == 1
    assert why not in after


def test_a_service_that_is_not_there(world: World) -> None:
    port = free_port()
    done = world.run("expose", str(port), "--via", "bastion")
    assert done.returncode == 1
    assert f"nothing answers at 127.0.0.1:{port} here" in done.stderr
    assert not list(world.state.rglob("*.yaml"))


def test_a_service_on_the_other_loopback(world: World) -> None:
    with socket.socket() as refuses, socket.socket(socket.AF_INET6) as listener:
        refuses.bind(("127.0.0.1", 0))  # it does not listen, and nobody else can
        port = refuses.getsockname()[1]
        listener.bind(("::1", port))
        listener.listen()
        done = world.run("expose", str(port), "--via", "bastion")
        assert f"tunnelctl expose [::1]:{port}" in done.stderr


def test_it_ends_when_its_time_is_up(bastion: World) -> None:
    with ReplyAfterEndService(lambda asked: asked) as service:
        done = bastion.run("expose", str(service.port), "--via", "bastion", "--ttl", "1s")
        assert done.returncode == 0, done.stderr
        assert "its time is up" in done.stderr
        assert _wanted(bastion) == []


def test_ctrl_c_takes_it_down(bastion: World) -> None:
    with ReplyAfterEndService(lambda asked: asked) as service:
        process = bastion.start("expose", str(service.port), "--via", "bastion")
        assert process.stdout is not None
        assert process.stdout.readline().startswith("127.0.0.1:")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        assert process.returncode == 130
        eventually(lambda: _wanted(bastion) == [], "it is taken down")


def test_who_may_come(bastion: World) -> None:
    with ReplyAfterEndService(lambda asked: b"seen " + asked) as service:
        arguments = ["--via", "bastion", "--allow", "192.0.2.0/24"]
        port = int(bastion.ok("expose", "-d", str(service.port), *arguments).rpartition(":")[2])
        # sshd resets a client whose bytes it did not read; one that it closed before has an end.
        with contextlib.suppress(OSError):
            assert ask(port, b"it") == b""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["80"], "--via"),
        (["0", "--via", "b"], "TARGET"),
        (["1", "--via", "-x"], ""),
        (["1", "--ttl", "0s", "--via", "b"], "--ttl"),
        (["http://localhost:3000/", "--via", "b"], "is a URL; write localhost:3000"),
    ],
)
def test_usage(world: World, arguments: list[str], said: str) -> None:
    done = world.run("expose", *arguments)
    assert done.returncode in (1, 2)
    assert said in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--ttl", "0s"], "greater than zero"),
        (["--allow", "here"], "--allow is not a network: 'here'"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_done(
    bastion: World, arguments: list[str], said: str
) -> None:
    done = bastion.run("expose", "80", "--via", "bastion", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert not bastion.processes()
    assert not list(bastion.state.rglob("*.yaml"))


def test_without_segno_nothing_is_exposed(bastion: World) -> None:
    hidden = bastion.home / "without"
    hidden.mkdir()
    (hidden / "segno.py").write_text("raise ImportError")
    environ = {"PYTHONPATH": str(hidden)}
    done = bastion.run("expose", "80", "--via", "bastion", "--qr", environ=environ)
    assert done.returncode == 2
    assert "--qr needs the package segno (" in done.stderr
    assert not bastion.processes()
    assert not list(bastion.state.rglob("*.yaml"))
