"""What stands behind `ssh` on a command line stands behind `tunnelctl up` and `run`, too."""

from __future__ import annotations

import json
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clients import ask, receive_exactly
from tests.support.ports import free_port, has_ipv6, is_listening
from tests.support.services import EchoService, ReplyAfterEndService
from tests.support.socks import ask4, request4
from tests.support.sshd import OpenSSHServer
from tests.support.unix_sockets import connected
from tests.support.waiting import eventually
from tests.support.world import World
from tunnelctl.spec.endpoint import Endpoint

CONFIG = ".ssh/config"


@pytest.fixture
def bastion(world: World, sshd: OpenSSHServer) -> World:
    """`bastion`, and `inner`, which is the same server; the key and its hosts beside the home."""
    world.alias("bastion", sshd)
    world.alias("inner", sshd)
    shutil.copy(sshd.identity, world.home / "my-key.pem")
    shutil.copy(sshd.known_hosts, world.home / "hosts")
    shutil.copy(sshd.identity, world.home / "a key.pem")
    shutil.copy(sshd.known_hosts, world.home / "its hosts")
    return world


@pytest.fixture
def service() -> Iterator[ReplyAfterEndService]:
    with ReplyAfterEndService(lambda asked: b"seen " + asked) as running:
        yield running


def answers(port: int) -> bool:
    try:
        return ask(port, b"it") == b"seen it"
    except OSError:
        return False


LINES = [
    "-N -L {port}:{target} -p {sshd} -i my-key.pem -o UserKnownHostsFile=hosts {user}@127.0.0.1",
    "-NT -p{sshd} -l {user} -imy-key.pem -oUserKnownHostsFile=hosts -L{port}:{target} 127.0.0.1",
    "-i my-key.pem -o UserKnownHostsFile=hosts -NL {port}:{target} ssh://{user}@127.0.0.1:{sshd}",
    "-F {config} -qNL {port}:{target} bastion",
    "bastion -F {config} -v -N -L {port}:{target}",
    "-F {config} -N -J bastion -L {port}:{target} inner",
    "-F {config} -aknxTN -4 -e none -L {port}:{target} -- bastion",
    "-F {config} -N -o 'LocalForward={port} {target}' -o BatchMode=yes -o ServerAliveInterval=30 "
    "-o ExitOnForwardFailure=yes -o 'ServerAliveCountMax 3' -o TCPKeepAlive=yes bastion",
    "-i 'a key.pem' -o 'UserKnownHostsFile=\"its hosts\"' -p {sshd} -NL {port}:{target} "
    "{user}@127.0.0.1",
    "-F {config} -C -N -o StrictHostKeyChecking=no -o ControlMaster=no -L {port}:{target} bastion",
]


