"""`import ssh-config`: forwards of ssh_config become a profile; the rest is reported."""

from __future__ import annotations

import subprocess

import pytest

from tests.config.conftest import Folder
from tests.config.importing import profile_of
from tests.config.sshconfigs import SSH, WAYS, configure
from tunnelctl.config.exchange.from_ssh_command import import_ssh_command
from tunnelctl.config.exchange.from_ssh_config import import_ssh_config
from tunnelctl.errors import Failure


@pytest.mark.parametrize("environ", WAYS)
def test_ssh_config_is_read_as_ssh_reads_it(folder: Folder, environ: dict[str, str]) -> None:
    configure(
        folder,
        "Host web\n  HostName web.example.com\n  LocalForward 5432 db:5432\n"
        "  LocalForward 5433 /run/db.sock\n  LocalForward [::1]:80 [2001:db8::1]:80\n"
        "  RemoteForward 8080 localhost:3000\n  RemoteForward 1081\n  DynamicForward 1080\n"
        "  PermitRemoteOpen db:5432 *:80\n"
        "Host open\n  GatewayPorts yes\n  LocalForward 6000 x:6000\n"
        "  LocalForward localhost:6001 x:6001\n  LocalForward 127.0.0.1:5432 y:5432\n"
        "Host plain\n  User alice\n",
    )
    environ = {**environ, "HOME": str(folder.home)}
    imported = import_ssh_config((), environ)
    assert imported.notes == [
        "PermitRemoteOpen '*' allows too much; write *.DOMAIN, or 0.0.0.0/0 for every host",
        "-L 127.0.0.1:5432:y:5432: local-5432 listens there already",
    ]
    profile = profile_of(imported)
    assert {(f.via, f.type, str(f.listen), str(f.target)) for f in profile.forwards} == {
        ("web", "local", "localhost:5432", "db:5432"),
        ("web", "local", "localhost:5433", "/run/db.sock"),
        ("web", "local", "[::1]:80", "[2001:db8::1]:80"),
        ("web", "remote", "localhost:8080", "localhost:3000"),
        ("web", "remote_dynamic", "localhost:1081", "None"),
        ("web", "dynamic", "localhost:1080", "None"),
        ("open", "local", "*:6000", "x:6000"),
        ("open", "local", "localhost:6001", "x:6001"),
    }
    assert imported.hosts == {"web": {}, "open": {}}  # ssh_config goes on to say how
    assert import_ssh_config(("plain",), environ).notes == [
        "plain: ssh_config forwards nothing for it"
    ]


@pytest.mark.parametrize("environ", WAYS)
def test_what_ssh_config_clears_or_permits_in_so_many_words(
    folder: Folder, environ: dict[str, str]
) -> None:
    """ClearAllForwardings; and PermitRemoteOpen any, the default, where somebody wrote it."""
    configure(
        folder,
        "Host cleared\n  LocalForward 5432 db:5432\n  ClearAllForwardings yes\n"
        "Host any\n  RemoteForward 1081\n  PermitRemoteOpen any\n"
        "Host default\n  RemoteForward 1082\n",
    )
    environ = {**environ, "HOME": str(folder.home)}
    imported = import_ssh_config(("cleared", "any", "default"), environ)
    assert imported.notes == [
        "cleared: ssh_config forwards nothing for it",
        "-R 1082 through default: its clients would reach any address from here; "
        "say what they may with --permit HOST:PORT",
    ]
    assert {f.via for f in profile_of(imported).forwards} == {"any"}
    assert "::/0:*" in imported.forwards["socks-1081"]["permit"]


@pytest.mark.parametrize("environ", WAYS)
def test_the_address_family_of_ssh_config_applies_to_listeners_too(
    folder: Folder, environ: dict[str, str]
) -> None:
    configure(
        folder,
        "Host four\n  AddressFamily inet\n  LocalForward 6000 x:6000\n  DynamicForward 6001\n"
        "  RemoteForward 6002 x:6002\n"
        "Host six\n  AddressFamily inet6\n  GatewayPorts yes\n  LocalForward 6000 x:6000\n"
        "Host family\n  AddressFamily inet\nHost open\n  GatewayPorts yes\n",
    )
    environ = {**environ, "HOME": str(folder.home)}
    profile = profile_of(import_ssh_config(("four", "six"), environ))
    assert {(f.via, f.type, str(f.listen)) for f in profile.forwards} == {
        ("four", "local", "127.0.0.1:6000"),
        ("four", "dynamic", "127.0.0.1:6001"),
        ("four", "remote", "localhost:6002"),
        ("six", "local", "[::]:6000"),
    }
    for words, listen in (
        ("-L 80:a:80 family", "127.0.0.1:80"),
        ("-6 -L 80:a:80 family", "[::1]:80"),
        ("-L 80:a:80 open", "*:80"),
    ):
        imported = import_ssh_command((f"ssh {words}",), environ)
        assert imported.notes == []
        assert [rule["local"] for rule in imported.forwards.values()] == [listen]


