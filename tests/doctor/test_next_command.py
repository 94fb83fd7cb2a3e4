"""The next command to type, pasted as it stands: it runs, and it helps."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.keys import write_key
from tests.support.ports import free_port
from tests.support.services import EchoService
from tests.support.sshd import OpenSSHServer, require_sshd
from tests.support.world import World


def hints(world: World, exit_code: int) -> list[str]:
    """What doctor tells to do, one hint each."""
    done = world.run("doctor", "dev")
    assert done.returncode == exit_code, done.stdout + done.stderr
    return re.findall(r"^ +- (.+)$", done.stdout, re.MULTILINE)


def command(said: list[str], program: str) -> str:
    """The one command that begins with this program."""
    (found,) = [hint[hint.index(program) :] for hint in said if program in hint]
    return found


def paste(world: World, text: str) -> subprocess.CompletedProcess[str]:
    """Have the user's shell run it, with `tunnelctl` on its path."""
    folder = world.home / "bin"
    folder.mkdir(exist_ok=True)
    program = folder / "tunnelctl"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m tunnelctl "$@"\n')
    program.chmod(0o755)
    done = subprocess.run(
        ["bash", "-c", text],
        env={**world.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"$ {text}\n{done.stdout}{done.stderr}"
    return done


def paste_there(sshd: OpenSSHServer, text: str) -> str:
    """Type it on the server; what it prints. `sudo` and the configuration are the test's own."""
    config = shlex.quote(str(sshd.directory / "sshd_config"))
    typed = text.replace("sudo sshd -T", f"{require_sshd()} -T -f {config}")
    host = sshd.host()
    login = ("-i", str(sshd.identity), "-p", str(host.port), "-l", str(host.user))
    options = ("-F", "none", "-o", f"UserKnownHostsFile={sshd.known_hosts}")
    ssh = subprocess.run(
        ["ssh", *login, *options, host.hostname, typed],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ssh.returncode == 0, f"$ {typed}\n{ssh.stdout}{ssh.stderr}"
    return ssh.stdout


def test_a_changed_key_is_forgotten_and_the_new_one_trusted(
    world: World, sshd: OpenSSHServer
) -> None:
    world.tunnel(sshd, socks="dynamic: 0")
    sshd.rotate_host_key()
    said = hints(world, 77)
    paste(world, command(said, "ssh-keygen -R"))
    assert command(hints(world, 77), "tunnelctl trust") == command(said, "tunnelctl trust")
    paste(world, command(said, "tunnelctl trust"))
    assert hints(world, 0) == []


def test_a_new_key_that_accept_new_would_record_is_shown(world: World, sshd: OpenSSHServer) -> None:
    known = world.home / "known"
    yaml = sshd.host_yaml(strict_host_key_checking="accept-new", user_known_hosts_file=str(known))
    world.profile("dev", f"hosts: {{server: {yaml}}}\n")
    shown = command(hints(world, 0), "tunnelctl trust")
    assert "SHA256:" in paste(world, f"{shown} </dev/null || true").stderr


def test_files_that_others_can_read_are_closed(world: World, sshd: OpenSSHServer) -> None:
    key, secret = world.home / "my key's", world.home / "a $word"
    for path, text in ((key, sshd.identity.read_text()), (secret, "hunter2\n")):
        path.write_text(text)
        path.chmod(0o644)
    named = {"identity_file": f'["{key}"]', "password": f'{{file: "{secret}"}}'}
    world.profile("dev", f"hosts: {{server: {sshd.host_yaml(**named)}}}\n".replace("$", "$$"))
    said = hints(world, 77)
    assert {shlex.split(hint)[-1] for hint in said} == {str(key), str(secret)}
    for hint in said:
        paste(world, hint)
    assert hints(world, 0) == []


def test_a_server_is_asked_what_its_configuration_comes_to(
    world: World, sshd: OpenSSHServer
) -> None:
    # A Match of each kind that sshd -T wants to have an answer to.
    sshd.reconfigure(
        "Match LocalPort 1",
        "PermitOpen any",
        "Match Host nowhere.invalid LocalAddress 192.0.2.1",
        "PermitOpen any",
        "Match Address 127.0.0.1",
        "AllowTcpForwarding no",
    )
    with EchoService() as echo:
        world.tunnel(sshd, db=f"local: 0, to: {echo.port}")
        said = hints(world, 76)
    shown = paste_there(sshd, command(said, "set -- $SSH_CONNECTION"))
    assert "allowtcpforwarding no" in shown.lower().splitlines()  # newer: AllowTcpForwarding
    assert command(said, "grep -nE").endswith("~/.ssh/authorized_keys")


def test_a_service_is_looked_for_on_the_server(world: World, sshd: OpenSSHServer) -> None:
    if shutil.which("ss") is None:
        pytest.skip("ss is not installed (Debian: apt-get install iproute2)")
    port = free_port()
    world.tunnel(sshd, db=f"local: 0, to: {port}")
    said = hints(world, 1)
    assert "LISTEN" not in paste_there(sshd, command(said, "ss -ltnp"))
    with EchoService(port=port):
        assert "LISTEN" in paste_there(sshd, command(said, "ss -ltnp"))


def test_a_port_below_1024_needs_root_or_a_word_of_root(world: World, sshd: OpenSSHServer) -> None:
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed (Debian: apt-get install util-linux)")
    limit = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    if limit.exists() and int(limit.read_text()) <= 81:
        pytest.skip("every user may listen below 1024 here")
    world.tunnel(sshd, web="local: 81, to: 1")
    less = ["setpriv", "--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service"]
    done = subprocess.run(
        [*(less if os.geteuid() == 0 else ()), sys.executable, "-m", "tunnelctl", "doctor", "dev"],
        env=world.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 73, done.stdout + done.stderr
    assert "cannot listen on 127.0.0.1:81: Permission denied" in done.stdout
    assert "- or allow every user here to listen there: sudo sysctl net.ipv4" in done.stdout


def test_the_user_that_was_tried_is_named_with_where_the_reason_is(
    world: World, sshd: OpenSSHServer, tmp_path: Path
) -> None:
    write_key(tmp_path / "other")
    yaml = sshd.host_yaml(user="nobody-here", identity_file=str(tmp_path / "other"))
    world.profile("dev", f"hosts: {{server: {yaml}}}\n")
    said = hints(world, 77)
    assert any(hint.startswith("nobody-here may be the wrong user") for hint in said)
    assert any("journalctl" in hint for hint in said)
    known = f"ssh-copy-id -i {tmp_path / 'other'} -p {sshd.port} nobody-here@127.0.0.1"
    assert command(said, "ssh-copy-id") == known
