"""By which way a host is reached, and which hosts need a link of their own."""

from __future__ import annotations

import pytest

from tests.config.conftest import Folder
from tunnelctl.spec.host import Host, Proxy, ProxyKind
from tunnelctl.spec.secret import SecretRef, SecretSource


def chain(host: Host) -> list[str]:
    """The hops as `user@address`."""
    return [f"{hop.user or ''}@{hop.address}" for hop in host.proxy_jump]


@pytest.mark.parametrize(
    ("jump", "hops"),
    [
        ("gate", ["@gate:22"]),
        ("alice@gate:2222", ["alice@gate:2222"]),
        ("ssh://alice@gate:2222", ["alice@gate:2222"]),
        ('"[::1]:2222"', ["@[::1]:2222"]),
        ('"alice@[fe80::1%eth0]"', ["alice@[fe80::1%eth0]:22"]),
        ('"::1"', ["@[::1]:22"]),
        ("a@corp.example@gate", ["a@corp.example@gate:22"]),
        ('"one,two:1"', ["@one:22", "@two:1"]),
        ("[one, two, three]", ["@one:22", "@two:22", "@three:22"]),
        ("none", []),
    ],
)
def test_hops_by_name_user_and_port(folder: Folder, jump: str, hops: list[str]) -> None:
    assert chain(folder.host(f"ssh_config: false, proxy_jump: {jump}")) == hops


def test_a_hop_of_the_file_has_what_is_written_of_it_and_is_reached_by_its_own_way(
    folder: Folder,
) -> None:
    profile = folder.load(
        """
defaults: {connect_timeout: 5s, ssh_config: false}
hosts:
  far: {proxy_jump: "bob@near:2222"}
  near: {hostname: 10.0.0.2, user: alice, proxy_jump: outer, identity_file: /k}
  outer: {hostname: 10.0.0.1, proxy_command: [nc, "%h", "%p"]}
"""
    ).profile
    (far,) = profile.hosts
    assert chain(far) == ["@10.0.0.1:22", "bob@10.0.0.2:2222"]
    outer, near = far.proxy_jump
    assert outer.proxy_command == ("nc", "%h", "%p")
    assert (near.name, near.identity_file, near.connect_timeout) == ("near", ("/k",), 5.0)
    assert near.proxy_jump == ()


def test_a_later_hop_is_reached_from_the_one_before_it_as_in_openssh(folder: Folder) -> None:
    profile = folder.load(
        """
hosts:
  far: {proxy_jump: [one, two]}
  one: {}
  two: {proxy: "socks5://proxy:1080"}
"""
    ).profile
    (far,) = profile.hosts
    assert chain(far) == ["@one:22", "@two:22"]
    assert [hop.proxy for hop in far.proxy_jump] == [None, None]


def test_equal_chains_are_equal_values(folder: Folder) -> None:
    one, two = folder.load(
        "hosts: {a: {proxy_jump: gate}, b: {proxy_jump: gate}, gate: {user: x}}"
    ).profile.hosts
    assert one.proxy_jump == two.proxy_jump


def test_only_hosts_that_need_a_link_are_in_the_profile(folder: Folder) -> None:
    profile = folder.load(
        """
hosts:
  gate: {}
  first: {}
  second: {proxy_jump: inner, fallback: [third]}
  third: {proxy_jump: gate}
  inner: {}
forwards:
  f: {local: 1, to: 2, via: second}
  g: {local: 3, to: 4, via: gate}
"""
    ).profile
    assert [host.name for host in profile.hosts] == ["gate", "first", "second"]


def test_fallbacks_with_their_own_ways_and_their_own_fallbacks(folder: Folder) -> None:
    (host,) = folder.load(
        """
hosts:
  a: {fallback: [b, c]}
  b: {fallback: [c, d], proxy_jump: gate}
  c: {}
  d: {}
  gate: {}
"""
    ).profile.hosts
    assert [other.name for other in host.fallback] == ["b", "c", "d"]
    assert chain(host.fallback[0]) == ["@gate:22"]
    assert all(other.fallback == () for other in host.fallback)


