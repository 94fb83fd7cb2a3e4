"""What a profile says becomes what the spec wants."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.config.conftest import Folder
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.spec.forward import Forward, Inspect, OnUnhealthy, Probe, ProbeType, Side, WhileDown
from tunnelctl.spec.host import AddressFamily, Host, Reconnect, SessionType, StrictHostKeyChecking
from tunnelctl.spec.permit import parse_permit
from tunnelctl.spec.secret import SecretRef, SecretSource

PIN = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"


def test_a_host_without_keys_is_its_own_name_and_safe(folder: Folder) -> None:
    assert folder.host("") == Host(name="b", hostname="b", port=22, user=None)
    assert folder.host("").strict_host_key_checking is StrictHostKeyChecking.YES


def test_every_key_of_a_host(folder: Folder) -> None:
    host = folder.load(
        f"""
hosts:
  b:
    hostname: b.example.com
    port: 2222
    user: alice
    address_family: inet6
    bind_address: "::1"
    identity_file: [keys/id, /abs/id]
    certificate_file: keys/id-cert.pub
    preferred_authentications: [publickey, password]
    identity_agent: none
    remember: true
    password: {{env: PW}}
    passphrase: {{command: [pass, show, "a b"]}}
    host_key: {PIN}
    user_known_hosts_file: known
    global_known_hosts_file: [all, /abs/all]
    known_hosts_command: [/bin/keys, "%H", "%I"]
    revoked_host_keys: krl
    host_key_alias: b
    strict_host_key_checking: accept-new
    connect_timeout: 5s
    server_alive_interval: 1m30s
    server_alive_count_max: 2
    ciphers: aes256-ctr, aes128-ctr
    kex_algorithms: [curve25519-sha256]
    macs: hmac-sha2-256
    host_key_algorithms: ssh-ed25519
    compression: false
    session_type: default
    lazy: true
    idle_timeout: 10m
    rekey_limit: 500M
    ssh_config: false
    reconnect: {{min: 500ms, max: 5m, stable_after: 10s, give_up_after: 1h}}
    embedded: false
