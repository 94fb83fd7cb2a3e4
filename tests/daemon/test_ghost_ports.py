"""A port on a server that a session of a killed daemon holds is known for our own."""

from __future__ import annotations

import os
import signal
import socket

from tests.support.ports import free_port
from tests.support.services import EchoService
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually
from tests.support.world import World


def test_a_port_that_a_session_of_the_killed_daemon_holds_is_known_for_ours(
    world: World, sshd: OpenSSHServer
) -> None:
    """And a stranger's is a stranger's."""
    port = free_port()
    with EchoService() as echo, socket.create_server(("127.0.0.1", 0)) as stranger:
        taken = stranger.getsockname()[1]
        world.tunnel(
            sshd,
            back=f"remote: {port}, to: {echo.port}",
            other=f"remote: {taken}, to: {echo.port}, required: false",
        )
        world.ok("up", "dev", "-d")
        ghosts = sshd.sessions
        for pid in ghosts:
            os.kill(pid, signal.SIGSTOP)
        try:
            world.kill_daemon()
            done = world.run("up", "dev", "-d")
            assert done.returncode == 76, done.stderr
            held = f"localhost:{port} on server is still held by an earlier session of ours"
            assert f"{held} (dev/back), whose connection was lost" in done.stderr
            assert "ClientAliveInterval in sshd_config there frees it sooner" in done.stderr
            assert world.forward("dev", "back")["last_error"]["code"] == "port-in-use"
            other = world.forward("dev", "other")["last_error"]
            assert other["message"].endswith(f"localhost:{taken} on server is in use")
            assert "ours" not in other["message"] + other["hint"]
            # So it is for the daemon after that one, and under another name.
            world.kill_daemon()
            done = world.run("down", "dev")
            assert done.returncode == 0
            world.tunnel(sshd, name="two", again=f"remote: {port}, to: {echo.port}")
            assert f"{held} (dev/back)" in world.run("up", "two", "-d").stderr
        finally:
            for pid in ghosts:
                os.kill(pid, signal.SIGCONT)
        eventually(lambda: world.forward("two", "again")["state"] == "up", "it is free")
        world.ok("down", "two")
        # What was given back in order is nobody's.
        with socket.create_server(("127.0.0.1", port)):
            done = world.run("up", "dev", "-d")
            assert f"localhost:{port} on server is in use" in done.stderr
            assert "earlier session" not in done.stderr
