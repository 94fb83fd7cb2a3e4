"""What ssh and boring are told becomes a profile, and a profile what ssh is told; nothing is lost.

OpenSSH's own client is asked what it makes of the exports.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.config.conftest import Folder
from tunnelctl.config.from_boring import import_boring
from tunnelctl.config.from_ssh_command import import_ssh_command
from tunnelctl.config.from_ssh_config import import_ssh_config
from tunnelctl.config.imported import Imported
from tunnelctl.config.load import load_profile
from tunnelctl.config.to_ssh import as_blocks, as_commands
from tunnelctl.errors import Failure
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.spec.forward import Forward, Side
from tunnelctl.spec.host import AddressFamily, Host, SecretRef, SecretSource, SessionType
from tunnelctl.spec.permit import parse_permit
from tunnelctl.spec.profile import Profile

SSH = shutil.which("ssh") or ""
needs_ssh = pytest.mark.skipif(not SSH, reason="OpenSSH's client is not installed")
WAYS = [
    pytest.param(os.defpath + ":/usr/bin:/bin", marks=needs_ssh, id="client"),
    pytest.param("/nonexistent", id="own reader"),
]


def profile_of(imported: Imported) -> Profile:
    """The profile that the file of an import comes to, on a machine without ssh_config."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "imported.yaml"
        path.write_text(imported.yaml("A test"))
        return load_profile(path, {"HOME": folder, "PATH": "/nonexistent"}).profile


def of_command(*commands: str, permit: tuple[str, ...] = ()) -> Imported:
    environ = {"HOME": "/home/alice", "PATH": "/nonexistent"}
    return import_ssh_command(commands, environ, permit=permit)


def meaning(profile: Profile) -> list[tuple[object, ...]]:
    """What is forwarded, by whatever name, and by what way."""
    found = []
    for rule in profile.forwards:
        host = profile.host(rule.via)
        way = [(hop.hostname, hop.port, hop.user) for hop in host.proxy_jump]
        reached = (host.hostname, host.port, host.user, host.identity_file, way)
        listen = rule.listen.host.replace("127.0.0.1", "localhost"), rule.listen.port
        found.append((rule.side, listen, rule.listen.path, rule.target, rule.permit, reached))
    return sorted(found, key=repr)


# ssh's command lines --------------------------------------------------------------------------


def test_a_command_line_with_everything() -> None:
    imported = of_command(
        "ssh -fNT -o ExitOnForwardFailure=no -L 5432:db:5432 -R '*:8080:localhost:3000' "
        "-R 1081 -D1080 -L /tmp/a.sock:/run/b.sock -p 2222 -i '~/.ssh/a key' -J carol@gate:2200 "
        "-4 -b 10.0.0.9 "
        "-o ServerAliveInterval=30 -o 'Ciphers aes128-gcm@openssh.com' alice@bastion",
        permit=("10.0.0.0/8:443",),
    )
    assert imported.notes == []
    profile = profile_of(imported)
    (host,) = profile.hosts
    assert (host.hostname, host.port, host.user) == ("bastion", 2222, "alice")
    assert (host.address_family, host.bind_address) == (AddressFamily.INET, "10.0.0.9")
    assert host.server_alive_interval == 30
    assert host.ciphers == ("aes128-gcm@openssh.com",)
    assert host.identity_file[0].endswith("/.ssh/a key")
    assert not host.identities_only  # -i alone does not say so
    assert [(hop.hostname, hop.port, hop.user) for hop in host.proxy_jump] == [
        ("gate", 2200, "carol")
    ]
    assert {(f.type, str(f.listen), str(f.target), f.expose) for f in profile.forwards} == {
        ("local", "127.0.0.1:5432", "db:5432", False),
        ("local", "/tmp/a.sock", "/run/b.sock", False),
        ("remote", "*:8080", "localhost:3000", True),
        ("remote_dynamic", "localhost:1081", "None", False),
        ("dynamic", "127.0.0.1:1080", "None", False),
    }
    assert not any(rule.required for rule in profile.forwards)


def test_g_lets_others_in_but_where_an_address_was_given() -> None:
    profile = profile_of(of_command("ssh -g -L 80:a:80 -L 127.0.0.1:81:a:81 -D 82 -R 83:a:83 b"))
    listens = {str(rule.listen): rule.expose for rule in profile.forwards}
    assert listens == {"*:80": True, "127.0.0.1:81": False, "*:82": True, "localhost:83": False}