@pytest.mark.parametrize("key", ["proxy_jump", "fallback"])
def test_a_loop_is_said_where_it_closes(folder: Folder, key: str) -> None:
    said = folder.mistakes(f"hosts:\n  c: {{{key}: a}}\n  a: {{{key}: b}}\n  b: {{{key}: a}}\n")
    assert said == [
        f"dev.yaml:3:{9 + len(key)}: hosts.a.{key}: goes round for ever: b, then a, then b; "
        f"give one of them `{key}: none`",
        f"dev.yaml:4:{9 + len(key)}: hosts.b.{key}: goes round for ever: a, then b, then a; "
        f"give one of them `{key}: none`",
    ]


@pytest.mark.parametrize("key", ["proxy_jump", "fallback"])
def test_a_loop_is_said_together_with_other_mistakes(folder: Folder, key: str) -> None:
    said = folder.mistakes(f"hosts:\n  a: {{{key}: b}}\n  b: {{{key}: [a]}}\n  c: {{prot: 1}}\n")
    assert [line.split(" ", 1)[1].split(";")[0] for line in said] == [
        f"hosts.a.{key}: goes round for ever: b, then a, then b",
        f"hosts.b.{key}: goes round for ever: a, then b, then a",
        "hosts.c.prot: unknown key (did you mean port?)",
    ]


def test_a_default_jump_needs_a_host_that_has_none(folder: Folder) -> None:
    text = "defaults: {proxy_jump: gate}\nhosts:\n  a: {}\n"
    assert folder.mistakes(text) == [
        "dev.yaml:1:24: hosts.a.proxy_jump: goes round for ever: gate, then gate; "
        "give gate `proxy_jump: none`"
    ]
    (host,) = folder.load(text + "  gate: {proxy_jump: none}\n").profile.hosts
    assert chain(host) == ["@gate:22"]


def test_a_host_cannot_be_passed_twice(folder: Folder) -> None:
    text = "hosts:\n  a: {proxy_jump: [b, c, b]}\n"
    assert folder.mistakes(text) == ["dev.yaml:2:19: hosts.a.proxy_jump: leads through b twice"]


def test_nothing_leads_through_the_embedded_server(folder: Folder) -> None:
    said = folder.mistakes(
        "hosts:\n  a: {proxy_jump: e}\n  b: {fallback: e}\n  e: {embedded: true}\n"
    )
    assert [line.partition(": e is")[0] for line in said] == [
        "dev.yaml:2:19: hosts.a.proxy_jump",
        "dev.yaml:3:17: hosts.b.fallback",
    ]


def test_a_way_of_its_own_replaces_the_way_of_defaults(folder: Folder) -> None:
    hosts = folder.load(
        """
defaults: {proxy_jump: gate}
hosts:
  gate: {proxy_jump: none}
  plain: {}
  command: {proxy_command: [nc, "%h", "%p"]}
  proxied: {proxy: "http://proxy.example.com:8080"}
  straight: {proxy_command: none}
  server: {embedded: true}
"""
    ).profile.hosts
    plain, command, proxied, straight, server = hosts
    assert chain(plain) == ["@gate:22"]
    assert (command.proxy_jump, command.proxy_command) == ((), ("nc", "%h", "%p"))
    assert proxied.proxy == Proxy(ProxyKind.HTTP, "proxy.example.com", 8080)
    for host in (proxied, straight, server):
        assert (host.proxy_jump, host.proxy_command) == ((), ())


def test_a_proxy_with_a_login(folder: Folder) -> None:
    host = folder.host(
        'proxy: {url: "socks5://[::1]:1080", user: me, password: {file: pw}}', {"PW": "x"}
    )
    secret = SecretRef(SecretSource.FILE, (str(folder.path / "pw"),))
    assert host.proxy == Proxy(ProxyKind.SOCKS5, "::1", 1080, "me", secret)


@pytest.mark.parametrize("url", ["http://me:hunter2@h:1", "socks5://hunter2@h:1", "hunter2@h:1"])
def test_a_password_in_the_url_is_refused_and_never_repeated(folder: Folder, url: str) -> None:
    for key in (f'proxy: "{url}"', f'proxy: {{url: "{url}"}}'):
        (mistake,) = folder.host_mistakes(key)
        assert "hunter2" not in mistake


def test_the_variable_of_a_proxys_password_is_asked_for(folder: Folder) -> None:
    loaded = folder.load(
        "hosts: {b: {proxy: {url: 'http://h:1', user: me, password: {env: PROXY_PW}}}}"
    )
    assert loaded.variables == {"PROXY_PW", "HOME"}
