"""From a file to a Profile, or to all its mistakes at once.

Owns the order of the steps: read and merge, schema, checks, defaults, spec. Changes nothing on this
machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from pathlib import Path

from tunnelctl.config.openssh.lookup import SshConfig
from tunnelctl.config.openssh.names import Aliases
from tunnelctl.config.profile.checks import check_host, check_profile
from tunnelctl.config.profile.convert import Converter
from tunnelctl.config.profile.document import Document
from tunnelctl.config.profile.find import is_profile_name
from tunnelctl.config.profile.keys import SSH_KEYWORDS, HostMap, ProfileMap
from tunnelctl.config.profile.loops import check_loops
from tunnelctl.config.profile.routes import PlaceInDocument, Routes, Via, Written
from tunnelctl.config.profile.sources import Sources
from tunnelctl.config.sentences import NAME_RULE
from tunnelctl.config.values.reach import WAYS
from tunnelctl.config.yaml.interpolate import Interpolator
from tunnelctl.config.yaml.mistakes import KeyPath, Mark, Mistake, Mistakes, ProfileInvalid, shown
from tunnelctl.config.yaml.tree import Mapping as Tree
from tunnelctl.config.yaml.tree import Node, overlay, settle, size
from tunnelctl.config.yaml.yaml12 import MAX_VALUES
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.environment import Environment
from tunnelctl.spec.host import Host
from tunnelctl.spec.profile import HostAnew, Profile

MAX_HOSTS = 1_000
MAX_FORWARDS = 4_000

__all__ = ["Loaded", "Mistake", "ProfileInvalid", "load_profile"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A profile, the environment variables that it uses, by name, and its files.

    Loading the same files with only these variables gives an equal profile. `anew` is None if
    ssh_config does not affect it.
    """

    profile: Profile
    variables: frozenset[str]
    files: frozenset[str] = frozenset()
    anew: HostAnew | None = field(default=None, compare=False)


def load_profile(
    path: Path,
    environ: Mapping[str, str],
    *,
    name: str | None = None,
    text: bytes | None = None,
) -> Loaded:
    """Read the profile in `path`; its name is `name`, or that of the file. With `text` that is its
    content, and no file is read for it.

    Raises:
        ProfileInvalid: with every mistake in the file and in those that it extends.
    """
    return _Loader(path, environ, path.stem if name is None else name, text).load()


def load_profiles(
    found: Iterable[tuple[Path, str | None]], environ: Mapping[str, str]
) -> list[tuple[Path, Loaded]]:
    """Read several profiles, each from its path and by its name, as `load_profile` does.

    Raises:
        ProfileInvalid: with every mistake of every file.
    """
    profiles: list[tuple[Path, Loaded]] = []
    mistakes: list[Mistake] = []
    names, more = [], 0
    for path, name in found:
        names.append(name or str(path))
        try:
            profiles.append((path, load_profile(path, environ, name=name)))
        except ProfileInvalid as invalid:
            mistakes += invalid.mistakes
            more += invalid.more
    if mistakes:
        raise ProfileInvalid(", ".join(names), mistakes, more)
    return profiles