"""
    ).profile.host("b")
    assert host == Host(
        name="b",
        hostname="b.example.com",
        port=2222,
        user="alice",
        address_family=AddressFamily.INET6,
        bind_address="::1",
        identity_file=(str(folder.path / "keys/id"), "/abs/id"),
        certificate_file=(str(folder.path / "keys/id-cert.pub"),),
        preferred_authentications=("publickey", "password"),
        identities_only=True,
        remember=True,
        identity_agent="none",
        password=SecretRef(SecretSource.ENV, ("PW",)),
        passphrase=SecretRef(SecretSource.COMMAND, ("pass", "show", "a b")),
        host_key=(PIN,),
        user_known_hosts_file=(str(folder.path / "known"),),
        global_known_hosts_file=(str(folder.path / "all"), "/abs/all"),
        known_hosts_command=("/bin/keys", "%H", "%I"),
        revoked_host_keys=(str(folder.path / "krl"),),
        host_key_alias="b",
        strict_host_key_checking=StrictHostKeyChecking.ACCEPT_NEW,
        session_type=SessionType.DEFAULT,
        connect_timeout=5.0,
        server_alive_interval=90.0,
        server_alive_count_max=2,
        ciphers=("aes256-ctr", "aes128-ctr"),
        kex_algorithms=("curve25519-sha256",),
        macs=("hmac-sha2-256",),
        host_key_algorithms=("ssh-ed25519",),
        lazy=True,
        idle_timeout=600.0,
        rekey_limit=500 << 20,
        reconnect=Reconnect(min=0.5, max=300.0, stable_after=10.0, give_up_after=3600.0),
    )


def test_every_key_of_a_forward(folder: Folder) -> None:
    assert folder.forward(
        'local: "0.0.0.0:5432", to: "db:1", while_down: {hold: 30s}, required: false, '
        "max_connections: 5, expose: true, labels: {team: web}, inspect: http, "
        "on_unhealthy: reconnect, probe: {type: http, interval: 5s, timeout: 1s, rise: 2, fall: 4, "
        "path: /up, status: 204}"
    ) == Forward(
        name="f",
        side=Side.HERE,
        listen=Endpoint("0.0.0.0", 5432),
        target=Endpoint("db", 1),
        via="b",
        while_down=WhileDown(30.0),
        max_connections=5,
        expose=True,
        required=False,
        probe=Probe(ProbeType.HTTP, 5.0, 1.0, 2, 4, "/up", 204),
        on_unhealthy=OnUnhealthy.RECONNECT,
        labels=(("team", "web"),),
        inspect=Inspect.HTTP,
    )


@pytest.mark.parametrize(
    ("keys", "side", "listen"),
    [
        ("local: 5432", Side.HERE, Endpoint("127.0.0.1", 5432)),
        ("local: 0", Side.HERE, Endpoint("127.0.0.1", 0)),
        ('local: "[::1]:80"', Side.HERE, Endpoint("::1", 80)),
        ("local: postgresql", Side.HERE, Endpoint("127.0.0.1", 5432)),
        ('local: "localhost:http"', Side.HERE, Endpoint("localhost", 80)),
        ('local: "*:80", expose: true', Side.HERE, Endpoint("*", 80)),
        # RFC 4254 section 7.1: `localhost` asks for the server's loopback.
        ("remote: 62893", Side.THERE, Endpoint("localhost", 62893)),
        ('remote: "127.0.0.1:0"', Side.THERE, Endpoint("127.0.0.1", 0)),
        ("remote: 010", Side.THERE, Endpoint("localhost", 10)),
    ],
)
def test_where_a_forward_listens(folder: Folder, keys: str, side: Side, listen: Endpoint) -> None:
    forward = folder.forward(f"{keys}, to: 80")
    assert (forward.side, forward.listen) == (side, listen)
    assert forward.target == Endpoint("127.0.0.1", 80)


def test_a_forward_is_required_and_holds_its_clients(folder: Folder) -> None:
    forward = folder.forward("local: 1, to: 2")
    assert forward.required
    assert forward.while_down == WhileDown(10.0)
    assert folder.forward("local: 1, to: 2, while_down: refuse").while_down == WhileDown(0.0)


def test_order_and_names_are_those_of_the_file(folder: Folder) -> None:
    profile = folder.load(
        "description: |\n  Two\n  lines\nhosts: {z: {}, a: {}}\nforwards:\n"
        "  z: {local: 1, to: 1, via: a}\n  a: {local: 2, to: 1, via: z}\n"
    ).profile
    assert profile.name == "dev"
    assert profile.source == str(folder.path / "dev.yaml")
    assert profile.description == "Two lines"
    assert [host.name for host in profile.hosts] == ["z", "a"]
    assert [forward.name for forward in profile.forwards] == ["z", "a"]


def test_hosts_alone_are_a_profile(folder: Folder) -> None:
    assert folder.load("hosts: {b: {}}").profile.forwards == ()


def test_defaults_lie_under_every_host(folder: Folder) -> None:
    profile = folder.load(
        """
defaults:
  user: alice
  connect_timeout: 5s
  password: {env: PW}
  reconnect: {min: 2s, max: 4s}
hosts:
  one: {}
  two:
    user: null
    connect_timeout: 6s
    password: {file: /run/pw}
    reconnect: {max: 8s}
