"""What ssh_config says of a host is asked again for each attempt, but not too often."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.here import here
from tunnelctl.config.openssh import lookup
from tunnelctl.config.profile.load import load_profile
from tunnelctl.spec.host import Host
from tunnelctl.supervisor.logins import current_hosts
from tunnelctl.supervisor.logins.current_hosts import Anew


class Folder:
    """A home with an ssh_config, and a profile that leaves its host to it."""

    def __init__(self, home: Path) -> None:
        self.config = home / ".ssh" / "config"
        self.config.parent.mkdir(mode=0o700)
        self.say("127.0.0.1")
        self.profile = home / "dev.yaml"
        self.profile.write_text(
            "version: 1\nhosts:\n  prod: {user: me, fallback: [other]}\n"
            "  other: {hostname: 127.0.0.9}\n"
        )

    def say(self, hostname: str) -> None:
        self.config.write_text(f"Host prod\n  HostName {hostname}\n")
        self.config.chmod(0o600)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.setenv("HOME", str(tmp_path))
    return Folder(tmp_path)


def loaded(folder: Folder) -> tuple[Host, Anew]:
    found = load_profile(folder.profile, here())
    return found.profile.hosts[0], Anew("dev", found.anew)


async def test_it_is_asked_again(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(current_hosts, "_EVERY", 0.0)
    host, anew = loaded(folder)
    folder.say("127.0.0.2")
    found = await anew.candidate(host, host, here())
    assert found == replace(host, hostname="127.0.0.2")
    assert await anew.candidate(host, host.fallback[0], here()) == host.fallback[0]


async def test_it_is_not_asked_twice_in_a_moment(folder: Folder) -> None:
    host, anew = loaded(folder)
    folder.say("127.0.0.2")
    assert await anew.candidate(host, host, here()) == host


async def test_a_mistake_changes_nothing(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(current_hosts, "_EVERY", 0.0)
    host, anew = loaded(folder)
    folder.say("127.0.0.2")
    last = await anew.candidate(host, host, here())
    folder.config.write_text("Host prod\n  Port nonsense\n")
    assert await anew.candidate(host, host, here()) == last
    assert "dev/prod uses its previous settings" in caplog.text


def test_a_profile_that_leaves_nothing_open_asks_nothing(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.config.unlink()
    # That of a system with systemd has blocks.
    monkeypatch.setattr(lookup, "SYSTEM_FILE", str(folder.config))
    assert load_profile(folder.profile, here()).anew is None
