"""ssh's own forward specs mean here what they mean to ssh."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.config.conftest import Folder
from tests.config.sshconfigs import SSH, needs_ssh
from tunnelctl.config.values.forward_specs import (
    ForwardSpec,
    dynamic_spec,
    halves,
    local_spec,
    remote_spec,
    spec_of,
)
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.spec.forward import Forward, Side

_DB = Endpoint("db", 5432)


@pytest.mark.parametrize(
    ("text", "listen", "target"),
    [
        ("5432:db:5432", Endpoint("localhost", 5432), _DB),
        ("0:db:5432", Endpoint("localhost", 0), _DB),
        ("localhost:5432:db:5432", Endpoint("localhost", 5432), _DB),
        ("10.0.0.1:5432:db:5432", Endpoint("10.0.0.1", 5432), _DB),
        ("*:5432:db:5432", Endpoint("*", 5432), _DB),
        (":5432:db:5432", Endpoint("*", 5432), _DB),
        ("[::1]:5432:[2001:db8::1]:5432", Endpoint("::1", 5432), Endpoint("2001:db8::1", 5432)),
        ("5432:/run/db.sock", Endpoint("localhost", 5432), Endpoint(path="/run/db.sock")),
        ("10.0.0.1:5432:/run/db", Endpoint("10.0.0.1", 5432), Endpoint(path="/run/db")),
        ("/tmp/db.sock:db:5432", Endpoint(path="/tmp/db.sock"), _DB),
        ("http:db:postgresql", Endpoint("localhost", 80), _DB),
        ("/tmp/a:/run/b", Endpoint(path="/tmp/a"), Endpoint(path="/run/b")),
        ("/a b/c:/d e", Endpoint(path="/a b/c"), Endpoint(path="/d e")),
        ("/a\\:b:[/c:d]", Endpoint(path="/a:b"), Endpoint(path="/c:d")),
        ("80:/a[b]", Endpoint("localhost", 80), Endpoint(path="/a[b]")),
        (" 80:\\[/a\\\\b]", Endpoint("localhost", 80), Endpoint(path="[/a\\b]")),
    ],
)
def test_local(text: str, listen: Endpoint, target: Endpoint) -> None:
    assert local_spec(text) == ForwardSpec(Side.HERE, listen, target)


@pytest.mark.parametrize(
    ("text", "listen", "target"),
    [
        ("8080:localhost:3000", Endpoint("localhost", 8080), Endpoint("localhost", 3000)),
        ("*:8080:localhost:3000", Endpoint("*", 8080), Endpoint("localhost", 3000)),
        ("0:localhost:3000", Endpoint("localhost", 0), Endpoint("localhost", 3000)),
        ("8080", Endpoint("localhost", 8080), None),
        (":8080", Endpoint("*", 8080), None),
    ],
)
def test_remote(text: str, listen: Endpoint, target: Endpoint | None) -> None:
    assert remote_spec(text) == ForwardSpec(Side.THERE, listen, target)


@pytest.mark.parametrize(
    ("text", "listen"),
    [
        ("1080", Endpoint("localhost", 1080)),
        ("[::1]:1080", Endpoint("::1", 1080)),
        (":1080", Endpoint("*", 1080)),
        ("/run/socks", Endpoint(path="/run/socks")),
    ],
)
def test_dynamic(text: str, listen: Endpoint) -> None:
    assert dynamic_spec(text) == ForwardSpec(Side.HERE, listen, None)


_WRONG = [
    (local_spec, "5432"),
    (local_spec, ""),
    (local_spec, "5432:db"),
    (local_spec, "5432:db:0"),
    (local_spec, "5432::22"),
    (local_spec, "5432:a b:22"),
    (local_spec, "a b:5432:db:22"),
    (local_spec, "5432:db:no-service"),
    (local_spec, "70000:db:22"),
    (local_spec, "a:b:c:d:e"),
    (local_spec, "x:db:22"),
    (local_spec, "[::1:5432:db:22"),
    (local_spec, "[::1]x:5432:db:22"),
    (local_spec, "::1:5432:db:22"),
    (dynamic_spec, "1080:db:22"),
    (remote_spec, "/run/socks"),
    (remote_spec, "x"),
]


# ssh takes these, and fails only when it uses them: what comes over a socket of the server is no
# SOCKS client to it, and no name is empty or has a blank.
_LET_BY = ("/run/socks", "5432::22", "5432:a b:22", "a b:5432:db:22")


@pytest.mark.parametrize(("parse", "text"), _WRONG)
def test_what_ssh_would_refuse(parse: Callable[[str], ForwardSpec], text: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse(text)
    assert repr(text) in str(caught.value)


@pytest.mark.skipif(shutil.which("ssh") is None, reason="needs OpenSSH's client")
@pytest.mark.parametrize(("parse", "text"), [row for row in _WRONG if row[1] not in _LET_BY])
def test_ssh_refuses_it_too(parse: Callable[[str], ForwardSpec], text: str) -> None:
    options: dict[object, str] = {local_spec: "-L", dynamic_spec: "-D", remote_spec: "-R"}
    option = options[parse]
    command = ["ssh", "-F", "/dev/null", "-G", option, text, "host.invalid"]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


_hosts = st.sampled_from(["db", "10.0.0.7", "localhost", "::1", "*"])
_ports = st.integers(1, 65535)
_paths = st.text("a :\\[]'\"#%$~", max_size=5).map(lambda text: Endpoint(path=f"[/{text}"))
_listens = st.builds(Endpoint, _hosts, _ports) | _paths
_targets = st.builds(Endpoint, _hosts.filter(lambda host: host != "*"), _ports) | _paths


@given(st.sampled_from(Side), _listens, _targets)
def test_written_and_read_again(side: Side, listen: Endpoint, target: Endpoint) -> None:
    spec = spec_of(Forward("f", side, listen, target, "bastion"))
    read = {"-L": local_spec, "-R": remote_spec}[spec.option](str(spec))
    assert read == spec
    assert ":".join(halves(str(spec))) == str(spec)
    assert len(halves(str(spec))) == 2


@needs_ssh
@pytest.mark.parametrize(("option", "parse"), [("-L", local_spec), ("-R", remote_spec)])
def test_a_home_on_the_server_is_refused_where_ssh_sends_it_as_it_is(
    option: str, parse: Callable[[str], ForwardSpec]
) -> None:
    text = "8080:~/x.sock" if option == "-L" else "~/x.sock:/run/y"
    done = subprocess.run(
        [SSH, "-G", "-F", "none", option, text, "b"], capture_output=True, text=True, check=True
    )
    assert f"forward {text.replace(':', ' ')}\n" in done.stdout
    with pytest.raises(ValueError, match="is a path on the server, where ~ is not expanded"):
        parse(text)


def test_a_home_here_is_a_path(folder: Folder) -> None:
    assert folder.forward("local: ~/x.sock, to: 1").listen.path == f"{folder.home}/x.sock"
    target = folder.forward("remote: 1, to: ~/x.sock").target
    assert target is not None
    assert target.path == f"{folder.home}/x.sock"
