"""A PostgreSQL of a test's own on 127.0.0.1, with the database `shop` of docs/python.md."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
import pytest

from tests.support.ports import free_port
from tests.support.services import DEADLINE
from tests.support.waiting import eventually

USER = "alice"
_RUNS_AS = "nobody"  # postgres refuses to run as root
_TABLES = """
create table orders (customer text);
insert into orders values ('ann'), ('bob'), ('cid');
create table customers (name text);
insert into customers values ('ann'), ('bob');
"""


def _program(name: str) -> str:
    """The path of a program of the server; skips the test where there is none."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)  # Debian
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *map(str, folders)])
    found = shutil.which(name, path=path)
    if found is None:
        pytest.skip("PostgreSQL is not installed")
    return found


class PostgreSQL:
    """Lets USER in without a password. A context manager."""

    def __init__(self) -> None:
        initdb, postgres = _program("initdb"), _program("postgres")
        self.port = free_port()
        # Not below pytest's folder, where nobody but the user who runs the tests may look.
        self._folder = tempfile.TemporaryDirectory(prefix="tctl-postgresql-")
        data = Path(self._folder.name)
        self._user = None
        if os.geteuid() == 0:
            shutil.chown(data, _RUNS_AS)
            self._user = _RUNS_AS
        options = (
            "--auth=trust",
            f"--username={USER}",
            "--no-sync",
            "--encoding=UTF8",
            "--no-locale",
        )
        done = subprocess.run(
            [initdb, *options, f"--pgdata={data / 'db'}"],
            cwd=data,
            user=self._user,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        settings = {"listen_addresses": "127.0.0.1", "port": self.port, "fsync": "off"}
        settings |= {"unix_socket_directories": "", "shared_buffers": "8MB"}
        words = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        self._log = data / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [postgres, "-D", str(data / "db"), *words],
                cwd=data,
                user=self._user,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        eventually(self._is_ready, "PostgreSQL is ready")
        self._create()

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        return "ready to accept connections" in self._log.read_text()

    def _create(self) -> None:
        where = f"host=127.0.0.1 port={self.port} user={USER}"
        with psycopg.connect(f"{where} dbname=postgres", autocommit=True) as connection:
            connection.execute("create database shop")
        with psycopg.connect(f"{where} dbname=shop") as connection:
            connection.execute(_TABLES)

    def close(self) -> None:
        """End the server."""
        self._process.terminate()
        self._process.wait(DEADLINE)
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