class _Loader:
    def __init__(
        self, path: Path, environ: Mapping[str, str], name: str, text: bytes | None
    ) -> None:
        self._file = str(path)
        self._name = name
        self._mistakes = Mistakes()
        self._interpolator = Interpolator(environ)
        self._converter = Converter(self._interpolator)
        self._ssh_config = SshConfig(environ, self._interpolator.asked, SSH_KEYWORDS)
        given = {} if text is None else {self._file: text}
        self._sources = Sources(self._interpolator, self._mistakes, given)

    def load(self) -> Loaded:
        if not is_profile_name(self._name):
            message = f"{shown(self._name)} cannot be the name of a profile: {NAME_RULE}"
            self._mistakes.add(Mark(self._file), (), message)
        tree = self._sources.read(self._file)
        if tree is None:
            raise self._invalid()
        if self._is_too_large(tree):
            raise self._invalid()
        tree = self._settled(tree)
        document = Document(tree, self._mistakes)
        defaults = Document(_defaults(tree), self._mistakes, ("defaults",))
        model = document.validate(ProfileMap)
        if self._sources.complete:
            check_profile(document, self._aliases(defaults), self._mistakes)
        hosts = dict(_hosts_with_defaults(tree, self._mistakes))
        for host in (defaults, *hosts.values()):
            check_host(host)
        check_loops(hosts)
        if self._mistakes or model is None:
            raise self._invalid()
        return self._convert(document, model, defaults, hosts)

    def _convert(
        self,
        document: Document,
        model: ProfileMap,
        defaults: Document,
        documents: dict[str, Document],
    ) -> Loaded:
        converter = self._converter

        def written(name: str, model: HostMap | None, part: Document) -> Written:
            model = model or HostMap()
            return Written(name, model, part, converter.ssh_config(model, part))

        entries = [written(name, part.validate(HostMap), part) for name, part in documents.items()]
        below = written("defaults", model.defaults, defaults)
        carriers = [
            Via(forward.via, PlaceInDocument(document, ("forwards", name, "via")))
            for name, forward in (model.forwards or {}).items()
            if forward.via
        ]
        routes = Routes(entries, below, carriers, converter, self._ssh_config)
        hosts = routes.hosts()
        if self._mistakes:
            raise self._invalid()
        forwards = tuple(
            converter.forward(name, forward, document)
            for name, forward in (model.forwards or {}).items()
        )
        hooks = converter.hooks(model.hooks, document)
        if self._mistakes:  # a path that cannot be made absolute
            raise self._invalid()
        unlinking = frozenset(rule.via for rule in forwards if rule.unlink_remote)
        profile = Profile(
            name=self._name,
            source=self._file,
            hosts=tuple(h.running_commands() if h.name in unlinking else h for h in hosts),
            forwards=forwards,
            description=model.description or "",
            hooks=hooks,
        )
        asked = self._interpolator.asked | converter.secret_variables
        anew = self._anew(routes, unlinking) if self._ssh_config.says_something else None
        return Loaded(profile, frozenset(asked), self._sources.files, anew)

    def _anew(self, routes: Routes, unlinking: frozenset[str]) -> HostAnew:
        def anew(name: str, environment: Environment) -> Host:
            mistakes = Mistakes()
            host = routes.anew(SshConfig(environment, set(), SSH_KEYWORDS), mistakes).host(name)
            if mistakes:
                raise ProfileInvalid(self._name, mistakes.first(self._file))
            return host.running_commands() if name in unlinking else host

        return anew

    def _is_too_large(self, tree: Tree) -> bool:
        """Whether it is too large to be checked in a second, which is then reported."""
        before = len(self._mistakes)
        for key, limit in (("hosts", MAX_HOSTS), ("forwards", MAX_FORWARDS)):
            entry = tree.entries.get(key)
            if entry and isinstance(entry.node, Tree) and len(entry.node.entries) > limit:
                has = f"{len(entry.node.entries):,} {key}"
                message = f"a profile has at most {limit:,} {key}, and this one has {has}"
                self._mistakes.add(entry.key, (key,), message)
        hosts, defaults = tree.child("hosts"), _defaults(tree)
        count = len(hosts.entries) if isinstance(hosts, Tree) else 0
        if size(tree) + size(defaults) * count > MAX_VALUES:
            with_defaults = ", with the defaults of each host" if count else ""
            message = f"a profile has at most {MAX_VALUES:,} keys and values{with_defaults}"
            self._mistakes.add(defaults.mark if count else tree.mark, (), message)
        return len(self._mistakes) > before

    def _aliases(self, defaults: Document) -> Aliases:
        """The names in the ssh_config that a name without an entry is looked up in."""
        model = defaults.validate(HostMap) or HostMap()
        return self._ssh_config.aliases(self._converter.ssh_config(model, defaults))

    def _settled(self, tree: Tree) -> Tree:
        """A null removes a key; if there is nothing to remove, a value is missing."""
        defaults = tree.child("defaults")

        def forgotten(path: KeyPath, key: Mark) -> bool:
            if key.file in self._sources.layered or (
                path[0] == "hosts" and _has(defaults, path[2:])
            ):
                return False
            self._mistakes.add(key, path, "has no value; give one, or leave the key out")
            return True

        settled = settle(tree, forgotten)
        assert isinstance(settled, Tree)
        return settled

    def _invalid(self) -> ProfileInvalid:
        first = self._mistakes.first(self._file)
        return ProfileInvalid(self._name, first, len(self._mistakes) - len(first))


def _hosts_with_defaults(tree: Tree, mistakes: Mistakes) -> Iterator[tuple[str, Document]]:
    """Each host merged over `defaults`; a way to the host replaces the one of `defaults`."""
    below, hosts = _defaults(tree), tree.child("hosts")
    wayless = Tree(below.mark, {k: e for k, e in below.entries.items() if k not in WAYS})
    if not isinstance(hosts, Tree):
        return
    for name, entry in hosts.entries.items():
        if isinstance(entry.node, Tree):
            has_way = any(key in entry.node.entries for key in WAYS)
            merged = overlay(wayless if has_way else below, entry.node)
            yield name, Document(merged, mistakes, ("hosts", name), entry.key)


def _defaults(tree: Tree) -> Tree:
    defaults = tree.child("defaults")
    return defaults if isinstance(defaults, Tree) else Tree(tree.mark)


def _has(node: Node | None, path: KeyPath) -> bool:
    for part in path:
        node = node.child(str(part)) if isinstance(node, Tree) else None
    return bool(path) and node is not None