@pytest.mark.parametrize(
    ("words", "note"),
    [
        ("-C", "-C: nothing is compressed"),
        ("-A", "-A: it has no counterpart here"),
        ("-W db:22", "-W db:22: standard input and output"),
        ("-o ControlMaster=auto", "-o ControlMaster=auto: it has no counterpart here"),
        ("-o StrictHostKeyChecking=no", "StrictHostKeyChecking false: host keys are always"),
        ("-o UserKnownHostsFile=/dev/null", "UserKnownHostsFile /dev/null: host keys are always"),
        ("-o ServerAliveInterval=0", "serveraliveinterval 0 has no counterpart here"),
        ("-o RekeyLimit='1G 1h'", "rekeylimit 1073741824 3600: new keys are made after bytes"),
        ("-R 1080", "say what they may with --permit HOST:PORT"),
        ("-L 127.0.0.1:80:x:1", "-L 80:x:1: local-80 listens there already"),
        ("-L /tmp/%h:db:80", "it has tokens or variables"),
    ],
)
def test_what_is_not_carried_over_is_said_by_name(words: str, note: str) -> None:
    imported = of_command(f"ssh -N -L 80:db:80 {words} b")
    assert any(note in said for said in imported.notes), imported.notes
    assert f"#   {imported.notes[0]}" in imported.yaml("A test").splitlines()


def test_a_command_after_the_host_is_not_run_and_options_there_count() -> None:
    imported = of_command("ssh bastion -L 80:a:80 sleep 10 -L 81:a:81 &")
    assert imported.notes == ["sleep 10 -L 81:a:81: no command is run on the server"]
    assert list(imported.forwards) == ["local-80"]


def test_autossh_and_several_lines_with_comments() -> None:
    imported = of_command(
        "# the database\nAUTOSSH_GATETIME=0 autossh -M 20000 -f -N \\\n  -L 80:a:80 a\n\n"
        "/usr/bin/ssh -N -L 81:b:81 ssh://bob@b:2022"
    )
    assert [note.partition(":")[0] for note in imported.notes] == ["-M 20000"]
    assert imported.hosts["b"] == {"port": 2022, "user": "bob"}


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("scp a b:", "it is no command line of ssh or autossh"),
        ("ssh -N -L 80:a:80", "it names no host"),
        ("ssh b -L", "-L needs an argument"),
        ("ssh 'b", "No closing quotation"),
        ("ssh -p x b", "'x' is not a value of port"),
        ("ssh -L 80:a:80 -o Ciphers=none b", "ciphers"),
    ],
)
def test_what_is_no_command_line_is_refused(command: str, why: str) -> None:
    with pytest.raises(Failure, match=r".") as caught:
        of_command(command)
    assert why.lower() in str(caught.value).lower()
    assert command in str(caught.value)


@pytest.mark.parametrize(
    ("before", "password"),
    [
        ("nohup env LANG=C setsid /usr/bin/", None),
        ("sshpass -f /k/word ", {"file": "/k/word"}),
        ("sshpass -v -e ", {"env": "SSHPASS"}),
        ("SSHPASS=hunter2 exec sshpass -e auto", {"env": "SSHPASS"}),
        ("sshpass -phunter2 ", None),
        ("sudo sshpass -p 'hunter2' ", None),
    ],
)
def test_what_runs_ssh_is_seen_through_and_no_secret_is_repeated(
    before: str, password: dict[str, str] | None
) -> None:
    imported = of_command(f"{before}ssh -N -L 80:a:80 b")
    assert imported.hosts["b"].get("password") == password
    assert list(imported.forwards) == ["local-80"]
    assert "hunter2" not in imported.yaml("A test")
    if "-p" in before:
        assert any("a profile holds no password" in note for note in imported.notes)
    with pytest.raises(Failure, match="-L needs an argument") as caught:
        of_command(f"{before}ssh -N b -L")
    assert "hunter2" not in str(caught.value)


def test_one_host_with_two_settings_is_two_that_say_where_they_are() -> None:
    imported = of_command(
        "ssh -N -L 80:a:80 -p 1 b",
        "ssh -N -L 81:a:81 -L 82:a:82 -p 2 b",
        "ssh -N -L 83:a:83 -p 2 b",
        "ssh -N -L 84:a:84 -p 1 b",
    )
    hosts = {host.name: (host.hostname, host.port) for host in profile_of(imported).hosts}
    assert hosts == {"b": ("b", 1), "b-2": ("b", 2)}
    assert [rule["via"] for rule in imported.forwards.values()] == ["b", "b-2", "b-2", "b-2", "b"]
    (note,) = imported.notes
    assert "b-2: what ssh_config says of b is not looked up" in note


