"""A host that no profile has is what `ssh` would reach by that name."""

from __future__ import annotations

import pytest

from tests.config.conftest import Folder
from tests.config.test_sshconfig import WAYS, configure
from tunnelctl.config.destination import find_host
from tunnelctl.errors import Code, Failure


@pytest.mark.parametrize("environ", WAYS)
@pytest.mark.parametrize(
    ("destination", "address", "user"),
    [
        ("web", "web.example.com:7", "alice"),
        ("bob@web", "web.example.com:7", "bob"),
        ("web:2222", "web.example.com:2222", "alice"),
        ("ssh://bob@web:2222", "web.example.com:2222", "bob"),
        ("[::1]:2222", "[::1]:2222", None),
        ("other", "other:22", None),
    ],
)
def test_name_user_and_port(
    folder: Folder, environ: dict[str, str], destination: str, address: str, user: str | None
) -> None:
    configure(folder, "Host web\n  HostName web.example.com\n  Port 7\n  User alice\n")
    host = find_host(destination, {**environ, "HOME": str(folder.home)})
    assert (host.address, host.user) == (address, user)


def test_its_hops_come_with_it(folder: Folder) -> None:
    configure(folder, "Host web\n  ProxyJump gate\nHost gate\n  Port 7\n")
    (hop,) = find_host("bob@web:9", {"HOME": str(folder.home)}).proxy_jump
    assert (hop.address, hop.user) == ("gate:7", None)


def test_what_is_none_is_refused(folder: Folder) -> None:
    environ = {"HOME": str(folder.home)}
    with pytest.raises(Failure, match="'-x' is not a host name") as caught:
        find_host("-x", environ)
    assert caught.value.code is Code.USAGE
    configure(folder, "Host *\n  IdentityFile %C\n")
    with pytest.raises(Failure, match="%C in a path of ssh_config is not supported") as caught:
        find_host("web", environ)
    assert caught.value.code is Code.CONFIG_INVALID
