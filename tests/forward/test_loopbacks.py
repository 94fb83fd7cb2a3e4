"""A listener without an address is on both loopbacks, or on the one that there is, as with ssh."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys

import pytest

from tests.support.clients import ask
from tests.support.ports import free_port, has_ipv6
from tests.support.services import ReplyAfterEndService
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually
from tests.support.world import World

BOTH = ("127.0.0.1", "::1")
# What a listener on localhost comes to, without the loopback that is taken away first.
LISTEN = """
import asyncio
from tunnelctl.forward.listener import Listener
from tunnelctl.net.reactor import Reactor
from tunnelctl.spec.endpoint import Endpoint
async def main():
    reactor = Reactor(asyncio.get_running_loop())
    listener = await Listener.open(reactor, Endpoint("localhost", 5432), print)
    print(listener.endpoint, *(door.host for door in listener.doors))
    listener.close()
    reactor.close()
asyncio.run(main())
"""


@pytest.fixture
def bastion(world: World, sshd: OpenSSHServer) -> World:
    world.alias("bastion", sshd)
    return world


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_ssh_and_up_listen_on_the_same_addresses(bastion: World) -> None:
    by_ssh, by_us = free_port(), free_port()
    with ReplyAfterEndService(lambda asked: b"seen " + asked) as service:
        target = f"127.0.0.1:{service.port}"
        config = str(bastion.home / ".ssh" / "config")
        ssh = subprocess.Popen(
            ["ssh", "-F", config, "-N", "-L", f"{by_ssh}:{target}", "bastion"],
            stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            done = bastion.run("up", "-d", "-L", f"{by_us}:{target}", "bastion")
            assert done.returncode == 0, done.stderr
            for address in BOTH:
                eventually(functools.partial(answers, address, by_ssh), f"ssh is on {address}")
                assert answers(address, by_us)
        finally:
            ssh.terminate()
            ssh.wait()
        assert f"Forwarding from 127.0.0.1:{by_us} -> {target}" in done.stdout
        assert f"Forwarding from [::1]:{by_us} -> {target}" in done.stdout
        assert bastion.forward("bastion", f"local-{by_us}")["listen"] == f"localhost:{by_us}"
        # Whoever takes one address gets one: to some programs `localhost` is a unix socket.
        assert bastion.ok("port", f"bastion/local-{by_us}").strip() == f"127.0.0.1:{by_us}"


def answers(address: str, port: int) -> bool:
    try:
        return ask(port, b"it", address) == b"seen it"
    except OSError:
        return False


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take a loopback away")
@pytest.mark.parametrize(
    ("gone", "printed"),
    [
        ("127.0.0.1/8", "[::1]:5432 ::1"),
        ("::1/128", "127.0.0.1:5432 127.0.0.1"),
        (None, "localhost:5432 127.0.0.1 ::1"),
    ],
)
def test_one_loopback_is_enough_and_is_then_named(gone: str | None, printed: str) -> None:
    if shutil.which("unshare") is None or not has_ipv6():
        pytest.skip("needs unshare(1) and IPv6")
    remove = f"ip addr del {gone} dev lo && " if gone else ""
    script = f'ip link set lo up && {remove}exec "$0" -c "$1"'
    done = subprocess.run(
        ["unshare", "-n", "sh", "-c", script, sys.executable, LISTEN],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode and "unshare" in done.stderr:
        pytest.skip(f"no namespace here: {done.stderr}")
    assert done.stdout.strip() == printed, done.stderr
