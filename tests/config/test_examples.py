"""The profiles in configs/ are what newcomers copy: all of them load, and dev does what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.config.conftest import Folder
from tunnelctl.config.profile.load import load_profile
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.spec.forward import Side

CONFIGS = Path(__file__).parents[2] / "configs"
FILES = sorted(CONFIGS.glob("*.y*ml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.name))
def test_every_example_loads_whatever_is_set(folder: Folder, file: Path) -> None:
    # Copies, so that the rights a checkout gave them do not matter.
    for each in FILES:
        folder.write(each.read_bytes(), each.name)
    copy = folder.path / file.name
    assert load_profile(copy, {"HOME": str(folder.home)}).profile.description
    assert load_profile(copy, {"USER": "me", "HOME": "/home/me"}).profile.name == file.stem


def test_dev_shows_both_rules_on_the_embedded_server(folder: Folder) -> None:
    profile = folder.load((CONFIGS / "dev.yaml").read_bytes()).profile
    (host,) = profile.hosts
    assert host.embedded
    hello, back = profile.forwards
    assert (hello.side, hello.listen, hello.target) == (
        Side.HERE,
        Endpoint("127.0.0.1", 62893),
        Endpoint("hello", 80),
    )
    assert (back.side, back.target) == (Side.THERE, Endpoint("127.0.0.1", 62893))
    assert hello.required
    assert back.required


def test_the_stanza_for_a_real_server_can_be_put_in_place(folder: Folder) -> None:
    text = (CONFIGS / "dev.yaml").read_text()
    commented = re.search(r"(?m)^#   demo:\n(?:#     .+\n)+", text)
    assert commented is not None
    stanza = re.sub(r"(?m)^# ", "", commented[0])
    changed, count = re.subn(r"(?m)^  demo:\n(?:    .+\n)+", stanza, text)
    assert count == 1
    profile = folder.load(changed, {"HOME": "/home/me"}).profile
    (host,) = profile.hosts
    assert not host.embedded
    assert (host.hostname, host.user) == ("server.example.com", "alice")
    assert host.identity_file == ("/home/me/.ssh/id_ed25519",)
    assert [forward.via for forward in profile.forwards] == ["demo", "demo"]


def test_the_forward_that_is_commented_out_in_expose_loads(folder: Folder) -> None:
    text = (CONFIGS / "expose.yaml").read_text()
    text = re.sub(r"(?m)^  # (public:|  )", r"  \1", text)
    public = folder.load(text).profile.forwards[-1]
    assert (public.name, public.expose) == ("public", True)
