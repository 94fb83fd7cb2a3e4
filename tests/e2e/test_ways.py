"""`up` and `trust` for hosts behind others: jump hosts, a proxy command, a proxy."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.clients import download
from tests.support.ports import free_port
from tests.support.programs import require
from tests.support.proxies import HttpProxy
from tests.support.services import Received, SourceService, Stream
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually
from tests.support.world import World

BULK = 100_000_000  # bytes


@pytest.fixture
def pair(no_leaks: None, tmp_path: Path) -> Iterator[tuple[OpenSSHServer, OpenSSHServer]]:
    """A gateway, and a server behind it."""
    with ExitStack() as stack:
        made = [OpenSSHServer(tmp_path / name) for name in ("gateway", "inner")]
        for server in made:
            stack.callback(server.stop)
            server.start()
        yield made[0], made[1]


def profile(world: World, hosts: dict[str, str], **forwards: str) -> None:
    """A profile `dev`; hosts and forwards are flow maps."""
    lines = ["version: 1", "hosts:", *(f"  {name}: {text}" for name, text in hosts.items())]
    lines += ["forwards:", *(f"  {name}: {{{rule}}}" for name, rule in forwards.items()), ""]
    world.profile("dev", "\n".join(lines))


def test_two_hosts_behind_one_gateway(
    world: World, pair: tuple[OpenSSHServer, OpenSSHServer]
) -> None:
    gateway, inner = pair
    stream = Stream(BULK, seed=4)
    with SourceService(stream) as source:
        ports = free_port(), free_port()
        hosts = {
            "gateway": gateway.host_yaml(),
            "one": inner.host_yaml(proxy_jump="[gateway]"),
            "two": inner.host_yaml(proxy_jump="[gateway]"),
        }
        rules = [f'local: {port}, to: "127.0.0.1:{source.port}"' for port in ports]
        profile(world, hosts, a=f"{rules[0]}, via: one", b=f"{rules[1]}, via: two")
        world.ok("up", "dev", "-d")
        for port in ports:
            assert download(port) == Received(BULK, stream.sha256, "fin")
        assert gateway.log.count("Accepted publickey") == 1
        assert world.host("dev", "one")["address"] == f"127.0.0.1:{inner.port}"
        gateway.kill()
        eventually(lambda: world.host("dev", "two")["state"] == "backoff", "it is noticed")
        error = world.host("dev", "two")["last_error"]
        assert error["message"].startswith(f"hop gateway (127.0.0.1:{gateway.port})")
        gateway.start()
        world.ok("up", "dev", "-d")
        assert download(ports[0]) == Received(BULK, stream.sha256, "fin")
        world.ok("down", "dev")
        eventually(lambda: not gateway.sessions, "the gateway is left")


@pytest.mark.parametrize("way", ["proxy_jump", "proxy_command", "proxy"])
def test_the_hint_for_an_unknown_key_goes_the_same_way(
    world: World, pair: tuple[OpenSSHServer, OpenSSHServer], way: str
) -> None:
    if way == "proxy_command":
        require("socat")
    gateway, inner = pair
    inner.known_hosts.write_text("")
    with HttpProxy() as proxy:
        value = {
            "proxy_jump": "[gateway]",
            "proxy_command": '[socat, STDIO, "TCP:%h:%p"]',
            "proxy": f'"http://127.0.0.1:{proxy.port}"',
        }[way]
        hosts = {"gateway": gateway.host_yaml(), "inner": inner.host_yaml(**{way: value})}
        profile(world, hosts, web=f"local: {free_port()}, to: 9, via: inner")
        done = world.run("up", "dev", "-d")
        assert done.returncode == 77, done.stderr
        command = re.search(r"tunnelctl (trust [^)]+)", done.stderr)
        assert command is not None, done.stderr
        assert command[1].startswith("trust dev/inner --fingerprint SHA256:")
        world.ok(*shlex.split(command[1]))
        assert inner.host_keys[0] in inner.known_hosts.read_text()
        world.ok("up", "dev", "-d")


@pytest.mark.parametrize("by", ["-L", "-f"])
def test_the_hint_is_right_for_a_profile_that_is_not_found_by_its_name(
    world: World, pair: tuple[OpenSSHServer, OpenSSHServer], by: str
) -> None:
    gateway, inner = pair
    world.alias("gate", gateway)
    world.alias("work", inner)
    config = world.home / ".ssh" / "config"
    known = world.home / "known"
    text = config.read_text().replace(str(inner.known_hosts), str(known))
    config.write_text(f"Host work\n  ProxyJump gate\n{text}")
    file = world.home / "elsewhere.yaml"
    file.write_text('forwards: {f: {local: 0, to: "127.0.0.1:9", via: work}}\n')
    arguments = {"-L": ("-L", "0:127.0.0.1:9", "work"), "-f": ("-f", str(file))}[by]
    refused = world.run("up", "-d", *arguments)
    assert refused.returncode == 77, refused.stderr
    hint = re.search(r"tunnelctl (trust \S+/work --fingerprint [^)]+)", refused.stderr)
    assert hint is not None, refused.stderr
    world.ok(*shlex.split(hint[1]))
    assert inner.host_keys[0] in known.read_text()
    world.ok("up", "-d", *arguments)


def test_the_keys_of_hops_come_first(
    world: World, pair: tuple[OpenSSHServer, OpenSSHServer]
) -> None:
    gateway, inner = pair
    gateway.known_hosts.write_text("")
    inner.known_hosts.write_text("")
    hosts = {
        "gateway": gateway.host_yaml(),
        "inner": inner.host_yaml(proxy_jump="[gateway]"),
    }
    profile(world, hosts, web=f"local: {free_port()}, to: 9, via: inner")
    for server in (gateway, inner):
        shown = world.run("trust", "dev/inner")
        assert shown.returncode == 77
        address, _, fingerprint = shown.stdout.split()
        assert address == f"127.0.0.1:{server.port}"
        assert f"tunnelctl trust dev/inner --fingerprint {fingerprint}" in shown.stderr or (
            server is gateway and f"--fingerprint {fingerprint}" in shown.stderr
        )
        world.ok("trust", "dev/inner", "--fingerprint", fingerprint)
        assert server.host_keys[0] in server.known_hosts.read_text()
    assert "is already known" in world.run("trust", "dev/inner").stderr
    world.ok("up", "dev", "-d")


def test_a_host_that_the_profile_does_not_have(world: World) -> None:
    profile(world, {"a": "{hostname: a.example}"}, web="local: 1234, to: 9, via: a")
    assert world.run("trust", "dev/b").returncode == 2
    assert world.run("trust", "nowhere/b").returncode == 66
    assert world.run("trust", "dev/a", "--known-hosts", "x").returncode == 2
