"""A host named at the command line is the one that ssh would connect to."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunnelctl.config.profile.named import host_named
from tunnelctl.errors import Code, Failure


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    (tmp_path / ".ssh").mkdir(mode=0o700)
    return {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}


def _config(tmp_path: Path, text: str) -> None:
    file = tmp_path / ".ssh/config"
    file.write_text(text)
    file.chmod(0o600)


def test_user_and_port_as_typed(environ: dict[str, str]) -> None:
    host = host_named("ada@db.example:2200", environ)
    assert (host.name, host.hostname, host.user, host.port) == (
        "db.example",
        "db.example",
        "ada",
        2200,
    )


def test_an_alias_and_the_hop_before_it(environ: dict[str, str], tmp_path: Path) -> None:
    _config(
        tmp_path,
        "Host db\n  HostName 10.0.0.5\n  User bob\n  ProxyJump eve@gate:2022\n"
        "Host gate\n  HostName 192.0.2.1\n",
    )
    host = host_named("db", environ)
    assert (host.hostname, host.user) == ("10.0.0.5", "bob")
    assert [(h.hostname, h.user, h.port) for h in host.proxy_jump] == [("192.0.2.1", "eve", 2022)]


def test_what_was_typed_wins(environ: dict[str, str], tmp_path: Path) -> None:
    _config(tmp_path, "Host db\n  HostName 10.0.0.5\n  User bob\n  Port 2201\n")
    host = host_named("ada@db:2200", environ)
    assert (host.user, host.port) == ("ada", 2200)


def test_what_was_typed_is_not_for_the_hops(environ: dict[str, str], tmp_path: Path) -> None:
    _config(tmp_path, "Host db\n  ProxyJump gate\n")
    (hop,) = host_named("ada@db:2200", environ).proxy_jump
    assert (hop.address, hop.user) == ("gate:22", None)


def test_without_ssh_config(environ: dict[str, str], tmp_path: Path) -> None:
    _config(tmp_path, "Host db\n  HostName 10.0.0.5\n")
    assert host_named("db", environ, ssh_config=False).hostname == "db"


@pytest.mark.parametrize("name", ["-oProxyCommand=x", "a b", "", "user@", "h:99999"])
def test_what_is_no_name_is_refused(environ: dict[str, str], name: str) -> None:
    with pytest.raises(Failure) as caught:
        host_named(name, environ)
    assert caught.value.code is Code.CONFIG_INVALID
