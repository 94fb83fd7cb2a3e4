"""A MariaDB of the test's own on 127.0.0.1, and a client that looks like one to it.

MariaDB counts no failed connection of 127.0.0.1 itself; a client here comes from another loopback
address, as a bastion does.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from tests.support.database import DatabaseServer
from tests.support.services import CHUNK, DEADLINE, Service

BASTION = "127.0.0.2"  # where `Bastion` comes from
_SHARES = (Path("/usr/share/mysql"), Path("/usr/share/mariadb"))
_OPTIONS = (
    "--no-defaults",
    "--innodb-use-native-aio=0",
    "--innodb-log-file-size=4M",
    "--innodb-buffer-pool-size=8M",
    "--skip-log-bin",
)
# Named mysql_… up to MariaDB 10.11.
_SYSTEM_TABLES = ("m*_system_tables.sql", "m*_system_tables_data.sql")
_BLOCKED = (1129).to_bytes(2, "little")  # ER_HOST_IS_BLOCKED, behind the byte of an error packet


def _program() -> str:
    """The server's program; skips the test where there is none. .ci/run installs it."""
    found = shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin")
    if found is None:
        pytest.skip("mariadbd is not installed")
    return found


def _system_tables() -> str:
    """The SQL that creates the tables of a new server."""
    files = [
        next(file for share in _SHARES for file in share.glob(name)) for name in _SYSTEM_TABLES
    ]
    return "".join(file.read_text() for file in files)


class MariaDB(DatabaseServer):
    """Lets a user `app` without a password in from anywhere.

    `max_connect_errors`: so many connections in a row without a login, and a host is barred.
    """

    def __init__(self, max_connect_errors: int) -> None:
        program = _program()
        super().__init__("MariaDB")
        options = [program, *_OPTIONS, f"--datadir={self.data}", f"--tmpdir={self.data}"]
        if self.user is not None:
            options.append(f"--user={self.user}")  # it changes to it by itself
        self._bootstrap(options)
        first = self.data / "init.sql"
        first.write_text("CREATE USER app@'%' IDENTIFIED BY '';\n")
        options += [
            "--bind-address=127.0.0.1",
            f"--port={self.port}",
            f"--socket={self.data / 'socket'}",
            f"--pid-file={self.data / 'pid'}",
            f"--max-connect-errors={max_connect_errors}",
            f"--init-file={first}",
            "--log-warnings=4",
        ]
        self.start(options, "ready for connections")

    def _bootstrap(self, options: list[str]) -> None:
        script = (
            f"CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n{_system_tables()}"
        )
        done = subprocess.run(  # noqa: PLW1510 - what it said is shown below
            [*options, "--bootstrap"],
            input=script,
            text=True,
            capture_output=True,
            timeout=DEADLINE,
        )
        assert done.returncode == 0, done.stderr

    @property
    def aborted(self) -> int:
        """How many connections ended without a login."""
        return self._log.read_text().count("user: 'unauthenticated'")


class Bastion(Service):
    """Connects each client to 127.0.0.1:`port` from BASTION's address, as a bastion that has one
    address for everybody behind it; ends both ways together."""

    def __init__(self, port: int) -> None:
        self._target = port
        super().__init__(self._carry)

    def _carry(self, client: socket.socket) -> None:
        address = ("127.0.0.1", self._target)
        with socket.create_connection(address, DEADLINE, (BASTION, 0)) as server:
            ways = ((server, client), (client, server))
            threads = [threading.Thread(target=_pump, args=way) for way in ways]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Carry bytes to the end of `source`; then neither is read on."""
    with contextlib.suppress(OSError):
        while data := source.recv(CHUNK):
            sink.sendall(data)
    for each in (source, sink):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


def is_barred(greeting: bytes) -> bool:
    """Whether a server's first bytes say that it lets this host in no more."""
    return greeting[4:5] == b"\xff" and greeting[5:7] == _BLOCKED
