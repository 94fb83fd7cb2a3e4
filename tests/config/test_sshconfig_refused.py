"""What of ssh_config is refused, and said where; what is never run, read or waited for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.conftest import Folder
from tests.config.sshconfigs import WAYS, configure, needs_ssh
from tests.support.silent_files import dead_disk
from tunnelctl import clock
from tunnelctl.config.exchange.from_ssh_config import import_ssh_config
from tunnelctl.errors import Failure
from tunnelctl.net import files


@pytest.mark.parametrize("environ", WAYS)
@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("Host b\n  Port x\n", "config line 2: "),
        ("Host b\n  User 'x\n", "config line 2: "),
        ("Host b\n  IdentityFile %Z\n", "%Z in ssh_config is not a token"),
        ("Host b\n  IdentityFile ${NOPE}/x\n", "variable NOPE of ssh_config is not set"),
        ("Host b\n  ProxyCommand x\n  ProxyUseFdpass yes\n", "ProxyUseFdpass is not supported"),
        ("Host b\n  BindInterface tun0\n", "BindInterface is not supported"),
        ("Host b\n  KnownHostsCommand /k %Z\n", "%Z in ssh_config is not a token"),
        ("Host b\n  KnownHostsCommand /k 'x\n", "quote"),
        (
            "Host b\n  PreferredAuthentications hostbased\n",
            "no way to log in is left on by PreferredAuthentications",
        ),
        ("Host b\n  HostName a;b\n", "'a;b' is not a host name or address"),
        ("Host b\n  User -x\n", "'-x' is not a user name"),
        ("Host b\n  ProxyCommand nc %d\n", "%d in 'nc %d' is not a token"),
        ("Host b\n  Ciphers aes128-cbc\n", "none of 'aes128-cbc' is supported"),
        ("Host b\n  ProxyJump b\n", " b"),
        ("Include *\nHost b\n  Port 1\n", "include"),
    ],
)
def test_what_cannot_be_honoured_is_a_mistake_at_the_host(
    folder: Folder, environ: dict[str, str], config: str, said: str
) -> None:
    configure(folder, config)
    (mistake,) = folder.mistakes("hosts:\n  a: {hostname: x}\n  b: {}\n", environ)[-1:]
    assert mistake.startswith(("dev.yaml:2:3: hosts.a", "dev.yaml:3:3: hosts.b", "dev.yaml:3:6:"))
    assert said in mistake


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ('Match exec "touch RAN"\n  Port 1\n', "config line 1: Match exec is not decided here"),
        ("Match tagged x\n  Port 1\n", "line 1: Match tagged is not decided here"),
        ("Match localnetwork 10.0.0.0/8\n  Port 1\n", "Match localnetwork is not decided here"),
        ("CanonicalizeHostname yes\n", "line 1: a name is not looked up here"),
        ("Host b\n  ServerAliveInterval soon\n", "'soon' is not a value of serveraliveinterval"),
        ("Host b\n  User\n", "line 2: user has no value"),
    ],
)
def test_what_our_reader_cannot_know_it_refuses_and_never_runs(
    folder: Folder, config: str, said: str
) -> None:
    ran = folder.path / "ran"
    configure(folder, config.replace("RAN", str(ran)))
    (mistake,) = folder.mistakes("hosts:\n  b: {}\n", {"PATH": "/nonexistent"})
    assert mistake.startswith("dev.yaml:2:3: hosts.b: ssh_config: ")
    assert said in mistake
    assert not ran.exists()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("\ufeffHost b\n", r"line 1: '\ufeffhost' is no keyword"),
        ("Host b\n  Port 1\nMatch \ufeffhost b\n", r"'\ufeffhost' is no criterion of Match"),
        ("Host b\n  ProxyJump a\\b@c:x\n", r"'a\b@c:x' is not a value of proxyjump"),
        ("Host b\n  Port \u00a022\\x\n", r"'\xa022\x' is not a value of port"),
    ],
)
def test_a_character_that_cannot_be_seen_is_escaped_once(
    folder: Folder, config: str, said: str
) -> None:
    configure(folder, config)
    (mistake,) = folder.mistakes("hosts:\n  b: {}\n", {"PATH": "/nonexistent"})
    assert said in mistake


def test_a_match_that_does_not_apply_anyhow_is_passed_over(folder: Folder) -> None:
    configure(folder, 'Match host other exec "false"\n  Port 1\nHost b\n  Port 2\n')
    assert folder.host("", {"PATH": "/nonexistent"}).port == 2


def test_one_fault_is_said_once_for_all_hosts(folder: Folder) -> None:
    path = configure(folder, "Host *\n  Port 7\n")
    path.chmod(0o666)
    (mistake,) = folder.mistakes("hosts: {a: {}, b: {}, c: {}}\n")
    assert f"{path}: other users may change the file; run: chmod go-w {path}" in mistake
    assert mistake.endswith("ssh_config: false does without it")


def test_the_embedded_server_has_nothing_to_do_with_it(folder: Folder) -> None:
    configure(folder, "Host *\n  Port x\n")
    assert folder.host("embedded: true").embedded


@needs_ssh
def test_names_never_become_options(folder: Folder) -> None:
    configure(folder, "Host *\n  Port 7\n")
    for keys in ('"-oProxyCommand=x": {}', "b: {user: -x}", "b: {hostname: -x}"):
        (mistake,) = folder.mistakes(f"hosts: {{{keys}}}\n")
        assert "is not a" in mistake


@needs_ssh
def test_a_client_that_hangs_is_given_up(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(folder, "Host *\n  Port 7\n")
    hanging = folder.path / "bin" / "ssh"
    hanging.parent.mkdir()
    hanging.write_text("#!/bin/sh\nexec sleep 60\n")
    hanging.chmod(0o755)
    monkeypatch.setattr("tunnelctl.config.openssh.client._SECONDS", 0.2)
    (mistake,) = folder.mistakes("hosts: {b: {}}\n", {"PATH": f"{hanging.parent}:/bin:/usr/bin"})
    assert "did not end within 0.2 s" in mistake


@needs_ssh
def test_two_hundred_hosts_are_loaded_in_seconds(folder: Folder) -> None:
    configure(folder, "Host *\n  Port 7\n")
    hosts = "".join(f"  host{number}: {{}}\n" for number in range(200))
    start = clock.monotonic()
    profile = folder.load(f"hosts:\n{hosts}", {"PATH": "/usr/bin:/bin"}).profile
    assert {host.port for host in profile.hosts} == {7}
    assert clock.monotonic() - start < 20  # 1 s on an idle machine


def test_files_that_say_nothing_of_the_way_start_no_client(folder: Folder) -> None:
    configure(folder, "Host *\n  SendEnv LANG\n  ForwardAgent yes\n")
    trap = folder.path / "bin" / "ssh"
    trap.parent.mkdir()
    trap.write_text(f"#!/bin/sh\ntouch {folder.path}/started\n")
    trap.chmod(0o755)
    assert folder.host("", {"PATH": f"{trap.parent}:/bin"}).port == 22
    assert not (folder.path / "started").exists()


@pytest.mark.parametrize("environ", WAYS)
@pytest.mark.parametrize("place", ["an include", "the file"])
def test_what_lies_on_a_disk_that_is_away_is_named_and_not_waited_for(
    folder: Folder,
    environ: dict[str, str],
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(files, "_SECONDS", 0.3)
    disk = tmp_path / "disk"
    with dead_disk(disk):
        if place == "the file":
            folder.home.mkdir(exist_ok=True)
            (folder.home / ".ssh").symlink_to(disk)
            named = str(folder.home / ".ssh" / "config")
        else:
            configure(folder, f"Include {disk}/conf.d/*\nHost b\n  Port 2222\n")
            named = f"{disk}/conf.d/*"
        with pytest.raises(Failure, match="disk that is away") as caught:
            import_ssh_config(("b",), {**environ, "HOME": str(folder.home)})
    assert named in caught.value.message
