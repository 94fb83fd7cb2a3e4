"""The files of a profile: the named one, merged over those that it extends.

Owns `extends` and the meaning of null. Knows nothing of hosts and forwards.
"""

from __future__ import annotations

import os
from pathlib import Path

from tunnelctl.config.yaml.checked_file import Unreadable, read_profile_file
from tunnelctl.config.yaml.interpolate import InterpolationError, Interpolator
from tunnelctl.config.yaml.mistakes import KeyPath, Mark, Mistakes, shown
from tunnelctl.config.yaml.tree import Mapping, Node, Scalar, Sequence, overlay
from tunnelctl.config.yaml.yaml12 import decode, parse

_MAX_LAYERS = 16  # files that one extends directly, and through each other
_MAX_FILES = 64
EXTENDS = "extends"


class Sources:
    """Reads a file and those it extends. `complete` is false if one of them cannot be used. `given`
    is the content of files that are not read."""

    def __init__(
        self,
        interpolator: Interpolator,
        mistakes: Mistakes,
        given: dict[str, bytes] | None = None,
    ) -> None:
        self.complete = True
        self.layered: set[str] = set()  # the chain of files that extend each other
        self._interpolator = interpolator
        self._mistakes = mistakes
        self._given = given or {}
        self._trees: dict[str, Mapping | None] = {}

    @property
    def files(self) -> frozenset[str]:
        """Every file that was read, or should have been."""
        return frozenset(self._trees)

    def read(self, file: str) -> Mapping | None:
        """The whole tree of the profile in `file`, or None after reporting why there is none."""
        tree = self._read(file, Mark(file), (), ())
        if tree is None:
            return None
        return Mapping(tree.mark, {k: e for k, e in tree.entries.items() if not k.startswith("x-")})

    def _read(
        self, file: str, named: Mark, path: KeyPath, chain: tuple[str, ...]
    ) -> Mapping | None:
        identity = os.path.realpath(file)
        if identity in chain:
            self._lack(named, path, f"{file} extends itself")
            return None
        if len(chain) >= _MAX_LAYERS:
            self._lack(named, path, f"more than {_MAX_LAYERS} files extend each other")
            return None
        if identity not in self._trees:
            if len(self._trees) >= _MAX_FILES:
                self._lack(named, path, f"more than {_MAX_FILES} files make up this profile")
                return None
            self._trees[identity] = self._layers(file, named, path, (*chain, identity))
        return self._trees[identity]

    def _layers(
        self, file: str, named: Mark, path: KeyPath, chain: tuple[str, ...]
    ) -> Mapping | None:
        top = self._parse(file, named, path)
        if top is None:
            self.complete = False
            return None
        wanted = top.child(EXTENDS)
        if wanted is None:
            return top
        self.layered.add(file)
        own = Mapping(top.mark, {k: e for k, e in top.entries.items() if k != EXTENDS})
        below: Node = Mapping(top.mark)
        for item, where in self._bases(wanted):
            path_of_base = self._path_of(file, item, where)
            base = path_of_base and self._read(path_of_base, item.mark, where, chain)
            if base:
                below = overlay(below, base)
        merged = overlay(below, own)
        return merged if isinstance(merged, Mapping) else own

    def _parse(self, file: str, named: Mark, path: KeyPath) -> Mapping | None:
        try:
            raw = self._given[file] if file in self._given else read_profile_file(Path(file))
        except Unreadable as error:
            about = "" if named.file == file else f"{file}: "
            for reason in error.reasons:
                self._mistakes.add(named, path, about + reason)
            return None
        text = decode(raw, file, self._mistakes)
        if text is None:
            return None
        tree = parse(text, file, self._mistakes, self._substitute)
        if tree is None or isinstance(tree, Mapping):
            return tree
        if not (isinstance(tree, Scalar) and tree.broken):
            self._mistakes.add(tree.mark, (), "a profile is a map of keys such as hosts, forwards")
        return None

    def _bases(self, wanted: Node) -> list[tuple[Scalar, KeyPath]]:
        """The files named by `extends`, each with its path in the profile."""
        listed: list[tuple[Node, KeyPath]] = [(wanted, (EXTENDS,))]
        if isinstance(wanted, Sequence):
            if len(wanted.items) > _MAX_LAYERS:
                self._lack(wanted.mark, (EXTENDS,), f"names more than {_MAX_LAYERS} files")
                return []
            listed = [(item, (EXTENDS, index)) for index, item in enumerate(wanted.items)]
        bases = []
        for item, path in listed:
            if isinstance(item, Scalar) and isinstance(item.value, str) and item.value:
                bases.append((item, path))
            elif isinstance(item, Scalar) and (item.broken or item.optional):
                self.complete = self.complete and not item.broken
            else:
                self._lack(item.mark, path, f"must be the path of a file, not {_what(item)}")
        return bases

    def _path_of(self, file: str, item: Scalar, where: KeyPath) -> str | None:
        try:
            expanded = self._interpolator.expand_user(str(item.value))
        except ValueError as error:
            self._lack(item.mark, where, str(error))
            return None
        return os.path.normpath(os.path.join(os.path.dirname(file), expanded))

    def _substitute(self, text: str, mark: Mark, path: KeyPath) -> str | None:
        try:
            return self._interpolator.substitute(text)
        except InterpolationError as error:
            self._mistakes.add(mark, path, str(error))
            return None

    def _lack(self, mark: Mark, path: KeyPath, message: str) -> None:
        self.complete = False
        self._mistakes.add(mark, path, message)


def _what(node: Node) -> str:
    if isinstance(node, Mapping):
        return "a map of keys"
    return "a list" if isinstance(node, Sequence) else shown(node.value)
