"""The process that listens on a port is named."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from tunnelctl.net.addresses import port_holder


def holder_of(pid: int) -> str:
    with open(f"/proc/{pid}/comm") as file:
        return f"pid {pid} ({file.read().strip()})"


@pytest.mark.parametrize(
    ("bound", "asked"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "localhost"),
        ("127.0.0.1", "0.0.0.0"),
        ("127.0.0.1", "*"),
        ("0.0.0.0", "127.0.0.1"),
        ("::1", "::1"),
        ("::1", "localhost"),
        ("::1", "::"),
        ("::", "127.0.0.1"),
    ],
)
def test_a_listener_of_ours_is_found(bound: str, asked: str) -> None:
    family = socket.AF_INET6 if ":" in bound else socket.AF_INET
    with socket.create_server((bound, 0), family=family) as listener:
        port = listener.getsockname()[1]
        assert port_holder(asked, port) == holder_of(os.getpid())


def test_a_listener_of_another_process_is_found() -> None:
    program = (
        "import socket, sys; s = socket.create_server(('127.0.0.1', 0));"
        "print(s.getsockname()[1], flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        assert port_holder("127.0.0.1", port) == holder_of(process.pid)
        process.communicate()


def test_another_address_is_not_in_the_way() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert port_holder("127.0.0.2", port) is None
        assert port_holder("::1", port) is None


def test_a_connection_is_not_a_listener() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
    ):
        assert port_holder("127.0.0.1", client.getsockname()[1]) is None


def test_nothing_is_known_of_a_port_that_nobody_holds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert port_holder("127.0.0.1", port) is None