# ssh_config -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", WAYS)
def test_ssh_config_is_read_as_ssh_reads_it(folder: Folder, path: str) -> None:
    config = folder.home / ".ssh" / "config"
    config.parent.mkdir(parents=True)
    config.write_text(
        "Host web\n  HostName web.example.com\n  LocalForward 5432 db:5432\n"
        "  LocalForward 5433 /run/db.sock\n  LocalForward [::1]:80 [2001:db8::1]:80\n"
        "  RemoteForward 8080 localhost:3000\n  RemoteForward 1081\n  DynamicForward 1080\n"
        "  PermitRemoteOpen db:5432 *:80\n"
        "Host open\n  GatewayPorts yes\n  LocalForward 6000 x:6000\n"
        "  LocalForward localhost:6001 x:6001\n  LocalForward 127.0.0.1:5432 y:5432\n"
        "Host plain\n  User alice\n"
    )
    config.chmod(0o600)
    environ = {"HOME": str(folder.home), "PATH": path}
    imported = import_ssh_config((), environ)
    assert imported.notes == [
        "PermitRemoteOpen '*' allows too much; write *.DOMAIN, or 0.0.0.0/0 for every host",
        "-L 5432:y:5432: local-5432 listens there already",
    ]
    profile = profile_of(imported)
    assert {(f.via, f.type, str(f.listen), str(f.target)) for f in profile.forwards} == {
        ("web", "local", "127.0.0.1:5432", "db:5432"),
        ("web", "local", "127.0.0.1:5433", "/run/db.sock"),
        ("web", "local", "[::1]:80", "[2001:db8::1]:80"),
        ("web", "remote", "localhost:8080", "localhost:3000"),
        ("web", "remote_dynamic", "localhost:1081", "None"),
        ("web", "dynamic", "127.0.0.1:1080", "None"),
        ("open", "local", "*:6000", "x:6000"),
        ("open", "local", "localhost:6001", "x:6001"),
    }
    assert imported.hosts == {"web": {}, "open": {}}  # ssh_config goes on to say how
    assert import_ssh_config(("plain",), environ).notes == [
        "plain: ssh_config forwards nothing for it"
    ]


@pytest.mark.parametrize("path", WAYS)
def test_a_name_that_no_host_can_have_is_left_out_and_said(folder: Folder, path: str) -> None:
    config = folder.home / ".ssh" / "config"
    config.parent.mkdir(parents=True)
    config.write_text(
        'Host a/b "c d" -e\n  LocalForward 80 x:80\nHost web\n  LocalForward 81 x:81\n'
    )
    config.chmod(0o600)
    imported = import_ssh_config((), {"HOME": str(folder.home), "PATH": path})
    assert list(imported.hosts) == ["web"]
    assert [note.partition(" is ")[0] for note in imported.notes] == [
        "Host 'a/b'",
        "Host 'c d'",
        "Host '-e'",
    ]


# boring ---------------------------------------------------------------------------------------

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
        "prod.example.com-2: what ssh_config says of prod.example.com is not looked up for it, "
        "as it has settings of its own",
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


# export ---------------------------------------------------------------------------------------

BASTION = Host("bastion", "bastion.example.com", 2222, "alice", ("/home/alice/.ssh/a key",))
_DB = Endpoint("db", 5432)


def rule(name: str = "db", **fields: Any) -> Forward:
    made = Forward(name, Side.HERE, Endpoint("127.0.0.1", 5432), _DB, "bastion")
    return replace(made, **fields)


def profile(*rules: Forward, host: Host = BASTION) -> Profile:
    return Profile("p", "p.yaml", (host,), rules)


