"""The line for authorized_keys in docs/security.md allows what it says, and nothing else."""

from __future__ import annotations

import pytest

from tests.docs.conftest import Examples
from tests.docs.pages import ROOT, fenced
from tests.support.sshd import OpenSSHServer

PAGE = ROOT / "docs" / "security.md"


@pytest.mark.timeout(120)
def test_a_login_that_may_only_forward(with_bastion: Examples, sshd: OpenSSHServer) -> None:
    world = with_bastion.world
    (line,) = fenced(PAGE, "text")
    options, kind, _ = with_bastion.moved(line).split(" ", 2)
    key = sshd.authorized_keys.read_text()
    sshd.authorized_keys.write_text(f"{options} {kind} {key.split(' ', 1)[1]}")

    profile = "version: 1\nforwards:\n  f: {%s, via: bastion}\n"
    allowed = {
        "db": 'local: 0, to: "db.internal:5432"',
        "back": 'remote: 2222, to: "127.0.0.1:3000"',
    }
    denied = {
        "other": f'local: 0, to: "127.0.0.1:{sshd.port}"',
        "elsewhere": 'remote: 0, to: "127.0.0.1:3000"',
    }
    for name, keys in (allowed | denied).items():
        world.profile(name, with_bastion.moved(profile % keys))
    for name in allowed:
        assert world.run("doctor", name).returncode == 0, name
    for name in denied:
        done = world.run("doctor", name)
        assert done.returncode == 76, f"{name}: {done.stdout}{done.stderr}"
