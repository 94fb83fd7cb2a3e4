"""docs/faults.md, rows 5, 6 and 9: the server dies, stops, or is another one."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from tests.faults.conftest import AT_ONCE, BACK, NOTICED, PATIENT, Tunnel, is_reset
from tests.support.clients import exchange
from tests.support.keys import KeyKind, write_key
from tests.support.services import EchoService, Stream
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import BUSY, eventually
from tunnelctl.errors import Code


@pytest.mark.parametrize("how", ["its session", "all of it"])
def test_sshd_is_killed(tunnel: Tunnel, sshd: OpenSSHServer, how: str) -> None:
    with EchoService() as echo:
        tunnel.up(sshd, f"127.0.0.1:{echo.port}", **PATIENT)
        with tunnel.answering(), tunnel.connection() as client:
            assert exchange(client, b"before") == b"before"
            began = time.monotonic()
            if how == "its session":
                sshd.kill_sessions()
            else:
                sshd.kill()
            assert is_reset(client)
            assert time.monotonic() - began < AT_ONCE
            if how != "its session":
                tunnel.is_noticed(AT_ONCE)
                sshd.start()
            tunnel.is_back(BACK)


@pytest.mark.parametrize("doing", ["nothing", "an upload"])
def test_sshd_is_stopped(tunnel: Tunnel, sshd: OpenSSHServer, doing: str) -> None:
    with EchoService() as echo:
        tunnel.up(sshd, f"127.0.0.1:{echo.port}", connect_timeout="1s")
        with tunnel.answering(), tunnel.connection() as client:
            assert exchange(client, b"before") == b"before"
            upload = threading.Thread(target=pour_until_cut, args=(client,), name="upload")
            if doing == "an upload":
                upload.start()
            began = time.monotonic()
            sshd.pause()
            tunnel.is_noticed(NOTICED)
            if doing == "an upload":
                upload.join()
            else:
                assert is_reset(client)
            assert time.monotonic() - began < NOTICED
            sshd.resume()
            tunnel.is_back(BACK + 1)
        # The server's late answers to the first link were for nobody.
        assert tunnel.reconnects == 1


def pour_until_cut(client: socket.socket) -> None:
    """Send until the connection is cut."""
    with pytest.raises(ConnectionError):
        Stream(1 << 40).send(client)


def test_sshd_is_stopped_while_it_lets_us_in(tunnel: Tunnel, sshd: OpenSSHServer) -> None:
    with EchoService() as echo:
        tunnel.up(sshd, f"127.0.0.1:{echo.port}", connect_timeout="1s")
        with tunnel.answering():
            sshd.pause()
            tunnel.world.ok("restart", "dev")

            def gave_up() -> bool:
                error = tunnel.world.host("dev")["last_error"]
                return bool(error and error["code"] == Code.TIMED_OUT)

            eventually(gave_up, "the attempt has its time and no more", 1 + BUSY)
            sshd.resume()
            tunnel.is_back(BACK + 1)


def test_a_server_that_has_one_more_key(tunnel: Tunnel, sshd: OpenSSHServer) -> None:
    with EchoService() as echo:
        tunnel.up(sshd, f"127.0.0.1:{echo.port}")
        more = sshd.directory / "more"
        write_key(more, KeyKind.ECDSA)
        with tunnel.answering():
            # The known one is asked for, whichever the server would rather show.
            sshd.reconfigure(f"HostKey {more}")
            tunnel.is_back(BACK)


def test_a_server_whose_key_was_revoked(tunnel: Tunnel, sshd: OpenSSHServer) -> None:
    with EchoService() as echo:
        tunnel.up(sshd, f"127.0.0.1:{echo.port}")
        accepted = sshd.log.count("Accepted")
        with sshd.known_hosts.open("a") as known:
            known.write(f"@revoked * {sshd.host_keys[0]}\n")
        with tunnel.answering():
            sshd.kill_sessions()
            eventually(lambda: tunnel.state == "failed", "it is not used any more", BACK)
        host = tunnel.world.host("dev")
        assert "revoked" in host["last_error"]["message"]
        assert host["next_retry_at"] is None
        assert sshd.log.count("Accepted") == accepted
