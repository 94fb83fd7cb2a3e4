"""A parsed profile as a tree that knows where each part was written.

Owns the nodes, how one tree is merged over another (`extends`, `defaults`) and how a tree becomes
plain values. Knows neither the syntax nor the meaning of keys.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field, replace

from tunnelctl.config.yaml.mistakes import KeyPath, Mark
from tunnelctl.quick_dataclass import dataclass


class Substituted(str):
    """A scalar with variables in its text: it takes the type that its key requires."""

    __slots__ = ()


# Maps that are a single value and are replaced as a whole: references to secrets.
_WHOLE = frozenset({"password", "passphrase"})

# What a scalar can be; a Substituted one is a str.
Value = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value. `absent` is set if there is none: `key:` or `key: null`.

    `optional`: an absent value is meant, and removes the key. `broken`: a mistake was reported
    already, so no other is reported about the value.
    """

    mark: Mark
    value: Value
    optional: bool = False
    broken: bool = False

    @property
    def absent(self) -> bool:
        """Whether there is no value."""
        return self.value is None and not self.broken


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    mark: Mark
    items: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """The value of one key; `key` is where the key was written."""

    key: Mark
    node: Node


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys and their values, in the order of the file."""

    mark: Mark
    entries: dict[str, Entry] = field(default_factory=dict)

    def child(self, key: str) -> Node | None:
        """The value of `key`, or None."""
        entry = self.entries.get(key)
        return None if entry is None else entry.node


Node = Scalar | Sequence | Mapping


@dataclass(frozen=True, slots=True)
class Position:
    """The positions of a value and its key."""

    key: Mark
    value: Mark
    broken: bool = False


def overlay(below: Node, above: Node) -> Node:
    """`above` merged over `below`: maps merge deeply, anything else replaces.

    A null stays in the result, so that it can also remove what `defaults` sets.
    """
    if not (isinstance(below, Mapping) and isinstance(above, Mapping)):
        return above
    entries = dict(below.entries)
    for key, entry in above.entries.items():
        old = entries.get(key)
        if old is None or key in _WHOLE:
            entries[key] = entry
        else:
            entries[key] = Entry(entry.key, overlay(old.node, entry.node))
    return Mapping(above.mark, entries)


def size(node: Node) -> int:
    """The number of values: this one, and those below it."""
    if isinstance(node, Mapping):
        return 1 + sum(size(entry.node) for entry in node.entries.values())
    return 1 + sum(map(size, node.items)) if isinstance(node, Sequence) else 1


def plain(node: Node) -> object:
    """The tree as dicts, lists and scalars; keys without a value are left out."""
    if isinstance(node, Mapping):
        return {
            key: plain(entry.node)
            for key, entry in node.entries.items()
            if not (isinstance(entry.node, Scalar) and entry.node.absent)
        }
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return node.value


def positions(node: Node, path: KeyPath = (), key: Mark | None = None) -> dict[KeyPath, Position]:
    """The positions of all parts of the tree, by path."""
    found: dict[KeyPath, Position] = {}
    _collect(node, path, key or node.mark, found)
    return found


def _collect(node: Node, path: KeyPath, key: Mark, found: dict[KeyPath, Position]) -> None:
    broken = isinstance(node, Scalar) and node.broken
    found[path] = Position(key, node.mark, broken)
    if isinstance(node, Mapping):
        for name, entry in node.entries.items():
            _collect(entry.node, (*path, name), entry.key, found)
    elif isinstance(node, Sequence):
        for index, item in enumerate(node.items):
            _collect(item, (*path, index), item.mark, found)


def settle(node: Node, forgotten: Callable[[KeyPath, Mark], bool], path: KeyPath = ()) -> Node:
    """The tree, with every key that requires a value and has none marked as broken.

    `forgotten` is called with the path and the place of each such key.
    """
    if isinstance(node, Sequence):
        items = (settle(item, forgotten, (*path, at)) for at, item in enumerate(node.items))
        return Sequence(node.mark, tuple(items))
    if isinstance(node, Scalar):
        return node
    entries = {}
    for name, entry in node.entries.items():
        child, where = entry.node, (*path, name)
        if isinstance(child, Scalar) and child.absent and not child.optional:
            broken = forgotten(where, entry.key)
            entries[name] = Entry(entry.key, replace(child, broken=broken))
        else:
            entries[name] = Entry(entry.key, settle(child, forgotten, where))
    return Mapping(node.mark, entries)
