"""Which program is asked what ssh_config says, and when our own reader answers instead."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.config.conftest import Folder
from tests.config.sshconfigs import SSH, configure, needs_ssh
from tests.support.nobody import NOBODY, as_nobody, needs_root
from tunnelctl.config.profile.load import load_profile
from tunnelctl.spec.host import Host

# Only our own reader refuses to decide about a program.
CONFIG = 'Host b\n  Port 7\nMatch originalhost b exec "true"\n  User by-client\n'
NOT_OPENSSH = {"dbclient": "Dropbear", "plink": "PuTTY"}


def path_with(folder: Folder, script: str) -> dict[str, str]:
    """An environment in which `ssh` is a script."""
    program = folder.path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return {"PATH": f"{program.parent}:/usr/bin:/bin"}


@pytest.mark.parametrize("program", NOT_OPENSSH)
def test_another_program_called_ssh_is_not_asked(folder: Folder, program: str) -> None:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{NOT_OPENSSH[program]} is not installed")
    ran = folder.path / "ran"
    environ = path_with(folder, f'echo "$*" >> {ran}\nexec {path} "$@"')
    configure(folder, "Host b\n  Port 7\n  User me\n  IdentityFile /k\n")
    host = folder.host("", environ)
    assert (host.port, host.user, host.identity_file) == (7, "me", ("/k",))
    assert ran.read_text().split("\n") == ["-V", ""], "it is asked nothing but what it is"


@needs_ssh
def test_a_home_of_another_user_needs_no_file_of_ours(
    folder: Folder,
) -> None:
    """ssh finds the ssh_config of the password database only: in a container, $HOME is another."""
    configure(folder, CONFIG)
    file = folder.write("version: 1\nhosts: {b: {}}\n")
    environ = {"HOME": str(folder.home), "PATH": os.environ["PATH"]}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))  # as on a disk that is full
    try:
        host = load_profile(file, environ).profile.host("b")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (host.port, host.user) == (7, "by-client")


@needs_ssh
def test_openssh_behind_a_script_is_asked(folder: Folder) -> None:
    configure(folder, CONFIG)
    host = folder.host("", path_with(folder, f'exec {SSH} "$@"'))
    assert (host.port, host.user) == (7, "by-client")


def test_a_program_that_is_replaced_is_looked_at_anew(folder: Folder) -> None:
    configure(folder, CONFIG)
    environ = path_with(folder, "exit 0")
    (mistake,) = folder.mistakes("hosts: {b: {}}\n", environ)
    assert "Match exec is not decided here" in mistake
    if SSH:
        program = folder.path / "bin" / "ssh"
        program.unlink()
        program.symlink_to(SSH)
        assert folder.host("", environ).user == "by-client"


@needs_ssh
@needs_root
@pytest.mark.parametrize("home", ["/home/app", ""])
def test_a_user_id_without_a_name_is_no_reason_to_refuse(home: str) -> None:
    """As in OpenShift. OpenSSH's client says "No user exists for uid", whatever it is asked."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "config").write_text("Host b\n  Port 7\n  IdentityFile ~/k-%u\n")
        (folder / "dev.yaml").write_text("hosts: {b: {ssh_config: ./config}}\n")
        for path in folder.iterdir():
            path.chmod(0o644)
            os.chown(path, NOBODY, NOBODY)
        environ = {"PATH": os.defpath, **({"HOME": home} if home else {})}
        host = as_nobody(lambda: load_profile(folder / "dev.yaml", environ).profile.hosts[0])
    assert isinstance(host, Host), host
    assert (host.port, host.user, host.identity_file) == (7, None, (f"{home}/k-{NOBODY}",))
