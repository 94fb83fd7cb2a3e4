"""A program that knows host keys, asked as OpenSSH's client asks one."""

from __future__ import annotations

import base64
import dataclasses
import subprocess
from pathlib import Path

import pytest

from tests.ssh.clients import fails, logged_in
from tests.support.here import here
from tests.support.keys import KeyKind, write_key
from tests.support.sshd import OpenSSHServer
from tunnelctl.errors import Code, Failure
from tunnelctl.spec.host import Host, StrictHostKeyChecking
from tunnelctl.ssh.keys.certificates import fingerprint
from tunnelctl.ssh.server_key.verify import known_for, verify

TOKENS = "%H|%I|%t|%f|%K|%h|%p|%n|%k|%%"


class Program:
    """Prints the lines that it is given, and writes down what it was asked."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "keys"
        self._lines = directory / "lines"
        self._asked = directory / "asked"
        self.says()

    def says(self, *lines: str, status: int = 0) -> None:
        self._lines.write_text("".join(f"{line}\n" for line in lines))
        quoted = (f"'{path}'" for path in (self._asked, self._lines))
        asked, said = quoted
        script = f'#!/bin/sh\nprintf "%s\\n" "$1" >> {asked}\ncat {said}\nexit {status}\n'
        self._path.write_text(script)
        self._path.chmod(0o700)

    @property
    def command(self) -> tuple[str, ...]:
        return str(self._path), TOKENS

    @property
    def asked(self) -> list[list[str]]:
        """What the tokens stood for, each time."""
        return [line.split("|") for line in self._asked.read_text().splitlines()]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


def _asking(sshd: OpenSSHServer, program: Program) -> Host:
    """The server, of which no file knows a key."""
    sshd.known_hosts.write_text("")
    return sshd.host(known_hosts_command=program.command)


def test_what_it_prints_is_known(sshd: OpenSSHServer, program: Program) -> None:
    host = _asking(sshd, program)
    program.says("# a comment", "elsewhere nonsense", f"{sshd.pattern} {sshd.host_keys[0]}")
    with logged_in(host) as transport:
        assert transport.is_authenticated()
    kind, encoded = sshd.host_keys[0].split()
    shown = fingerprint(base64.b64decode(encoded))
    who = ["127.0.0.1", str(host.port), host.name, host.name, "%"]
    assert program.asked == [
        [sshd.pattern, "ORDER", "NONE", "NONE", "NONE", *who],
        [sshd.pattern, "HOSTNAME", kind, shown, encoded, *who],
    ]
    assert sshd.known_hosts.read_text() == ""


def test_ssh_asks_in_the_same_words(sshd: OpenSSHServer, program: Program) -> None:
    host = _asking(sshd, program)
    program.says(f"{sshd.pattern} {sshd.host_keys[0]}")
    with logged_in(host):
        pass
    ours = program.asked
    subprocess.run(
        [
            "ssh", "-F", "none", "-N", "-f", "-p", str(host.port), "-l", host.user or "",
            "-o", f"KnownHostsCommand={' '.join(host.known_hosts_command)}",
            "-o", f"UserKnownHostsFile={sshd.known_hosts}", "-o", "GlobalKnownHostsFile=none",
            "-o", "IdentityAgent=none", "-o", f"IdentityFile={host.identity_file[0]}",
            "-o", "BatchMode=yes", "-o", "ForkAfterAuthentication=no", "127.0.0.1", "true",
        ],
        check=False, timeout=30, stdin=subprocess.DEVNULL, capture_output=True,
    )  # fmt: skip
    order, shown = program.asked[len(ours) :]
    # For the order it asks by the name alone, where we ask by that and the port first.
    assert order[1:5] == ours[0][1:5]
    assert shown[:7] == ours[1][:7]


def test_another_key_than_it_prints_is_a_changed_one(
    sshd: OpenSSHServer, program: Program, tmp_path: Path
) -> None:
    host = _asking(sshd, program)
    program.says(f"{sshd.pattern} {write_key(tmp_path / 'other', KeyKind.ED25519)}")
    failure = fails(Code.HOST_KEY_CHANGED, host)
    assert "the output of known_hosts_command:1" in failure.message
    assert f"have known_hosts_command of hosts.{host.name} print the new key" in failure.hint


def test_what_it_does_not_know_is_unknown(sshd: OpenSSHServer, program: Program) -> None:
    fails(Code.HOST_KEY_UNKNOWN, _asking(sshd, program))
    assert [line[0] for line in program.asked] == [sshd.pattern, "127.0.0.1"] * 2


def test_one_that_fails_knows_nothing_and_is_asked_again_later(
    sshd: OpenSSHServer, program: Program
) -> None:
    host = dataclasses.replace(
        _asking(sshd, program), strict_host_key_checking=StrictHostKeyChecking.ACCEPT_NEW
    )
    program.says(f"{sshd.pattern} {sshd.host_keys[0]}", status=3)
    failure = fails(Code.HANDSHAKE_FAILED, host)
    assert failure.retryable
    assert (
        "known_hosts_command keys failed, so no host key is accepted: it exited with 3"
        in failure.message
    )
    assert sshd.known_hosts.read_text() == ""


def test_one_that_hangs_is_ended(tmp_path: Path) -> None:
    host = Host("b", "b.example", known_hosts_command=("sleep", "86399"), connect_timeout=0.2)
    with pytest.raises(Failure, match="did not end within") as caught:
        verify(host, _key(tmp_path), here())
    assert caught.value.code is Code.HANDSHAKE_FAILED


def test_one_that_is_not_there_is_named(tmp_path: Path) -> None:
    host = Host("b", "b.example", known_hosts_command=("/no/such/program",))
    with pytest.raises(
        Failure, match=r"program failed, .*: the command cannot be started: No such file"
    ):
        verify(host, _key(tmp_path), here())


def _key(directory: Path) -> bytes:
    return base64.b64decode(write_key(directory / "key", KeyKind.ED25519).split()[1])


@pytest.mark.parametrize("in_order", ["exit 3", "exec sleep 86399", "kill -9 $$"])
def test_one_that_fails_when_asked_for_the_order_counts_once_a_key_is_shown(
    sshd: OpenSSHServer, tmp_path: Path, in_order: str
) -> None:
    program = tmp_path / "keys"
    known = f"{sshd.pattern} {sshd.host_keys[0]}"
    program.write_text(f"#!/bin/sh\nif test $1 = ORDER; then {in_order}; fi\necho '{known}'\n")
    program.chmod(0o700)
    sshd.known_hosts.write_text("")
    host = sshd.host(known_hosts_command=(str(program), "%I"), connect_timeout=2.0)
    with logged_in(host) as transport:
        assert transport.is_authenticated()


def test_ssh_goes_on_where_the_order_cannot_be_asked_for(sshd: OpenSSHServer) -> None:
    """It also goes on when a key is shown; here a program that is not there lets none count."""
    host = sshd.host(known_hosts_command=("/no/such/program",))
    assert known_for(host, here()).key_types
    done = subprocess.run(
        [
            "ssh", "-F", "none", "-p", str(host.port), "-l", host.user or "",
            "-o", "KnownHostsCommand=/no/such/program", "-o", "GlobalKnownHostsFile=none",
            "-o", f"UserKnownHostsFile={sshd.known_hosts}", "-o", "IdentityAgent=none",
            "-o", f"IdentityFile={host.identity_file[0]}", "-o", "BatchMode=yes",
            "127.0.0.1", "true",
        ],
        check=False, timeout=30, stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip
    assert "KnownHostsCommand-ORDER" in done.stderr
    assert done.returncode == 0
    fails(Code.HANDSHAKE_FAILED, host)


def test_what_could_mean_something_else_is_not_given_to_it(tmp_path: Path) -> None:
    host = Host("b", "b.example", host_key_alias="-rf", known_hosts_command=("cat", "%H"))
    with pytest.raises(Failure) as caught:
        known_for(host, here())
    assert caught.value.code is Code.CONFIG_INVALID


def test_what_it_revokes_is_refused(tmp_path: Path, program: Program) -> None:
    line = write_key(tmp_path / "key", KeyKind.ED25519)
    known = tmp_path / "known_hosts"
    known.write_text(f"b.example {line}\n")
    host = Host(
        "b",
        "b.example",
        user_known_hosts_file=(str(known),),
        known_hosts_command=program.command,
    )
    blob = base64.b64decode(line.split()[1])
    verify(host, blob, here())
    program.says(f"@revoked * {line}")
    with pytest.raises(Failure, match="marked @revoked") as caught:
        verify(host, blob, here())
    assert caught.value.code is Code.HOST_KEY_CHANGED