"""
    ).profile
    one, two = profile.hosts
    assert (one.user, one.connect_timeout) == ("alice", 5.0)
    assert one.reconnect == Reconnect(min=2.0, max=4.0)
    assert (two.user, two.connect_timeout) == (None, 6.0)
    assert two.reconnect == Reconnect(min=2.0, max=8.0)
    assert two.password == SecretRef(SecretSource.FILE, ("/run/pw",))


def test_naming_a_key_means_no_other_unless_said(folder: Folder) -> None:
    assert folder.host("identity_file: /k").identities_only
    assert not folder.host("identity_file: /k, identities_only: false").identities_only
    assert not folder.host("").identities_only


def test_none_names_no_file(folder: Folder) -> None:
    host = folder.host("identity_file: none, certificate_file: none, user_known_hosts_file: none")
    assert host.identity_file == ("none",)
    assert host.certificate_file == ()
    assert host.user_known_hosts_file == (os.devnull,)
    assert not host.identities_only
    assert folder.host("identity_file: [None, /k, ./none]").identity_file == (
        "/k",
        str(folder.path / "none"),
    )


def test_paths_are_relative_to_the_file_and_home_expands(folder: Folder) -> None:
    environ = {"HOME": "/home/me"}
    host = folder.host(
        "identity_file: [~/id, ../id, ~root/id], identity_agent: ./agent.sock, "
        "password: {file: pw}",
        environ,
    )
    root = Path("~root").expanduser()
    assert host.identity_file == ("/home/me/id", str(folder.path.parent / "id"), f"{root}/id")
    assert host.identity_agent == str(folder.path / "agent.sock")
    assert host.password == SecretRef(SecretSource.FILE, (str(folder.path / "pw"),))


@pytest.mark.parametrize(
    ("keys", "seconds"), [("15", 15.0), ("15s", 15.0), ("0.5s", 0.5), ('"2m"', 120.0)]
)
def test_a_bare_number_is_seconds_as_in_ssh_config(
    folder: Folder, keys: str, seconds: float
) -> None:
    assert folder.host(f"connect_timeout: {keys}").connect_timeout == seconds


def test_never_is_never(folder: Folder) -> None:
    assert folder.host("reconnect: {give_up_after: never}").reconnect.give_up_after is None


def test_words_of_ssh_config_that_mean_the_default(folder: Folder) -> None:
    assert folder.host("rekey_limit: default").rekey_limit is None
    assert folder.host("identity_agent: SSH_AUTH_SOCK").identity_agent is None


def test_the_same_variables_give_the_same_profile(folder: Folder) -> None:
    text = "hosts:\n  b:\n    user: ${A:-${B:-x}}\n    identity_file: ~/k\n"
    environ = {"A": "", "B": "bob", "HOME": "/home/me", "OTHER": "1"}
    loaded = folder.load(text, environ)
    sent = {name: environ[name] for name in loaded.variables}
    assert folder.load(text, sent) == loaded


def test_socks_forwards(folder: Folder) -> None:
    here = folder.forward("dynamic: 1080, allow: [10.0.0.0/8, 127.0.0.1]")
    assert (here.type, here.listen, here.target) == ("dynamic", Endpoint("127.0.0.1", 1080), None)
    assert [str(network) for network in here.allow] == ["10.0.0.0/8", "127.0.0.1/32"]
    there = folder.forward('remote_dynamic: 1081, permit: ["10.0.0.0/8:443", "db.internal:*"]')
    assert (there.type, there.listen) == ("remote_dynamic", Endpoint("localhost", 1081))
    assert there.permit == (parse_permit("10.0.0.0/8:443"), parse_permit("db.internal:*"))


def test_unix_sockets_here_are_relative_to_the_file_and_there_are_the_servers(
    folder: Folder,
) -> None:
    here = folder.forward("local: ./docker.sock, to: /var/run/docker.sock")
    assert here.listen == Endpoint(path=str(folder.path / "docker.sock"))
    assert here.target == Endpoint(path="/var/run/docker.sock")
    socks = folder.forward("dynamic: ./socks.sock")
    assert socks.listen == Endpoint(path=str(folder.path / "socks.sock"))
    there = folder.forward("remote: /run/user/1000/web.sock, to: ./web.sock")
    assert there.listen == Endpoint(path="/run/user/1000/web.sock")
    assert there.target == Endpoint(path=str(folder.path / "web.sock"))


@pytest.mark.parametrize(
    ("keys", "probe"),
    [
        ("local: 1, to: 2", Probe(ProbeType.TCP, unasked=True)),
        ("remote: 1, to: 2", Probe(ProbeType.TCP, unasked=True)),
        ("local: 1, to: 2, probe: none", Probe(ProbeType.NONE)),
        ("local: 1, to: 2, probe: {type: none}", Probe(ProbeType.NONE)),
        ("local: 1, to: 2, probe: {interval: 1m}", Probe(ProbeType.TCP, interval=60.0)),
        ("local: 1, to: 2, probe: http", Probe(ProbeType.HTTP)),
        ("dynamic: 1", Probe(ProbeType.NONE, unasked=True)),
        ('remote_dynamic: 1, permit: ["10.0.0.0/8:443"]', Probe(ProbeType.NONE, unasked=True)),
        (
            "dynamic: 1, probe: {type: command, command: [curl, -x, y]}",
            Probe(ProbeType.COMMAND, command=("curl", "-x", "y")),
        ),
    ],
)
def test_a_fixed_target_is_asked_whether_it_lives(folder: Folder, keys: str, probe: Probe) -> None:
    assert folder.forward(keys).probe == probe


def test_a_secret_of_the_keyring(folder: Folder) -> None:
    host = folder.host("password: {keyring: work/ssh/alice}")
    assert host.password == SecretRef(SecretSource.KEYRING, ("work/ssh/alice",))