def asked(*words: str) -> dict[str, list[str]]:
    """What `ssh -G` makes of a command line, by keyword."""
    done = subprocess.run(
        [SSH, "-G", *words], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr
    options: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        keyword, _, value = line.partition(" ")
        options.setdefault(keyword, []).append(value)
    return options


RULES = (
    rule(),
    rule("sock", listen=Endpoint(path="/tmp/a%b.sock"), target=Endpoint(path="/run/b.sock")),
    rule("open", listen=Endpoint("*", 80), target=Endpoint("2001:db8::1", 80), expose=True),
    rule("socks", listen=Endpoint("127.0.0.1", 1080), target=None),
    rule("back", side=Side.THERE, listen=Endpoint("localhost", 8080)),
    rule(
        "rev",
        side=Side.THERE,
        listen=Endpoint("localhost", 1081),
        target=None,
        permit=(parse_permit("db:5432"), parse_permit("[::1]:80"), parse_permit("10.0.0.0/8:*")),
    ),
)
HOPS = (Host("gate", "gate.example.com", 22, "carol"), Host("inner", "10.0.0.9", 2200))
KEYED = Host("gate", "gate.example.com", identity_file=("/k/gate key",), identities_only=True)


@needs_ssh
@pytest.mark.parametrize("as_config", [False, True])
def test_ssh_understands_what_is_exported(tmp_path: Path, as_config: bool) -> None:
    host = replace(
        BASTION,
        identities_only=True,
        user_known_hosts_file=("/k/a b", "/k/50%"),
        host_key_alias="other",
        address_family=AddressFamily.INET,
        preferred_authentications=("password",),
        bind_address="127.0.0.9",
        ciphers=("aes128-gcm@openssh.com",),
        rekey_limit=2**30,
        server_alive_interval=0.5,
    )
    if as_config:
        file = tmp_path / "config"
        file.write_text("\n".join(as_blocks(profile(*RULES, host=host)).lines))
        options = asked("-F", str(file), "bastion")
    else:
        (line,) = as_commands(profile(*RULES, host=host)).lines
        options = asked("-F", "none", *shlex.split(line)[1:])
    expected = {
        "hostname": "bastion.example.com",
        "port": "2222",
        "user": "alice",
        "identityfile": "/home/alice/.ssh/a key",
        "identitiesonly": "yes",
        "hostkeyalias": "other",
        "addressfamily": "inet",
        "preferredauthentications": "password",
        "bindaddress": "127.0.0.9",
        "ciphers": "aes128-gcm@openssh.com",
        "rekeylimit": "1073741824 0",
        "serveraliveinterval": "1",
        "serveralivecountmax": "3",
        "connecttimeout": "15",
        "stricthostkeychecking": "true",
        "exitonforwardfailure": "yes",
        "permitremoteopen": "db:5432 [::1]:80",
    }
    assert {key: options[key] for key in expected} == {k: [v] for k, v in expected.items()}
    assert options["localforward"] == [
        "[127.0.0.1]:5432 [db]:5432",
        "/tmp/a%b.sock /run/b.sock",
        "[*]:80 [2001:db8::1]:80",
    ]
    assert options["dynamicforward"][-1] == "[127.0.0.1]:1080"
    assert options["remoteforward"] == [
        "[localhost]:8080 [db]:5432",
        "[localhost]:1081 [socks]:0",
    ]


@needs_ssh
def test_hops_are_named_or_said_in_full(tmp_path: Path) -> None:
    (plain,) = as_commands(profile(rule(), host=replace(BASTION, proxy_jump=HOPS))).lines
    options = asked("-F", "none", *shlex.split(plain)[1:])
    assert options["proxyjump"] == ["carol@gate.example.com,[10.0.0.9]:2200"]

    keyed = replace(BASTION, proxy_jump=(KEYED, HOPS[1]))
    (full,) = as_commands(profile(rule(), host=keyed)).lines
    command = asked("-F", "none", *shlex.split(full)[1:])["proxycommand"][0]
    outer = shlex.split(command.replace("%%", "%"))
    assert (outer[-1], outer[outer.index("-p") + 1]) == ("10.0.0.9", "2200")
    (inner,) = [word for word in outer if word.startswith("ProxyCommand=")]
    words = shlex.split(inner.removeprefix("ProxyCommand="))
    assert words[-1] == "gate.example.com"
    assert 'IdentityFile="/k/gate key"' in words

    file = tmp_path / "config"
    file.write_text("\n".join(as_blocks(profile(rule(), host=keyed)).lines))
    assert asked("-F", str(file), "bastion")["proxyjump"] == ["gate,inner"]
    assert asked("-F", str(file), "gate")["identityfile"] == ["/k/gate key"]
    assert asked("-F", str(file), "inner")["port"] == ["2200"]


@pytest.mark.parametrize(
    ("host", "changed", "note"),
    [
        ({}, {"max_connections": 3}, "db: max_connections is left out"),
        ({}, {"allow": (ip_network("10.0.0.0/8"),)}, "db: allow is left out: whoever reaches"),
        ({"host_key": ("SHA256:x",)}, {}, "bastion: host_key is left out: ssh knows no pins"),
        (
            {"password": SecretRef(SecretSource.ENV, ("PW",))},
            {},
            "bastion: password is left out: ssh asks for it",
        ),
        ({"lazy": True}, {}, "bastion: lazy is left out"),
        ({"session_type": SessionType.AUTO}, {}, "bastion: session_type is left out"),
        ({}, {}, "ssh ends when its link does"),
    ],
)
def test_what_ssh_cannot_do_is_said(
    host: dict[str, Any], changed: dict[str, Any], note: str
) -> None:
    changed_host = replace(BASTION, **host)
    exported = as_commands(profile(rule(**changed), host=changed_host))
    assert any(said.startswith(note) for said in exported.notes), exported.notes


def test_what_is_permitted_is_never_more() -> None:
    narrow = replace(RULES[-1], permit=(parse_permit("*.example.com:443"),))
    exported = as_commands(profile(narrow))
    assert "PermitRemoteOpen=none" in exported.lines[0]
    assert any("permit *.example.com:443 is left out" in note for note in exported.notes)


def test_what_ssh_can_do_nothing_of_is_no_command() -> None:
    with pytest.raises(Failure, match="has nothing that ssh could do"):
        as_commands(profile(rule(), host=Host("bastion", "127.0.0.1", embedded=True)))
    with pytest.raises(Failure, match="take no port 0"):
        as_commands(profile(rule(listen=Endpoint("127.0.0.1", 0))))


# There and back -------------------------------------------------------------------------------

_names = st.sampled_from(["db", "10.0.0.7", "localhost", "::1", "web.example.com"])
_ports = st.integers(1, 65535)
_paths = st.sampled_from(["/tmp/a.sock", "/run/b%h.sock", "/run/c"])
_ends = st.builds(Endpoint, _names, _ports) | _paths.map(lambda path: Endpoint(path=path))
_listens = st.builds(Endpoint, st.sampled_from(["127.0.0.1", "::1", "*", "10.1.1.1"]), _ports)
_plain = st.builds(
    lambda side, listen, target: rule(
        side=side, listen=listen, target=target, expose=not listen.is_loopback
    ),
    st.sampled_from(Side),
    _listens | _paths.map(lambda path: Endpoint(path=path)),
    _ends,
)
_socks = _listens.map(lambda at: rule(listen=at, target=None, expose=not at.is_loopback))
_rules = st.lists(_plain | _socks, min_size=1, max_size=5, unique_by=lambda r: r.listen.port)
_hosts = st.builds(
    lambda host, port, user, keys, hops: replace(
        BASTION, hostname=host, port=port, user=user, identity_file=keys, proxy_jump=hops
    ),
    st.sampled_from(["bastion.example.com", "10.0.0.1", "2001:db8::1"]),
    _ports,
    st.sampled_from([None, "alice", "svc+x"]),
    st.sampled_from([(), ("/k/a",), ("/k/a key", "/k/50%")]),
    st.sampled_from([(), HOPS[:1], HOPS]),
)


@given(_rules, _hosts)
def test_what_was_exported_and_imported_forwards_the_same(rules: list[Forward], host: Host) -> None:
    named = [replace(one, name=f"f{number}") for number, one in enumerate(rules)]
    wanted = profile(*named, host=host)
    imported = of_command(*as_commands(wanted).lines)
    assert imported.notes == []
    assert meaning(profile_of(imported)) == meaning(wanted)


@given(_rules, _hosts)
def test_a_block_that_was_exported_and_imported_forwards_the_same(
    rules: list[Forward], host: Host
) -> None:
    named = [replace(one, name=f"f{number}") for number, one in enumerate(rules)]
    wanted = profile(*named, host=host)
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config"
        config.write_text("\n".join(as_blocks(wanted).lines))
        config.chmod(0o600)
        environ = {"HOME": folder, "PATH": "/nonexistent"}
        imported = import_ssh_config(("bastion",), environ, file=str(config))
        assert imported.notes == []
        path = Path(folder) / "imported.yaml"
        path.write_text(imported.yaml("A test"))
        assert meaning(load_profile(path, environ).profile) == meaning(wanted)


# Anything at all -------------------------------------------------------------------------------

_option = st.sampled_from(
    ["-L", "-R", "-D", "-p", "-l", "-i", "-J", "-o", "-F", "-N", "-g", "-C", "--", "-", "-é", "&"]
)
_value = st.sampled_from(
    ["80:a:80", "80", "*:80:a:80", "/a:/b", "a@b", "ssh://u@h:22", "[::1]:1:[::1]:2", "none", "",
     "Port=0", "User=a b", "=", "GatewayPorts=yes", "ProxyJump=a,b", "LocalForward=1 a:1", "$X"]
)  # fmt: skip
_word = _option | _value | st.text(max_size=8)


@given(st.lists(_word, max_size=8), st.sampled_from(["ssh", "autossh"]))
def test_any_command_line_is_a_profile_or_a_failure(words: list[str], program: str) -> None:
    with suppress(Failure):
        profile_of(of_command(shlex.join([program, *words]), permit=("db:1",)))


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
