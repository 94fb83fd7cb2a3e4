"""The profiles and parts that the words of a command select: `dev`, `'dev*'`, `dev/db`.

Owns the messages for a word that selects nothing. A word without a wildcard selects itself, even if
there is no such profile: the command reports what is missing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tunnelctl.cli import sentences
from tunnelctl.errors import Failure
from tunnelctl.home.paths import current_folder
from tunnelctl.spec.patterns import Pattern, has_wildcard

if TYPE_CHECKING:  # `ls` and `paths` are quicker without
    from tunnelctl.state.documents.snapshot import ForwardStatus, ProfileStatus


def profiles(words: Iterable[str], known: Iterable[str]) -> list[str]:
    """The `known` names that `words` select, each once, in their order.

    Raises:
        Failure: profile-not-found, a wildcard means none of them.
    """
    names = tuple(known)
    return list(dict.fromkeys(name for word in words for name in _meant(word, names)))


def forwards(document: Sequence[ProfileStatus], words: Iterable[str]) -> Sequence[ProfileStatus]:
    """The part of the profiles of a status document that `words` select; everything without words.
    A forward is selected by its name and by that of its host.

    Raises:
        Failure: profile-not-found, a word means nothing.
    """
    patterns = [Pattern(word) for word in words]
    for pattern in patterns:
        names = {
            name
            for one in _named(pattern, document)
            for rule in one.forwards
            for name in _names(rule)
        }
        _check(pattern, names)
    if not patterns:
        return document
    kept = []
    for profile in document:
        meant = [pattern for pattern in patterns if pattern.takes(profile.name)]
        rules = [
            rule
            for rule in profile.forwards
            if any(pattern.takes(profile.name, *_names(rule)) for pattern in meant)
        ]
        if rules or any(pattern.is_whole for pattern in meant):
            kept.append(replace(profile, forwards=tuple(rules)))
    return kept


def labelled(document: Sequence[ProfileStatus], labels: Sequence[str]) -> Sequence[ProfileStatus]:
    """The forwards in a status document that have every label, each `KEY` or `KEY=VALUE`; all
    without labels."""
    if not labels:
        return document
    wanted = [label.partition("=") for label in labels]

    def has_all(forward: ForwardStatus) -> bool:
        given = dict(forward.labels)
        return all(
            key in given and (not equals or given[key] == value) for key, equals, value in wanted
        )

    kept = []
    for profile in document:
        rules = list(filter(has_all, profile.forwards))
        vias = {rule.via for rule in rules}
        if rules:
            carriers = tuple(host for host in profile.hosts if host.name in vias)
            kept.append(replace(profile, hosts=carriers, forwards=tuple(rules)))
    return kept


def hosts(
    document: Iterable[ProfileStatus], words: Iterable[str], stopped: Collection[str] = ()
) -> dict[str, list[str]]:
    """The profiles of a status document that `words` select, and the named hosts of each: none if a
    profile is selected as a whole. The daemon also knows those that are `stopped`.

    Raises:
        Failure: profile-not-found, a word means nothing; not-up, it means one that is stopped.
    """
    chosen: dict[str, list[str]] = {}
    whole = set()
    for pattern in map(Pattern, words):
        named = _named(pattern, document, stopped)
        _check(pattern, {host.name for profile in named for host in profile.hosts})
        for profile in document:
            name = profile.name
            if not pattern.takes(name):
                continue
            if pattern.is_whole:
                whole.add(name)
                chosen[name] = []
            elif name not in whole:
                found = [h.name for h in profile.hosts if pattern.takes(name, h.name)]
                if found:
                    chosen[name] = list(dict.fromkeys([*chosen.get(name, []), *found]))
    return chosen


def demand_ours(
    sources: Mapping[str, str],
    names: Iterable[str],
    failure: Callable[[str, str, Path], Failure] = sentences.up_from_another_file,
) -> None:
    """Check that each of these profiles is up from the file that its name means here, because an
    order must not reach that of another project. Without a file here only the name counts.

    Raises:
        Failure: name-taken; `failure` makes it of the name and both files, the daemon's first.
    """
    from tunnelctl.config.profile.find import file_called, is_same_file  # `ps` needs none of it

    for name in names:
        here = file_called(name, os.environ, current_folder()) if name in sources else None
        if here is not None and not is_same_file(str(here), sources[name]):
            raise failure(name, sources[name], here)


def sources(profiles: Iterable[ProfileStatus]) -> dict[str, str]:
    """The file of each profile, by its name: what `demand_ours` compares."""
    return {profile.name: profile.source for profile in profiles}


def not_up(profile: str, known: Iterable[str], stopped: Collection[str] = ()) -> Failure:
    """The failure for a profile that is not among the `known` ones, which are used for suggestions:
    it is not up if it has a file or is `stopped`, else it does not exist."""
    if profile not in stopped:
        from tunnelctl.config.profile.find import find_profile

        try:
            find_profile(
                profile, environ=os.environ, cwd=current_folder(), others={*known, *stopped}
            )
        except Failure as failure:
            return failure
    return sentences.profile_not_up(profile)


def _meant(word: str, names: Sequence[str]) -> Sequence[str]:
    if not has_wildcard(word):
        return [word]
    found = [name for name in names if Pattern(word).takes(name)]
    if not found:
        raise sentences.no_profile_matches(word, names)
    return found


def _named(
    pattern: Pattern, document: Iterable[ProfileStatus], stopped: Collection[str] = ()
) -> list[ProfileStatus]:
    """The profiles that a pattern selects, if there are any."""
    named = [profile for profile in document if pattern.takes(profile.name)]
    if not named:
        names = [profile.name for profile in document]
        if has_wildcard(pattern.profile):
            raise sentences.no_profile_matches(pattern.profile, names)
        raise not_up(pattern.profile, names, stopped)
    return named


def _check(pattern: Pattern, names: Iterable[str]) -> None:
    """A pattern that is not complete selects one of these."""
    if not pattern.is_whole and not any(pattern.takes(pattern.profile, name) for name in names):
        raise sentences.nothing_meant(pattern.word, sorted(names))


def _names(forward: ForwardStatus) -> tuple[str, str]:
    return (forward.name, forward.via)
