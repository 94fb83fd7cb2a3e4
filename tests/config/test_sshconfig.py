"""What a profile leaves open comes from ssh_config, by OpenSSH's client and by our own reader."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.config.conftest import Folder
from tests.config.sshconfigs import ME, WAYS, by_client, by_own_reader, configure, needs_ssh
from tunnelctl.config.openssh.names import SYSTEM_FILE
from tunnelctl.config.openssh.reader import Asked
from tunnelctl.spec.algorithms import CIPHERS
from tunnelctl.spec.host import USERS_SHELL, AddressFamily, StrictHostKeyChecking

# Everything that the syntax can do, and the names that try it.
CONFIG = f"""\
# A comment
Host web web-* !web-old
  HostName %h.example.com
  Port = 2222
  User=alice
\tIdentityFile ~/.ssh/id_%r@%h:%p
  IdentityFile "~/a key"   # the second one
  IdentityFile ~/.ssh/id_%r@%h:%p
  CertificateFile '~/.ssh/cert'
  UserKnownHostsFile ~/.ssh/known ~/.ssh/more
  Port 1

HOST "two words" esc\\"aped "quoted"
  hostname "quoted.example.com"
  HostKeyAlias alias
  StrictHostKeyChecking off
  ServerAliveInterval 1m30s
  ServerAliveCountMax 7
  ConnectTimeout 5
  IdentitiesOnly yes
  IdentityAgent none
  RekeyLimit 1G 1h
  AddressFamily inet6
  BindAddress ::1
  PreferredAuthentications password,gssapi-with-mic,publickey
  PubkeyAuthentication no

Host accepts
  StrictHostKeyChecking accept-new
  IdentityAgent $MY_AGENT
  RekeyLimit 500M
  ChallengeResponseAuthentication no
  PasswordAuthentication no
  ConnectTimeout none
  ServerAliveInterval 0

Host jump
  ProxyJump carol@gate:2200,web
  ProxyCommand never %h
Host command
  ProxyCommand nc "-x" proxy # %h %p %r %n %%
  ProxyJump never
Host straight
  ProxyJump none
Host db?.example.com,comma
  User nobody
Host db?.example.com
  User dba
Host *.[x]
  User bracket
Host CamelCase
  HostName Camel.Example.COM
Host zone
  HostName fe80::1%%eth0