@pytest.mark.parametrize("line", LINES)
def test_the_same_words_do_the_same(
    bastion: World, sshd: OpenSSHServer, service: ReplyAfterEndService, line: str
) -> None:
    def words(port: int) -> list[str]:
        config = bastion.home / CONFIG
        target = f"127.0.0.1:{service.port}"
        filled = line.format(
            port=port, target=target, sshd=sshd.port, user=sshd.user, config=config
        )
        return shlex.split(filled)

    by_ssh, by_us = free_port(), free_port()
    ssh = subprocess.Popen(
        ["ssh", *words(by_ssh)], cwd=bastion.home, env=bastion.environ,
        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        eventually(lambda: answers(by_ssh) or ssh.poll() is not None, "ssh forwards")
        assert ssh.poll() is None, ssh.communicate()[1]
    finally:
        ssh.terminate()
        ssh.communicate()
    bastion.ok("up", "-d", *words(by_us))
    assert answers(by_us)


def test_a_socket_of_either_side_may_stand_in_a_folder_with_a_blank(
    bastion: World,
) -> None:
    folder = bastion.home / "my sockets"
    folder.mkdir()
    there = folder / "there.sock"
    with EchoService() as echo:
        bastion.ok("up", "-d", "-R", f"{there}:127.0.0.1:{echo.port}", "bastion")
        bastion.ok("up", "-d", "-L", f"my sockets/here.sock:{there}", "bastion")
        with connected(Endpoint(path=str(folder / "here.sock"))) as client:
            client.sendall(b"it")
            assert receive_exactly(client, 2) == b"it"


def test_socks_clients_may_come_over_a_unix_socket(bastion: World) -> None:
    """ssh(1) does not say so, but ssh listens there."""
    file = str(bastion.home / CONFIG)

    def answer(path: Path) -> bytes:
        with connected(Endpoint(path=str(path))) as client:
            client.sendall(request4("127.0.0.1", echo.port))
            granted = receive_exactly(client, 8)
            client.sendall(b"it")
            return granted[1:2] + receive_exactly(client, 2)

    with EchoService() as echo:
        by_ssh, by_us = bastion.home / "ssh.sock", bastion.home / "our.sock"
        with subprocess.Popen(["ssh", "-F", file, "-N", "-D", str(by_ssh), "bastion"]) as ssh:
            try:
                eventually(by_ssh.exists, "ssh listens")
                assert answer(by_ssh) == b"Zit"
            finally:
                ssh.kill()
        bastion.ok("up", "-d", "-D", "./our.sock", "bastion")
        assert answer(by_us) == b"Zit"
        with (bastion.home / CONFIG).open("a") as config:
            config.write(f"Host bastion\n  DynamicForward {bastion.home}/other.sock\n")
        bastion.ok("up", "-d", "-N", "bastion")
        assert answer(bastion.home / "other.sock") == b"Zit"


def test_f_returns_as_it_does_with_ssh(bastion: World, service: ReplyAfterEndService) -> None:
    port = free_port()
    bastion.ok("up", "-fNT", "-L", f"{port}:127.0.0.1:{service.port}", "bastion")
    assert answers(port)


def test_a_port_alone_is_that_port_of_the_server(
    bastion: World, service: ReplyAfterEndService
) -> None:
    bastion.ok("up", "-d", "-L", str(free := free_port()), "bastion")
    forward = bastion.forward("bastion", f"local-{free}")
    assert (forward["listen"], forward["target"]) == (f"localhost:{free}", f"localhost:{free}")


def test_what_ssh_config_forwards_needs_no_option(
    bastion: World, service: ReplyAfterEndService
) -> None:
    """`ssh -N bastion` is all that many type."""
    port, other = free_port(), free_port()
    with (bastion.home / CONFIG).open("a") as config:
        config.write(f"Host bastion\n  LocalForward {port} 127.0.0.1:{service.port}\n")
    bastion.ok("up", "-d", "-N", "bastion")
    assert answers(port)
    done = bastion.run("up", "-d", "-L", f"{other}:127.0.0.1:{service.port}", "bastion")
    assert done.returncode == 0, done.stderr
    assert "ssh_config forwards for bastion, too: tunnelctl up -N bastion" in done.stderr
    file = str(bastion.home / CONFIG)
    done = bastion.run("up", "-d", "-F", file, "-L", f"{free_port()}:127.0.0.1:9", "bastion")
    assert f"forwards for bastion, too: tunnelctl up -N -F {file} bastion" in done.stderr


def test_a_listener_whose_clients_may_reach_nothing_is_refused_for_that(bastion: World) -> None:
    """ssh opens it, and refuses whatever its clients ask for."""
    refused = bastion.run("up", "-d", "-R", "1080", "-o", "PermitRemoteOpen=none", "bastion")
    assert refused.returncode == 2
    assert "PermitRemoteOpen none refuses every target" in refused.stderr
    assert "any address" not in refused.stderr


@pytest.mark.parametrize("where", ["the line", "ssh_config"])
def test_cleared_forwards_leave_the_login(
    bastion: World, service: ReplyAfterEndService, where: str
) -> None:
    """ClearAllForwardings: ssh logs in, forwards nothing, and its session stays."""
    file = bastion.home / CONFIG
    here, there, configured = free_port(), free_port(), free_port()
    target = f"127.0.0.1:{service.port}"
    with file.open("a") as config:
        config.write(f"Host bastion\n  LocalForward {configured} {target}\n")
        if where == "ssh_config":
            config.write("  ClearAllForwardings yes\n")
    line = ["-L", f"{here}:{target}", "-R", f"{there}:{target}", "bastion"]
    if where == "the line":
        line = ["-o", "ClearAllForwardings=yes", *line]

    def listening() -> list[int]:
        return [port for port in (here, there, configured) if is_listening(port)]

    heard = ["ssh", "-F", str(file), *line, f"echo in; cat >{bastion.home}/end"]
    with subprocess.Popen(
        heard, env=bastion.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as ssh:
        assert ssh.stdout is not None
        assert ssh.stdout.readline() == "in\n"
        assert listening() == []
        ssh.kill()
    done = bastion.run("up", "-d", *line)
    assert done.returncode == 0, done.stderr
    assert "ClearAllForwardings yes: nothing is forwarded" in done.stderr
    (profile,) = bastion.status()["profiles"]
    assert (profile["state"], profile["forwards"]) == ("up", [])
    assert [host["state"] for host in profile["hosts"]] == ["up"]
    assert listening() == []
    assert bastion.run("run", *line, "--", "sh", "-c", "exit 42").returncode == 42


def test_any_target_that_was_asked_for_in_so_many_words_is_permitted(
    bastion: World, service: ReplyAfterEndService
) -> None:
    """Which is what ssh permits where nothing is said; tunnelctl refuses that."""
    file = str(bastion.home / CONFIG)

    def line(port: int) -> list[str]:
        return ["-R", str(port), "-o", "PermitRemoteOpen=any", "bastion"]

    def permits(socks: int, host: str) -> bool:
        asked = ask4(socks, host, service.port)
        asked.connection.close()
        return asked.code == 90

    names = ["127.0.0.1", "localhost"]
    with subprocess.Popen(["ssh", "-F", file, "-N", *line(socks := free_port())]) as ssh:
        try:
            eventually(lambda: is_listening(socks), "ssh forwards")
            assert [permits(socks, name) for name in names] == [True, True]
        finally:
            ssh.kill()
    done = bastion.run("up", "-d", *line(socks := free_port()))
    assert done.returncode == 0, done.stderr
    assert "PermitRemoteOpen any: SOCKS clients on bastion can reach all" in done.stderr
    assert [permits(socks, name) for name in names] == [True, True]
    other = ["-L", f"{free_port()}:127.0.0.1:9", *line(0)[2:]]
    assert "PermitRemoteOpen" not in bastion.run("up", "-d", *other).stderr
    refused = bastion.run("up", "-d", "-R", str(free_port()), "bastion")
    assert refused.returncode == 2
    assert "say what they may with --permit" in refused.stderr


def test_what_ssh_config_says_of_forwards_counts_for_those_of_the_line(
    bastion: World, service: ReplyAfterEndService
) -> None:
    """PermitRemoteOpen and GatewayPorts, which forward nothing by themselves."""
    file = str(bastion.home / CONFIG)
    with (bastion.home / CONFIG).open("a") as config:
        config.write(f"Host bastion\n  PermitRemoteOpen 127.0.0.1:{service.port}\n")
        config.write("  GatewayPorts yes\n")

    def permitted(socks: int, port: int) -> bool:
        try:
            asked = ask4(socks, "127.0.0.1", port)
        except EOFError:  # all that ssh says
            return False
        asked.connection.close()
        return asked.code == 90

    def line(socks: int, wide: int) -> list[str]:
        return ["-R", str(socks), "-L", f"{wide}:127.0.0.1:{service.port}", "bastion"]

    socks, wide = free_port(), free_port()
    with subprocess.Popen(["ssh", "-F", file, "-N", *line(socks, wide)]) as ssh:
        try:
            eventually(lambda: is_listening(socks) and is_listening(wide), "ssh forwards")
            socket.create_connection(("127.0.0.2", wide)).close()
            assert [permitted(socks, port) for port in (service.port, free_port())] == [True, False]
        finally:
            ssh.kill()
    socks, wide = free_port(), free_port()
    done = bastion.run("up", "-d", *line(socks, wide))
    assert done.returncode == 0, done.stderr
    assert "ssh_config forwards" not in done.stderr
    assert "also reachable from other machines" in done.stderr
    socket.create_connection(("127.0.0.2", wide)).close()  # of loopback, but not what -L is given
    assert [permitted(socks, port) for port in (service.port, free_port())] == [True, False]
    done = bastion.run("up", "-d", "-N", "bastion")
    assert done.returncode == 2
    assert "bastion: nothing is forwarded" in done.stderr


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize(
    ("options", "address", "other"),
    [
        ("-4 -L {port}:{target}", "127.0.0.1", "::1"),
        (
            "-6 -L {port}:{target} -o 'ProxyCommand=socat - TCP4:127.0.0.1:%p'",
            "::1",
            "127.0.0.1",
        ),
        ("-o AddressFamily=inet -D {port}", "127.0.0.1", "::1"),
        ("-g -4 -L {port}:{target}", "0.0.0.0", "::"),
        ("-4 -L localhost:{port}:{target}", "127.0.0.1", "::1"),
    ],
)
def test_a_listener_is_of_the_address_family_that_ssh_gives_it(
    bastion: World, service: ReplyAfterEndService, options: str, address: str, other: str
) -> None:
    """The port is taken at the other address, which neither asks for."""
    port = free_port()
    filled = options.format(port=port, target=f"127.0.0.1:{service.port}")
    words = [*shlex.split(filled), "-o", "ExitOnForwardFailure=yes", "bastion"]
    with socket.create_server((other, port), family=_family(other)):
        command = ["ssh", "-F", str(bastion.home / CONFIG), "-N", *words]
        with subprocess.Popen(command, env=bastion.environ) as ssh:
            try:
                eventually(lambda: _is_taken(address, port) or ssh.poll() is not None, "it listens")
                assert ssh.poll() is None
            finally:
                ssh.kill()
        assert not _is_taken(address, port)
        bastion.ok("up", "-d", *words)
        assert _is_taken(address, port)


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _is_taken(address: str, port: int) -> bool:
    try:
        socket.create_server((address, port), family=_family(address)).close()
    except OSError:
        return True
    return False


def test_what_is_done_without_is_said(bastion: World) -> None:
    done = bastion.run(
        "up", "-d", "-C", "-M", "-oStrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
        "-o", "ControlPath=~/x", "-AYK", "-oForwardX11=yes", "-L", f"{free_port()}:127.0.0.1:9",
        "bastion",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for said in (
        "-C: nothing is compressed",
        "-M: every profile has a connection of its own",
        "StrictHostKeyChecking false: host keys are always checked",
        "UserKnownHostsFile /dev/null: host keys are always checked",
        "-o ControlPath=~/x: every profile has",
        "-A: the agent is not forwarded; only a session",  # and -N asks for none, with ssh either
        "-Y: X11 is not forwarded",
        "-o ForwardX11=yes: X11 is not forwarded",
        "-K: GSSAPI is not supported; the other ways",
    ):
        assert said in done.stderr


def test_a_key_that_is_not_there_leaves_the_others(bastion: World, sshd: OpenSSHServer) -> None:
    """ssh(1) warns about such a -i, and tries the keys that it would try without it."""
    line = ["-i", "~/nowhere", "-i", "nor/here", "bastion"]
    ssh = subprocess.run(
        ["ssh", "-F", bastion.home / ".ssh" / "config", *line, "true"],
        env=bastion.environ,
        cwd=bastion.home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ssh.returncode == 0, ssh.stderr
    assert ssh.stderr.count("not accessible") == 2
    shutil.copy(sshd.identity, bastion.home / ".ssh" / "id_ed25519")
    there = ["-p", str(sshd.port), "-o", "UserKnownHostsFile=hosts", f"{sshd.user}@127.0.0.1"]
    done = bastion.run("up", "-d", "-L", f"{free_port()}:127.0.0.1:9", *line[:4], *there)
    assert done.returncode == 0, done.stderr
    for missing in ("~/nowhere", "nor/here"):
        assert f"-i {missing}: no such file, so it is passed over" in done.stderr


@pytest.mark.parametrize(
    "option",
    ["-s", "-W db:22", "-w 0:0", "-B lo", "-I x.so", "-O exit",
     "-o RemoteCommand=ls", "-o Tunnel=yes",
     "-o PermitLocalCommand=yes", "-o LocalCommand=ls", "-o PKCS11Provider=x.so",
     "-o NoSuchThing=yes"],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_by_name(world: World, option: str) -> None:
    done = world.run("up", "-d", "-N", *option.split(), "-L", "5432:db:5432", "bastion")
    assert done.returncode == 2
    named = option.removeprefix("-o PKCS11Provider=")
    assert done.stderr.startswith(f"tunnelctl: {named}: "), done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(world.state.rglob("*.yaml"))


@pytest.mark.parametrize("option", ["-W db:22", "-O exit", "-s", "-o PKCS11Provider=x.so"])
def test_so_it_is_where_nothing_is_forwarded(world: World, option: str) -> None:
    done = world.run("up", "-d", *option.split(), "bastion")
    assert done.returncode == 2
    named = option.removeprefix("-o PKCS11Provider=")
    assert done.stderr.startswith(f"tunnelctl: {named}: "), done.stderr
    assert "nothing is forwarded" not in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("-N", "comes one HOST, and none is named"),
        ("-N bastion", "bastion: nothing is forwarded; say it with -L, -R or -D"),
        ("-z -L 1:a:1 bastion", "-z"),
        ("-L 1:a:1 bastion -p", "-p needs an argument"),
        ("-L 1:a:1 -p x bastion", "-p x: 'x' is not a value of port"),
        ("-L 1:a:1 -o Port=x bastion", "-o Port=x: 'x' is not a value of port"),
        ("-L 1:a:1 -o Port bastion", "-o Port: "),
        ("-L 1:a:1 -oCiphers=none bastion", "none of 'none' is supported"),
        ("-L 1:a:1 --no-such bastion", "there is no option --no-such"),
        ("-L 1:a:1 bastion sleep 10", "sleep 10: no command is run on the server"),
        ("-L 1:a:1 -L 1:b:1 bastion", "-L 1:b:1: local-1 listens there already"),
        ("-L 1:a:1 -F nowhere bastion", "nowhere"),
    ],
)
def test_what_ssh_would_refuse_is_refused(world: World, words: str, said: str) -> None:
    done = world.run("up", "-d", *words.split())
    assert (done.returncode, said in done.stderr) in ((2, True), (78, True)), done.stderr
    assert "Traceback" not in done.stderr


def test_q_and_v_are_taken_with_a_profile_too(bastion: World, sshd: OpenSSHServer) -> None:
    bastion.tunnel(sshd, db=f"local: {free_port()}, to: 9")
    bastion.ok("up", "-d", "-q", "-v", "dev")


# run

PRINT = (
    "import json, os; print(json.dumps({key.removeprefix('TUNNELCTL_'): value "
    "for key, value in os.environ.items() if key.startswith('TUNNELCTL_')}))"
)


def variables(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    assert done.returncode == 0, done.stderr
    printed: dict[str, str] = json.loads(done.stdout)
    return {k: v for k, v in printed.items() if k.rpartition("_")[2] in ("HOST", "PORT", "ADDRESS")}


def test_run_needs_no_file(bastion: World, service: ReplyAfterEndService) -> None:
    port = free_port()
    command = ("--", sys.executable, "-c", PRINT)
    line = ("-NT", "-L", f"{port}:127.0.0.1:{service.port}", "-F", CONFIG, "bastion")
    found = variables(bastion.run("run", "--wait-timeout", "20s", *line, *command))
    # An address, as to some programs `localhost` is a unix socket.
    name = f"LOCAL_{port}"
    assert found == {
        f"{name}_HOST": "127.0.0.1",
        f"{name}_PORT": str(port),
        f"{name}_ADDRESS": f"127.0.0.1:{port}",
    }
    assert bastion.run("run", *line, "sh", "-c", "exit 42").returncode == 42
    assert not any(profile["wanted"] == "up" for profile in bastion.status().get("profiles", []))


def test_run_takes_nothing_down_that_is_up(bastion: World, service: ReplyAfterEndService) -> None:
    target = f"127.0.0.1:{service.port}"
    bastion.ok("up", "-d", "-L", f"{(stays := free_port())}:{target}", "bastion")
    bastion.ok("run", "-L", f"{free_port()}:{target}", "bastion", "--", "true")
    assert answers(stays)


def test_run_takes_several_profiles(bastion: World, sshd: OpenSSHServer) -> None:
    ports = dict(zip(("web", "db", "other"), (free_port() for _ in range(3)), strict=True))
    bastion.tunnel(
        sshd, name="one", web=f"local: {ports['web']}, to: 9", db=f"local: {ports['db']}, to: 9"
    )
    bastion.tunnel(sshd, name="two", db=f"local: {ports['other']}, to: 9")
    found = variables(bastion.run("run", "one", "two", "--", sys.executable, "-c", PRINT))
    numbers = {key: int(value) for key, value in found.items() if key.endswith("_PORT")}
    # `db` is in both, and there it has the profile's name as well.
    assert numbers == {
        "WEB_PORT": ports["web"],
        "ONE_WEB_PORT": ports["web"],
        "ONE_DB_PORT": ports["db"],
        "TWO_DB_PORT": ports["other"],
    }


def test_dashes_in_the_one_profiles_command_are_the_commands(
    bastion: World, sshd: OpenSSHServer
) -> None:
    bastion.tunnel(sshd, db=f"local: {free_port()}, to: 9")
    done = bastion.run("run", "dev", "echo", "a", "--", "b")
    assert (done.returncode, done.stdout) == (0, "a -- b\n"), done.stderr
    done = bastion.run("run", "dev", "prdo", "--", "true")
    assert done.returncode == 66
    assert "prdo" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-L", "1:a:1", "bastion"], "no command to run"),
        (["-L", "1:a:1", "--", "host"], "no command to run"),
        (["one", "--"], "no command to run"),
        ([], "no profile is named"),
        (["--permit", "db:1", "one", "true"], "go with -L"),
    ],
)
def test_a_run_without_what_it_needs(world: World, words: list[str], said: str) -> None:
    done = world.run("run", *words)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert not list(world.state.rglob("*.yaml"))
