"""`hooks` of a profile: words, and a program's path."""

from __future__ import annotations

import pytest

from tests.config.conftest import Folder
from tunnelctl.config.profile.canonical import as_yaml
from tunnelctl.config.yaml.mistakes import ProfileInvalid
from tunnelctl.spec.profile import Hooks

HOST = "version: 1\nhosts: {b: {embedded: true}}\n"


def test_words_are_words_and_a_path_is_absolute(folder: Folder) -> None:
    profile = folder.load(
        f'{HOST}hooks:\n  on_up: [notify-send, "it is  up"]\n  on_down: [./told, ./as-it-is]\n'
    ).profile
    assert profile.hooks.on_up == ("notify-send", "it is  up")
    assert profile.hooks.on_down == (str(folder.path / "told"), "./as-it-is")
    assert profile.hooks.on_failed == ()
    again = folder.load(as_yaml(profile)).profile
    assert again.hooks == profile.hooks


def test_without_hooks_there_are_none(folder: Folder) -> None:
    profile = folder.load(HOST).profile
    assert profile.hooks == Hooks()
    assert "hooks" not in as_yaml(profile)


@pytest.mark.parametrize(
    ("hooks", "said"),
    [
        ("{on_up: notify-send up}", "hooks.on_up: must be a list of words"),
        ("{on_up: []}", "hooks.on_up: must be a list of words"),
        ("{on_start: [a]}", "hooks.on_start: unknown key"),
        ("{on_dwn: [a]}", "did you mean on_down?"),
        ("[a]", "hooks: "),
    ],
)
def test_mistakes(folder: Folder, hooks: str, said: str) -> None:
    with pytest.raises(ProfileInvalid) as refused:
        folder.load(f"{HOST}hooks: {hooks}\n")
    (mistake,) = refused.value.mistakes
    assert said in str(mistake)
    assert ":3:" in str(mistake)