_WITH_BLANKS = [  # a line of ssh_config, and the two sides that ssh -G prints for it
    ('LocalForward "/s p/a.sock" db:80', "/s p/a.sock", "db:80"),
    (r"LocalForward /s\ p/a.sock db:80", "/s p/a.sock", "db:80"),
    ('LocalForward 8080 "/s p/b.sock"', "localhost:8080", "/s p/b.sock"),
    ('LocalForward [::1]:8080 "/s p/b.sock"', "[::1]:8080", "/s p/b.sock"),
    ("LocalForward=\"/s p/a.sock\" '/t p/b.sock'  # both", "/s p/a.sock", "/t p/b.sock"),
    ('RemoteForward "/s p/a.sock" "/t p/b.sock"', "/s p/a.sock", "/t p/b.sock"),
    ('RemoteForward "/s /p/a" /t', "/s /p/a", "/t"),
    ('RemoteForward "/s p/%n\'s" 127.0.0.1:80', "/s p/b's", "127.0.0.1:80"),
    (r'LocalForward "/s p/a\\:b" [/c:d]', "/s p/a:b", "/c:d"),
    ('LocalForward "/s $p/100%%" "/${SIX} p/#%%n"', "/s $p/100%", "/6 p/#%n"),
]


@pytest.mark.parametrize("environ", WAYS)
@pytest.mark.parametrize(("line", "listen", "target"), _WITH_BLANKS)
def test_a_path_may_have_blanks_and_whatever_a_name_can_have(
    folder: Folder, environ: dict[str, str], line: str, listen: str, target: str
) -> None:
    path = configure(folder, f"Host b\n  {line}\n")
    environ = {**environ, "HOME": str(folder.home), "SIX": "6"}
    imported = import_ssh_config((), environ)
    assert imported.notes == []
    rules = profile_of(imported).forwards
    assert [(str(rule.listen), str(rule.target)) for rule in rules] == [(listen, target)]
    if SSH:
        printed = subprocess.run(
            [SSH, "-G", "-F", path, "b"], env=environ, capture_output=True, text=True, check=True
        ).stdout
        assert f"forward {_as_printed(listen)} {_as_printed(target)}\n" in printed


def _as_printed(side: str) -> str:
    """ssh -G has a host in brackets, and a port alone for `localhost`."""
    host, _, port = side.rpartition(":")
    if "/" in side or side.startswith("["):
        return side
    return port if host == "localhost" else f"[{host}]:{port}"


@pytest.mark.parametrize("environ", WAYS)
@pytest.mark.parametrize(
    "line", ["LocalForward 80:db:80", 'LocalForward "80 db:80"', "LocalForward 80 db:80 more"]
)
def test_sides_that_ssh_does_not_find_are_not_found(
    folder: Folder, environ: dict[str, str], line: str
) -> None:
    configure(folder, f"Host b\n  {line}\n")
    with pytest.raises(Failure, match="line 2"):
        import_ssh_config((), {**environ, "HOME": str(folder.home)})


@pytest.mark.parametrize("environ", WAYS)
def test_a_name_that_no_host_can_have_is_left_out_and_said(
    folder: Folder, environ: dict[str, str]
) -> None:
    configure(
        folder, 'Host a/b "c d" -e\n  LocalForward 80 x:80\nHost web\n  LocalForward 81 x:81\n'
    )
    imported = import_ssh_config((), {**environ, "HOME": str(folder.home)})
    assert list(imported.hosts) == ["web"]
    assert [note.partition(" is ")[0] for note in imported.notes] == [
        "Host 'a/b'",
        "Host 'c d'",
        "Host '-e'",
    ]
