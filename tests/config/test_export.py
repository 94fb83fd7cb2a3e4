"""What ssh is told of a profile; OpenSSH's own client is asked what it makes of it."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from tests.config.importing import BASTION, HOPS, profile, rule
from tests.config.sshconfigs import SSH, needs_ssh
from tunnelctl.config.exchange.to_ssh import as_blocks, as_commands
from tunnelctl.errors import Failure
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.spec.forward import Side
from tunnelctl.spec.host import AddressFamily, Host, SessionType
from tunnelctl.spec.permit import parse_permit
from tunnelctl.spec.secret import SecretRef, SecretSource


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
KEYED = Host("gate", "gate.example.com", identity_file=("/k/gate key",), identities_only=True)


@needs_ssh
@pytest.mark.parametrize("as_config", [False, True])
def test_ssh_understands_what_is_exported(tmp_path: Path, as_config: bool) -> None:
    host = replace(
        BASTION,
        identities_only=True,
        user_known_hosts_file=("/k/a b", "/k/50%"),
        global_known_hosts_file=("/k/all",),
        known_hosts_command=("/bin/keys", "a b", "%H"),
        revoked_host_keys=("/k/krl",),
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
        "globalknownhostsfile": "/k/all",
        "knownhostscommand": '"/bin/keys" "a b" "%H"',
        "revokedhostkeys": "/k/krl",
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
        ({}, {"allow": (ip_network("10.0.0.0/8"),)}, "db: allow is left out: ssh accepts every"),
        ({"host_key": ("SHA256:x",)}, {}, "bastion: host_key is left out: ssh has no pins"),
        (
            {"password": SecretRef(SecretSource.ENV, ("PW",))},
            {},
            "bastion: password is left out: ssh asks for it",
        ),
        (
            {"address_family": AddressFamily.INET6},
            {"listen": Endpoint("localhost", 80)},
            "db: ssh listens only on [::1]:80: AddressFamily applies to listeners too",
        ),
        (
            {"address_family": AddressFamily.INET6},
            {},
            "db: ssh will not listen on '127.0.0.1:5432': AddressFamily inet6 excludes",
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
    with pytest.raises(Failure, match="has no setting that ssh can express"):
        as_commands(profile(rule(), host=Host("bastion", "127.0.0.1", embedded=True)))
    with pytest.raises(Failure, match="take no port 0"):
        as_commands(profile(rule(listen=Endpoint("127.0.0.1", 0))))
