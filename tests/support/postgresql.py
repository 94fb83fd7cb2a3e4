"""A PostgreSQL of a test's own on 127.0.0.1, with the database `shop` of docs/python.md."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import psycopg
import pytest

from tests.support.database import DatabaseServer
from tests.support.services import DEADLINE

USER = "alice"
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


class PostgreSQL(DatabaseServer):
    """Lets USER in without a password."""

    def __init__(self) -> None:
        initdb, postgres = _program("initdb"), _program("postgres")
        super().__init__("PostgreSQL")
        options = (
            "--auth=trust",
            f"--username={USER}",
            "--no-sync",
            "--encoding=UTF8",
            "--no-locale",
        )
        done = subprocess.run(
            [initdb, *options, f"--pgdata={self.data / 'db'}"],
            cwd=self.data,
            user=self.user,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        settings = {"listen_addresses": "127.0.0.1", "port": self.port, "fsync": "off"}
        settings |= {"unix_socket_directories": "", "shared_buffers": "8MB"}
        words = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        command = [postgres, "-D", str(self.data / "db"), *words]
        self.start(command, "ready to accept connections", self.user)
        self._create()

    def _create(self) -> None:
        where = f"host=127.0.0.1 port={self.port} user={USER}"
        with psycopg.connect(f"{where} dbname=postgres", autocommit=True) as connection:
            connection.execute("create database shop")
        with psycopg.connect(f"{where} dbname=shop") as connection:
            connection.execute(_TABLES)
