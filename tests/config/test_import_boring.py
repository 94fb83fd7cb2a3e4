"""`import boring`: tunnels of boring become a profile; the rest is reported."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.config.importing import profile_of
from tunnelctl.config.exchange.from_boring import import_boring
from tunnelctl.errors import Failure

BORING = """
keep_alive = 60

[[tunnels]]
name = "dev"
local = "9000"
remote = "localhost:9000"
host = "dev-server"

[[tunnels]]
name = "back"
local = "[::1]:9001"
remote = 9001
host = "dev-server"
mode = "remote"

[[tunnels]]
name = "prod"
group = "production"
local = "5001"
remote = "db:5001"
host = "prod.example.com"
user = "root"
identity = "~/.ssh/id_prod"
port = 2222

[[tunnels]]
name = "ports"
local = "8000-8001,8080"
remote = "web:9000-9001,80"
host = "${SERVER:-dev-server}"
color = "red"

[[tunnels]]
name = "prox"
local = "1080"
host = "dev-server"
mode = "socks"

[[tunnels]]
name = "rev"
remote = "1081"
host = "dev-server"
mode = "socks-remote"

[[tunnels]]
name = "many"
host = "prod.example.com"
user = "alice"
keep_alive = 0
  [[tunnels.forward]]
  name = "db"
  local = "/tmp/db.sock"
  remote = "/run/db.sock"
"""


def test_boring() -> None:
    imported = import_boring(BORING, {}, permit=("db:5432",))
    assert imported.notes == [
        "ports: color has no counterpart here",
        "${SERVER:-dev-server} stands in the profile as what it is now: dev-server",
        "many: keep_alive 0; a silent server is always noticed here",
        "prod.example.com-2: the settings of prod.example.com in ssh_config are not used, "
        "because this host has its own",
    ]
    profile = profile_of(imported)
    assert [(f.name, f.type, str(f.listen), str(f.target), f.via) for f in profile.forwards] == [
        ("dev", "local", "127.0.0.1:9000", "localhost:9000", "dev-server"),
        ("back", "remote", "localhost:9001", "[::1]:9001", "dev-server"),
        ("prod", "local", "127.0.0.1:5001", "db:5001", "prod.example.com"),
        ("ports-1", "local", "127.0.0.1:8000", "web:9000", "dev-server"),
        ("ports-2", "local", "127.0.0.1:8001", "web:9001", "dev-server"),
        ("ports-3", "local", "127.0.0.1:8080", "web:80", "dev-server"),
        ("prox", "dynamic", "127.0.0.1:1080", "None", "dev-server"),
        ("rev", "remote_dynamic", "localhost:1081", "None", "dev-server"),
        ("many-db", "local", "/tmp/db.sock", "/run/db.sock", "prod.example.com-2"),
    ]
    prod = profile.host("prod.example.com")
    assert (prod.user, prod.port, prod.server_alive_interval) == ("root", 2222, 60)
    assert prod.identity_file[0].endswith("/.ssh/id_prod")
    assert profile.host("prod.example.com-2").hostname == "prod.example.com"
    assert profile.forwards[2].labels == (("group", "production"),)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[[tunnels", "is no TOML: Expected"),
        ("[[tunnels]]\nlocal = 1\n", "a tunnel has no name"),
        ("[[tunnels]]\nname = 'a'\nhost = 'b'\nlocal = 1\n", "tunnel a: needs remote"),
        ("[[tunnels]]\nname = 'a'\nhost = 'b'\nmode = 'x'\n", "tunnel a: 'x' is not a mode"),
        (
            "[[tunnels]]\nname = 'a'\nhost = 'b'\nlocal = '1-2'\nremote = 'c:1'\n",
            "tunnel a: 1-2 and c:1 are not equally many ports",
        ),
        ("[[tunnels]]\nname = 'a'\nhost = '$NONE'\n", "tunnel a: variable NONE is not set"),
    ],
)
def test_what_boring_would_refuse(text: str, why: str) -> None:
    with pytest.raises(Failure, match=r".") as caught:
        import_boring(text, {})
    assert why in str(caught.value)


_toml_value = st.sampled_from(
    ["'a'", "80", "'80'", "'1-3'", "'0'", "true", "[1]", "{}", "'h:1,2'", "'/s'", "''", "'$HOME'",
     "-1", "'a b'", "'\\x01'"]
)  # fmt: skip
_toml_key = st.sampled_from(
    ["name", "local", "remote", "host", "user", "identity", "port", "mode", "group", "keep_alive"]
)


@given(st.lists(st.dictionaries(_toml_key, _toml_value), max_size=3))
def test_any_tables_of_boring_are_a_profile_or_a_failure(tables: list[dict[str, str]]) -> None:
    lines = [line for one in tables for line in ("[[tunnels]]", *map(" = ".join, one.items()))]
    with suppress(Failure):
        profile_of(import_boring("\n".join(lines), {"HOME": "/home/alice"}, permit=("db:1",)))
