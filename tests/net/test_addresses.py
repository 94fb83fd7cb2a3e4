"""The process that listens on a port is named."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.nobody import NOBODY, as_nobody, needs_root
from tunnelctl.net.addresses import STOP_IT, PortHolder, port_holder


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
        assert str(port_holder(asked, port)) == holder_of(os.getpid())


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
        assert str(port_holder("127.0.0.1", port)) == holder_of(process.pid)
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


# A process that hides what it has open, as a daemon does (PR_SET_DUMPABLE), and holds a port.
_OPEN = """\
import socket, sys
with socket.create_server(("127.0.0.1", 0)) as listener:
    print(listener.getsockname()[1], flush=True)
    sys.stdin.read()
"""
_HIDDEN = f"import ctypes\nctypes.CDLL(None).prctl(4, 0, 0, 0, 0)\n{_OPEN}"


@contextmanager
def of_nobody(name: str, text: str) -> Iterator[tuple[int, int]]:
    """A program of that name that an ordinary user runs, with the argument `daemon`: its id, and
    the port that it holds."""
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if python is None:
        pytest.skip("no python that every user can run")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        program = Path(folder, name)
        program.write_text(text)
        with subprocess.Popen(
            [python, str(program), "daemon"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
        ) as process:
            assert process.stdout is not None
            yield process.pid, int(process.stdout.readline())
            process.communicate()


@needs_root
def test_an_ordinary_user_is_told_which_process_of_theirs_has_the_port() -> None:
    with of_nobody("service", _OPEN) as (pid, port):
        holder = as_nobody(lambda: port_holder("127.0.0.1", port))
    assert str(holder).startswith(f"pid {pid} (python3")
    assert isinstance(holder, PortHolder)
    assert holder.hint == STOP_IT


@needs_root
def test_a_port_of_another_users_names_the_user_and_stops_nobody() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _HIDDEN], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        holder = as_nobody(lambda: port_holder("127.0.0.1", port))
        process.communicate()
    assert isinstance(holder, PortHolder)
    assert holder.name == "a process of the user root"
    assert "stop" not in holder.hint


@needs_root
@pytest.mark.parametrize("name", ["tunnelctl", "other"])
def test_a_daemon_that_hides_from_its_own_user_is_known(name: str) -> None:
    with of_nobody(name, _HIDDEN) as (pid, port):
        seen_by_user = as_nobody(lambda: port_holder("127.0.0.1", port))
        seen_by_root = port_holder("127.0.0.1", port)
    if name == "other":
        assert seen_by_user is None
        assert str(seen_by_root).startswith(f"pid {pid} ")
        return
    for holder in (seen_by_user, seen_by_root):
        assert isinstance(holder, PortHolder)
        assert holder.name == f"another tunnelctl daemon, pid {pid}"
        assert "stop" not in holder.hint
