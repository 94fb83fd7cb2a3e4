"""A place to write profiles in, and to read them from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tunnelctl.config.openssh import lookup as sshconfig
from tunnelctl.config.profile.load import Loaded, ProfileInvalid, load_profile
from tunnelctl.spec.forward import Forward
from tunnelctl.spec.host import Host

# Enough of a profile to hang one host or one forward on.
HOST = "hosts:\n  b: {}\n"
REST = "hosts: {b: {}}\n"


class Folder:
    """A folder of profiles. Mistakes come back without the folder's own path."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.home = path.parent / "home"  # of the user; nothing is there

    def write(self, text: str | bytes, name: str = "dev.yaml") -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        path.chmod(0o644)
        return path

    def load(self, text: str | bytes, environ: Mapping[str, str] | None = None) -> Loaded:
        return load_profile(self.write(text), {"HOME": str(self.home), **(environ or {})})

    def mistakes(self, text: str | bytes, environ: Mapping[str, str] | None = None) -> list[str]:
        with pytest.raises(ProfileInvalid) as caught:
            self.load(text, environ)
        return [str(mistake).replace(f"{self.path}/", "") for mistake in caught.value.mistakes]

    def host(self, keys: str, environ: Mapping[str, str] | None = None) -> Host:
        """The host that has these keys, written in a flow map."""
        return self.load(f"hosts:\n  b: {{{keys}}}\n", environ).profile.host("b")

    def forward(self, keys: str) -> Forward:
        """The forward that has these keys, written in a flow map."""
        return self.load(f"{REST}forwards:\n  f: {{{keys}, via: b}}\n").profile.forwards[0]

    def host_mistakes(self, keys: str) -> list[str]:
        return self.mistakes(f"hosts:\n  b: {{{keys}}}\n")

    def forward_mistakes(self, keys: str) -> list[str]:
        return self.mistakes(f"{REST}forwards:\n  f: {{{keys}, via: b}}\n")


@pytest.fixture(autouse=True)
def _no_ssh_config_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the system's ssh_config says is no part of a profile of these tests."""
    monkeypatch.setattr(sshconfig, "SYSTEM_FILE", str(tmp_path / "ssh_config"))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """An empty folder for profiles."""
    path = tmp_path / "profiles"
    path.mkdir(mode=0o755)
    return Folder(path)
