"""What the words of a command mean."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tunnelctl.cli.terminal import selection
from tunnelctl.errors import Code, Failure
from tunnelctl.state.documents.snapshot import (
    ForwardState,
    ForwardStatus,
    HostState,
    HostStatus,
    ProfileState,
    ProfileStatus,
    Wanted,
)

KNOWN = ("dev", "dev-two", "other")


def profile(name: str, **forwards: str) -> ProfileStatus:
    rules = (
        ForwardStatus(forward, "local", "", None, via, ForwardState.UP)
        for forward, via in forwards.items()
    )
    hosts = (HostStatus(host, HostState.UP) for host in dict.fromkeys(forwards.values()))
    one = ProfileStatus(name, f"{name}.yaml", Wanted.UP, ProfileState.UP)
    return replace(one, hosts=tuple(hosts), forwards=tuple(rules))


def with_labels(one: ProfileStatus, *labels: dict[str, str]) -> ProfileStatus:
    rules = zip(one.forwards, labels, strict=True)
    return replace(
        one, forwards=tuple(replace(rule, labels=tuple(given.items())) for rule, given in rules)
    )


DOCUMENT = [profile("dev", db="bastion", web="edge"), profile("dev-two", db="edge"), profile("x")]


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ((), []),
        (("dev",), ["dev"]),
        (("unknown",), ["unknown"]),
        (("dev*",), ["dev", "dev-two"]),
        (("other", "*", "dev"), ["other", "dev", "dev-two"]),
        (("de[v]", "?ther"), ["dev", "other"]),
    ],
)
def test_profiles(words: tuple[str, ...], meant: list[str]) -> None:
    assert selection.profiles(words, KNOWN) == meant


def test_a_wildcard_that_means_nothing_is_said() -> None:
    with pytest.raises(Failure) as refused:
        selection.profiles(["web*"], KNOWN)
    assert refused.value.code is Code.PROFILE_NOT_FOUND
    assert "dev, dev-two, other" in refused.value.hint


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ((), ["dev/db", "dev/web", "dev-two/db", "x"]),
        (("dev",), ["dev/db", "dev/web"]),
        (("dev/db",), ["dev/db"]),
        (("dev*/db",), ["dev/db", "dev-two/db"]),
        (("*/edge",), ["dev/web", "dev-two/db"]),
        (("dev/db", "dev/web"), ["dev/db", "dev/web"]),
        (("x",), ["x"]),
    ],
)
def test_parts(words: tuple[str, ...], meant: list[str]) -> None:
    found = [
        name
        for kept in selection.forwards(DOCUMENT, words)
        for name in [f"{kept.name}/{rule.name}" for rule in kept.forwards] or [kept.name]
    ]
    assert found == meant


@pytest.mark.parametrize("word", ["unknown", "unknown/db", "dev/unknown", "web*", "x/db"])
def test_a_word_that_means_nothing_is_said(word: str) -> None:
    with pytest.raises(Failure) as refused:
        selection.forwards(DOCUMENT, [word])
    assert refused.value.code is Code.PROFILE_NOT_FOUND


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ((), {}),
        (("dev",), {"dev": []}),
        (("dev*",), {"dev": [], "dev-two": []}),
        (("dev/edge",), {"dev": ["edge"]}),
        (("*/edge",), {"dev": ["edge"], "dev-two": ["edge"]}),
        (("dev/edge", "dev/b*"), {"dev": ["edge", "bastion"]}),
        (("dev/edge", "dev", "dev/bastion"), {"dev": []}),
    ],
)
def test_hosts(words: tuple[str, ...], meant: dict[str, list[str]]) -> None:
    assert selection.hosts(DOCUMENT, words) == meant


@pytest.mark.parametrize("word", ["unknown", "dev/db", "x/edge", "web*/edge"])
def test_a_host_that_is_not_there_is_said(word: str) -> None:
    with pytest.raises(Failure) as refused:
        selection.hosts(DOCUMENT, [word])
    assert refused.value.code is Code.PROFILE_NOT_FOUND


def test_a_profile_that_nobody_has_is_told_from_one_that_is_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "staging.yaml").touch()
    monkeypatch.setenv("TUNNELCTL_CONFIG_DIR", str(tmp_path))
    assert selection.not_up("staging", KNOWN).hint == "tunnelctl up staging -d"
    assert selection.not_up("stagign", KNOWN).hint == "did you mean staging?"
    assert selection.not_up("othre", KNOWN).hint == "did you mean other?"


@pytest.mark.parametrize(
    ("labels", "meant"),
    [
        ((), ["dev", "other"]),
        (("team",), ["dev/db", "dev/web", "other/x"]),
        (("team=web",), ["dev/db", "other/x"]),
        (("team=web", "tier"), ["dev/db"]),
        (("team=",), []),
        (("nothing",), []),
    ],
)
def test_labels(labels: tuple[str, ...], meant: list[str]) -> None:
    dev, other = profile("dev", db="bastion", web="edge"), profile("other", x="edge", y="edge")
    dev = with_labels(dev, {"team": "web", "tier": "data"}, {"team": "ops"})
    other = with_labels(other, {"team": "web"}, {})
    chosen = selection.labelled([dev, other], labels)
    if not labels:
        assert [one.name for one in chosen] == meant
        return
    assert [f"{p.name}/{f.name}" for p in chosen for f in p.forwards] == meant
    for one in chosen:
        assert {host.name for host in one.hosts} == {f.via for f in one.forwards}
