"""The process at the other end of an accepted connection is named."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.nobody import as_nobody, needs_root
from tunnelctl.net.peers import peer_pid, peer_uid
from tunnelctl.net.processes.clients import SocketOwner, TcpPair, owners

USER = pwd.getpwuid(os.geteuid()).pw_name
# Connects, and stays until its standard input ends.
_CLIENT = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))):
    sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("listens", "address"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::", "127.0.0.1")]
)
def test_a_client_of_a_port(listens: str, address: str) -> None:
    family = socket.AF_INET6 if ":" in listens else socket.AF_INET
    with socket.create_server(
        (listens, 0), family=family, dualstack_ipv6=listens == "::"
    ) as server:
        port = server.getsockname()[1]
        with socket.create_connection((address, port)), server.accept()[0] as accepted:
            pair = TcpPair(accepted.getpeername()[:2], accepted.getsockname()[:2])
            found = owners({7: pair})
    name = Path("/proc/self/comm").read_text().strip()
    assert (found[7].pid, found[7].name, found[7].user) == (os.getpid(), name, USER)


@needs_root
def test_of_a_client_of_another_user_only_the_user_is_known() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = [sys.executable, "-c", _CLIENT, str(server.getsockname()[1])]
        with (
            subprocess.Popen(command, stdin=subprocess.PIPE) as process,
            server.accept()[0] as accepted,
        ):
            pair = TcpPair(accepted.getpeername(), accepted.getsockname())
            found = as_nobody(lambda: owners({7: pair}))
            process.communicate()
    assert isinstance(found, dict)
    assert (found[7].pid, found[7].name, found[7].user) == (None, "", "root")


def test_a_client_that_is_not_on_this_machine() -> None:
    assert owners({7: TcpPair(("192.0.2.1", 5000), ("127.0.0.1", 9))}) == {}


def test_a_client_of_a_unix_socket() -> None:
    one, other = socket.socketpair()
    with one, other:
        uid = peer_uid(one)
        assert uid is not None
        found = owners({7: SocketOwner(peer_pid(one), uid)})
    assert (found[7].pid, found[7].user) == (os.getpid(), USER)
