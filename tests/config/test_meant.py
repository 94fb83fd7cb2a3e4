"""A key of another program's is told what it is called here, and no second mistake comes of it."""

from __future__ import annotations

import time

import pytest

from tests.config.conftest import REST, Folder
from tunnelctl.spec.host import Host

_FORWARD = "local: 1, to: 2, via: b"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("tunnels", "forwards"),
        ("services", "forwards"),
        ("ports", "forwards"),
        ("Forwards", "forwards"),
        ("host", "hosts"),
        ("servers", "hosts"),
        ("include", "extends"),
    ],
)
def test_at_the_top(folder: Folder, written: str, meant: str) -> None:
    assert folder.mistakes(f"{written}: {{f: {{{_FORWARD}}}}}\n") == [
        f"dev.yaml:1:1: {written}: unknown key (did you mean {meant}?)"
    ]


@pytest.mark.parametrize(
    ("keys", "written", "meant"),
    [
        ("local: 1, target: db:2, via: b", "target", "to"),
        ("local: 1, dest: db:2, via: b", "dest", "to"),
        ("local: 1, to: db:2, host: b", "host", "via"),
        ("local: 1, to: db:2, server: b", "server", "via"),
        ("listen: 1, to: db:2, via: b", "listen", "local"),
        ("LocalForward: 1, to: db:2, via: b", "LocalForward", "local"),
        ("remote_port: 1, to: db:2, via: b", "remote_port", "remote"),
        ("socks: 1, via: b", "socks", "dynamic"),
        (f"{_FORWARD}, healthcheck: tcp", "healthcheck", "probe"),
        (f"{_FORWARD}, max-connections: 1", "max-connections", "max_connections"),
        (f"{_FORWARD}, probe: {{every: 1s}}", "probe.every", "interval"),
        (f"{_FORWARD}, while_down: {{wait: 1s}}", "while_down.wait", "hold"),
    ],
)
def test_in_a_forward(folder: Folder, keys: str, written: str, meant: str) -> None:
    (mistake,) = folder.mistakes(f"{REST}forwards: {{f: {{{keys}}}}}\n")
    assert mistake.endswith(f" forwards.f.{written}: unknown key (did you mean {meant}?)")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("host", "hostname"),
        ("HostName", "hostname"),
        ("address", "hostname"),
        ("username", "user"),
        ("IdentityFile", "identity_file"),
        ("identity", "identity_file"),
        ("key", "identity_file"),
        ("jump", "proxy_jump"),
        ("via", "proxy_jump"),
        ("keep_alive", "server_alive_interval"),
        ("ServerAliveInterval", "server_alive_interval"),
        ("known_hosts", "user_known_hosts_file"),
        ("fingerprint", "host_key"),
        ("retry", "reconnect"),
        ("timeout", "connect_timeout"),
    ],
)
def test_in_a_host(folder: Folder, written: str, meant: str) -> None:
    said = f"{written}: unknown key (did you mean {meant}?)"
    assert folder.host_mistakes(f"{written}: 1")[0].endswith(f"hosts.b.{said}")
    (mistake,) = folder.mistakes(f"defaults: {{{written}: 1}}\n{REST}")
    assert mistake.endswith(f"defaults.{said}")


def test_a_key_in_the_wrong_place(folder: Folder) -> None:
    text = f"{REST}user: me\nlocal: 1\nforwards: {{f: {{{_FORWARD}, port: 22}}}}\n"
    assert [mistake.partition(" ")[2] for mistake in folder.mistakes(text)] == [
        "user: unknown key (it belongs to a host, under `hosts`)",
        "local: unknown key (it belongs to a forward, under `forwards`)",
        "forwards.f.port: unknown key (it belongs to a host, under `hosts`)",
    ]
    (mistake,) = folder.host_mistakes("forwards: {}")
    assert mistake.endswith("unknown key (it belongs at the top of the file)")


def test_many_of_them_are_told_soon(folder: Folder) -> None:
    keys = ", ".join(f"wrong{number}: 1" for number in range(40_000))
    began = time.process_time()
    folder.host_mistakes(keys)
    assert time.process_time() - began < 15  # seconds; it is about one


def test_via_takes_what_up_takes(folder: Folder) -> None:
    text = "forwards:\n  a: {local: 1, to: 2, via: root@h:22422}\n"
    profile = folder.load(f"{text}  b: {{local: 2, to: 2, via: ssh://root@h:22422}}\n").profile
    (host,) = profile.hosts
    assert host == Host("h", "h", user="root", port=22422)
    assert [forward.via for forward in profile.forwards] == ["h", "h"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hosts: {h: {}}\nforwards:\n  a: {local: 1, to: 2, via: root@h}\n", "say user and port"),
        (
            "forwards:\n  a: {local: 1, to: 2, via: root@h}\n  b: {local: 2, to: 2, via: h}\n",
            "another forward goes via root@h; give each a name under `hosts`",
        ),
    ],
)
def test_one_name_is_one_login(folder: Folder, text: str, said: str) -> None:
    (mistake,) = folder.mistakes(text)
    assert said in mistake