Include more.conf conf.d/*.conf
Host outer
  Include inner.conf
  User outer
Match host *.example.com,!web-no.example.com user alice
  ServerAliveCountMax 9
Match originalhost late
  HostName really-late
Match host really-late
  User later
Match !host *.example.com originalhost neg*
  Port 77
Match localuser {ME} originalhost mine
  Port 78
Match user {ME} originalhost mine
  ServerAliveCountMax 5
Match final host finally.example.com
  Port 79
Host finally
  HostName finally.example.com
Host finally.example.com
  User final
Match all
  ConnectTimeout 44
Host *
  User everybody
  ServerAliveInterval 33
"""
MORE = "Host included\n  User inc\n  Port 1001\nHost outer\n  Port 1002\n"
CONF_D = "Host web-3\n  HostKeyAlias from-conf-d\n"
INNER = "Port 1003\nHost outer\n  HostKeyAlias inner\nHost other\n  HostKeyAlias never\n"
NAMES = [
    *("web", "web-1", "web-old", "web-3", "web-no", "quoted", "accepts"),
    *("jump", "command", "straight", "db1.example.com", "db10.example.com", "a.x", "a.[x]"),
    *("CamelCase", "camelcase", "zone", "included", "outer", "other", "late", "negated"),
    *("neg.example.com", "mine", "finally", "finally.example.com", "10.0.0.1", "::1", "unknown"),
]


@pytest.fixture
def home(folder: Folder) -> Path:
    """A home with CONFIG in it."""
    ssh = folder.home / ".ssh"
    (ssh / "conf.d").mkdir(parents=True)
    for name, text in (
        ("config", CONFIG),
        ("more.conf", MORE),
        ("conf.d/a.conf", CONF_D),
        ("inner.conf", INNER),
    ):
        (ssh / name).write_text(text)
        (ssh / name).chmod(0o600)
    return folder.home


@contextmanager
def included_from(home: Path) -> Iterator[str]:
    """A file for `ssh -F` that reads the config of a home that is not the user's own."""
    path = home / "wrapper"
    path.write_text(f'Include "{home}/.ssh/config"\n')
    yield str(path)


@needs_ssh
@pytest.mark.parametrize("name", NAMES)
def test_our_reader_says_what_ssh_says(home: Path, name: str) -> None:
    environ = {**os.environ, "HOME": str(home)}
    asked, path = Asked(name, ME), home / ".ssh" / "config"
    with included_from(home) as wrapper:
        said = by_client(path, asked, environ, wrapper)
    assert by_own_reader(path, asked, environ) == said


@needs_ssh
@pytest.mark.parametrize(
    "given", [{"user": "bob"}, {"port": "99"}, {"hostname": "fe80::2%eth1"}, {"hostname": "x.y"}]
)
def test_what_the_profile_says_counts_when_blocks_are_chosen(
    folder: Folder, given: dict[str, str]
) -> None:
    path = configure(
        folder, "Match user bob\n  Port 5\nMatch host x.y\n  User x\nMatch all\n  HostName z\n"
    )
    environ = {**os.environ, "HOME": str(folder.home)}
    asked = Asked("web", ME, given)
    assert by_own_reader(path, asked, environ) == by_client(path, asked, environ)


@pytest.mark.parametrize("environ", WAYS)
def test_a_host_has_what_ssh_config_says_and_the_profile_leaves_open(
    folder: Folder, home: Path, environ: dict[str, str]
) -> None:
    web, quoted, accepts, jump, command, own = folder.load(
        """
defaults: {connect_timeout: 9s}
hosts:
  web: {}
  quoted: {}
  accepts: {}
  jump: {}
  command: {}
  web-1: {user: bob, port: 23, identity_file: /k, strict_host_key_checking: accept-new}
forwards:
  f: {local: 1, to: 2, via: web}
""",
        {**environ, "MY_AGENT": "/run/agent"},
    ).profile.hosts
    assert (web.hostname, web.port, web.user) == ("web.example.com", 2222, "alice")
    key = str(home / ".ssh/id_alice@web.example.com:2222")
    assert web.identity_file == (key, str(home / "a key"))
    assert web.certificate_file == (str(home / ".ssh/cert"),)
    assert not web.identities_only
    assert (web.connect_timeout, web.server_alive_interval) == (9.0, 33.0)
    assert web.server_alive_count_max == 9
    assert (quoted.host_key_alias, quoted.identity_agent) == ("alias", "none")
    assert quoted.identities_only
    assert quoted.strict_host_key_checking is StrictHostKeyChecking.YES
    assert quoted.rekey_limit == 1 << 30
    assert (quoted.address_family, quoted.bind_address) == (AddressFamily.INET6, "::1")
    assert accepts.strict_host_key_checking is StrictHostKeyChecking.ACCEPT_NEW
    assert quoted.preferred_authentications == ("password",)
    assert accepts.preferred_authentications == ("publickey",)
    assert accepts.identity_agent == "$MY_AGENT"
    gate, middle = jump.proxy_jump
    assert (gate.user, gate.address) == ("carol", "gate:2200")
    assert middle == replace(web, proxy_jump=())
    line = 'exec nc "-x" proxy # %h %p %r %n %%'
    assert command.proxy_command == (USERS_SHELL, "-c", line)
    assert (own.hostname, own.user, own.port) == ("web-1.example.com", "bob", 23)
    assert (own.identity_file, own.identities_only) == (("/k",), True)
    assert own.strict_host_key_checking is StrictHostKeyChecking.ACCEPT_NEW


@pytest.mark.parametrize("environ", WAYS)
def test_a_forward_goes_via_an_alias(folder: Folder, environ: dict[str, str]) -> None:
    configure(
        folder, "Host work\n  HostName w.example.com\n  ProxyJump gate\nHost gate\n  Port 7\n"
    )
    profile = folder.load(
        "defaults: {user: me}\nforwards:\n  f: {local: 1, to: 2, via: work}\n", environ
    ).profile
    (work,) = profile.hosts
    assert (work.name, work.hostname, work.user) == ("work", "w.example.com", "me")
    assert [hop.address for hop in work.proxy_jump] == ["gate:7"]
    assert profile.host(profile.forwards[0].via) is work


def test_any_name_of_a_host_will_do_but_not_a_slip(folder: Folder) -> None:
    configure(folder, "Host worker\n  Port 7\nHost *.lan\n  Port 8\n")
    text = "hosts: {bastion: {}}\nforwards:\n  f: {local: 1, to: 2, via: NAME}\n"
    for name in ("localhost", "bastion2.example.com", "worker", "nas.lan", "10.0.0.1"):
        assert folder.load(text.replace("NAME", name)).profile.hosts[-1].name == name
    for slip, meant in (("bastoin", "bastion"), ("wroker", "worker")):
        (mistake,) = folder.mistakes(text.replace("NAME", slip))
        assert mistake.startswith("dev.yaml:3:29: forwards.f.via: no host named")
        assert f"(did you mean {meant}?); if it is a host, add `{slip}: {{}}`" in mistake
        jumping = f"hosts:\n  bastion: {{}}\n  a: {{proxy_jump: [{slip}]}}\n"
        (mistake,) = folder.mistakes(jumping)
        assert mistake.startswith("dev.yaml:3:20: hosts.a.proxy_jump[0]: no host named")


@pytest.mark.parametrize("environ", WAYS)
def test_a_way_of_the_profile_is_the_only_one(folder: Folder, environ: dict[str, str]) -> None:
    configure(folder, "Host *\n  ProxyJump gate\n")
    hosts = folder.load(
        """
hosts:
  gate: {proxy_jump: none}
  more: {proxy: none}
  by-default: {}
  straight: {proxy_command: none}
  other: {proxy_jump: [gate, more]}
  server: {embedded: true}
""",
        environ,
    ).profile.hosts
    ways = {host.name: [hop.name for hop in host.proxy_jump] for host in hosts}
    assert ways == {
        "by-default": ["gate"],
        "straight": [],
        "other": ["gate", "more"],
        "server": [],
    }


@pytest.mark.parametrize("environ", WAYS)
def test_which_files_are_read(folder: Folder, environ: dict[str, str]) -> None:
    configure(folder, "Host b\n  Port 7\n")
    folder.write("Host b\n  Port 8\n", "own")
    assert folder.host("", environ).port == 7
    assert folder.host("ssh_config: true", environ).port == 7
    assert folder.host("ssh_config: false", environ).port == 22
    assert folder.host("ssh_config: ./own", environ).port == 8
    hop = folder.host("ssh_config: false, proxy_jump: c", environ).proxy_jump[0]
    assert hop.port == 22
    (mistake,) = folder.host_mistakes("ssh_config: ./gone")
    assert "gone: the file cannot be read: No such file" in mistake


@pytest.mark.parametrize("environ", WAYS)
def test_the_systems_file_comes_after_the_users(
    folder: Folder, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert SYSTEM_FILE == "/etc/ssh/ssh_config"
    system = folder.write("Host b\n  Port 9\n  User sys\n", "system")
    monkeypatch.setattr("tunnelctl.config.openssh.lookup.SYSTEM_FILE", str(system))
    configure(folder, "Host b\n  Port 7\n")
    host = folder.host("", environ)
    assert (host.port, host.user) == (7, "sys")


@pytest.mark.parametrize("environ", WAYS)
@pytest.mark.parametrize("more", ["ProxyJump gate", "ProxyCommand nc %h %p", "BindAddress ::1"])
def test_an_interface_counts_where_a_connection_leaves_from_it(
    folder: Folder, environ: dict[str, str], more: str
) -> None:
    configure(folder, f"Host b\n  BindInterface tun0\n  {more}\n")
    assert folder.host("", environ).name == "b"
    configure(folder, "Host b\n  BindInterface tun0\n")
    assert folder.host("proxy_jump: gate", environ).name == "b"


@pytest.mark.parametrize("environ", WAYS)
def test_a_pattern_stands_for_what_it_matches(folder: Folder, environ: dict[str, str]) -> None:
    configure(folder, "Host b\n  HostKeyAlgorithms ssh-ed25519*,rsa-sha2-512\n")
    found = folder.host("", environ).host_key_algorithms
    assert set(found) == {"ssh-ed25519-cert-v01@openssh.com", "ssh-ed25519", "rsa-sha2-512"}


@pytest.mark.parametrize("environ", WAYS)
@pytest.mark.parametrize(
    ("written", "ciphers"),
    [
        ("aes256-ctr,aes128-cbc", ("aes256-ctr",)),
        ("+aes128-cbc", ()),
        ("-*-gcm*,3des-cbc", tuple(name for name in CIPHERS if "-gcm" not in name)),
        ("^aes128-ctr", ("aes128-ctr", *(name for name in CIPHERS if name != "aes128-ctr"))),
    ],
)
def test_of_lists_of_algorithms_what_is_offered_here(
    folder: Folder, environ: dict[str, str], written: str, ciphers: tuple[str, ...]
) -> None:
    configure(folder, f"Host b\n  Ciphers {written}\n")
    found = folder.host("", environ).ciphers
    # What is taken away from a list leaves OpenSSH's own order, where its client is asked.
    assert sorted(found) == sorted(ciphers)
    assert found[:1] == ciphers[:1] or written.startswith("-")


@pytest.mark.parametrize("environ", WAYS)
@pytest.mark.parametrize(
    ("written", "users", "others"),
    [
        ("GlobalKnownHostsFile /g /h", (), ("/g", "/h")),
        ("GlobalKnownHostsFile /g\n  UserKnownHostsFile /u", ("/u",), ("/g",)),
        ("GlobalKnownHostsFile none\n  UserKnownHostsFile none", ("/dev/null",), ("/dev/null",)),
    ],
)
def test_keys_of_hosts_are_looked_for_in_all_files_that_are_named(
    folder: Folder,
    environ: dict[str, str],
    written: str,
    users: tuple[str, ...],
    others: tuple[str, ...],
) -> None:
    configure(folder, f"Host b\n  {written}\n")
    host = folder.host("", environ)
    assert (host.user_known_hosts_file, host.global_known_hosts_file) == (users, others)
    host = folder.host("user_known_hosts_file: /mine", environ)
    assert (host.user_known_hosts_file, host.global_known_hosts_file) == (("/mine",), others)


@pytest.mark.parametrize("environ", WAYS)
@pytest.mark.parametrize(
    ("written", "command"),
    [
        ("none", ()),
        ("/bin/keys", ("/bin/keys",)),
        ("/bin/keys %H %I %t-%f %K %h:%p %n %k", None),
        ('/bin/keys "a b" %d/x %% ${MY}', ("/bin/keys", "a b", "~/x", "%%", "50%%")),
    ],
)
def test_the_command_that_knows_keys(
    folder: Folder, environ: dict[str, str], written: str, command: tuple[str, ...] | None
) -> None:
    configure(folder, f"Host b\n  KnownHostsCommand {written}\n")
    found = folder.host("", {**environ, "MY": "50%"}).known_hosts_command
    expected = tuple(written.split()) if command is None else command
    assert found == tuple(word.replace("~", str(folder.home)) for word in expected)


def test_several_files_of_keys_that_are_revoked(folder: Folder) -> None:
    """As OpenSSH reads them since 10.3; before that it refused a second one."""
    configure(folder, 'Host b\n  RevokedHostKeys ~/krl-%h "/etc/my keys"\n')
    home = folder.home
    assert folder.host("", {"PATH": "/nonexistent"}).revoked_host_keys == (
        f"{home}/krl-b",
        "/etc/my keys",
    )
    assert folder.host(
        "revoked_host_keys: [one, ~/two]", {"PATH": "/nonexistent"}
    ).revoked_host_keys == (
        f"{folder.path}/one",
        f"{home}/two",
    )


@pytest.mark.parametrize("environ", WAYS)
def test_keys_that_are_revoked(folder: Folder, environ: dict[str, str]) -> None:
    configure(folder, "Host b\n  RevokedHostKeys ~/krl-%h\nHost c\n  RevokedHostKeys none\n")
    assert folder.host("", environ).revoked_host_keys == (str(folder.home / "krl-b"),)
    assert folder.host("revoked_host_keys: none", environ).revoked_host_keys == ()
    assert folder.host("hostname: c", environ).revoked_host_keys == (str(folder.home / "krl-c"),)


@pytest.mark.parametrize("environ", WAYS)
@pytest.mark.parametrize(
    ("written", "files"),
    [
        ("IdentityFile none", ("none",)),
        ("IdentityFile none\n  IdentityFile /k", ("/k",)),
        ("IdentityFile /k\n  IdentityFile None", ("/k",)),
        ("CertificateFile none", ()),
    ],
)
def test_none_is_no_key_file(
    folder: Folder, environ: dict[str, str], written: str, files: tuple[str, ...]
) -> None:
    configure(folder, f"Host b\n  {written}\n")
    host = folder.host("", environ)
    assert host.identity_file == files
    assert host.certificate_file == ()
    assert not host.identities_only


@pytest.mark.parametrize("environ", WAYS)
def test_a_home_is_that_of_the_environment_everywhere(
    folder: Folder, environ: dict[str, str]
) -> None:
    """OpenSSH takes the password database's, except for an Include; see docs/login.md."""
    configure(
        folder,
        "Host b\n  IdentityFile ~/k\n  CertificateFile %d/c\n  IdentityAgent ~/agent\n"
        '  UserKnownHostsFile ~/u "~/my known" %d/%%h\n  GlobalKnownHostsFile ~/g\n'
        "  RevokedHostKeys ~/r\nInclude ~/.ssh/more\n",
    )
    (folder.home / ".ssh" / "more").write_text("Host b\n  Port 7\n")
    (folder.home / ".ssh" / "more").chmod(0o600)
    host, home = folder.host("", environ), str(folder.home)
    files = (*host.identity_file, *host.certificate_file, host.identity_agent)
    assert files == (f"{home}/k", f"{home}/c", f"{home}/agent")
    assert host.user_known_hosts_file == (f"{home}/u", f"{home}/my known", f"{home}/%h")
    assert (host.global_known_hosts_file, host.revoked_host_keys) == (
        (f"{home}/g",),
        (f"{home}/r",),
    )
    assert host.port == 7


@pytest.mark.parametrize("environ", WAYS)
def test_a_server_that_is_never_asked(folder: Folder, environ: dict[str, str]) -> None:
    assert folder.host("server_alive_interval: 0", environ).server_alive_interval == 0
    assert folder.host("server_alive_interval: 0s", environ).server_alive_interval == 0
    configure(folder, "Host b\n  ServerAliveInterval 0\nHost *\n  ServerAliveInterval 7\n")
    assert folder.host("", environ).server_alive_interval == 0
    assert folder.host("server_alive_interval: 5s", environ).server_alive_interval == 5
    assert folder.host("hostname: c", environ).server_alive_interval == 0
    configure(folder, "Host c\n  ServerAliveInterval 0\nHost b\n  BatchMode yes\n  Port 7\n")
    assert folder.host("", environ).server_alive_interval == 15


@pytest.mark.parametrize("environ", WAYS)
def test_a_library_of_keys_is_known_of(folder: Folder, environ: dict[str, str]) -> None:
    configure(folder, "Host b\n  PKCS11Provider /usr/lib/p11.so\nHost c\n  SmartcardDevice none\n")
    assert folder.host("", environ).pkcs11_provider == "/usr/lib/p11.so"
    configure(folder, "PKCS11Provider none\n")
    assert folder.host("", environ).pkcs11_provider is None


@pytest.mark.parametrize("environ", WAYS)
def test_what_an_older_client_does_not_know_stays_on_offer(
    folder: Folder, environ: dict[str, str]
) -> None:
    """`^`, `+` and `-` change our list, and not the one that the client prints."""
    for written in ("^ecdh-sha2-nistp256", "-diffie-hellman-*", "+diffie-hellman-group1-sha1"):
        configure(folder, f"Host b\n  KexAlgorithms {written}\n")
        found = folder.host("", environ).kex_algorithms
        assert not found or "mlkem768x25519-sha256" in found
        assert found[:1] == (("ecdh-sha2-nistp256",) if written.startswith("^") else found[:1])
    configure(folder, "Host b\n  KexAlgorithms curve25519-sha256,ecdh-sha2-nistp256\n")
    assert folder.host("", environ).kex_algorithms == ("curve25519-sha256", "ecdh-sha2-nistp256")
