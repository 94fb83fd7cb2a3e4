"""The hosts of a profile: their hops and fallbacks.

Owns how names lead to hosts, the loops that ssh_config closes (loops.py has the others), and the
lookup of missing keys in ssh_config.
As in OpenSSH, the first hop of a list is reached by its own way and each other hop from the one
before it, whatever its own way would be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from tunnelctl.config.openssh.lines import SshConfigError
from tunnelctl.config.openssh.lookup import Lookup, SshConfig
from tunnelctl.config.openssh.values import HostSettings
from tunnelctl.config.profile.convert import Converter
from tunnelctl.config.profile.document import Document
from tunnelctl.config.profile.keys import HostMap
from tunnelctl.config.profile.loops import loop_message
from tunnelctl.config.values.reach import MAX_HOPS, WAYS, Jump
from tunnelctl.config.yaml.mistakes import KeyPath, Mistakes
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.host import Host

_NOTHING = HostSettings()


@dataclass(frozen=True, slots=True)
class PlaceInDocument:
    """A place in the file."""

    document: Document
    path: KeyPath

    def say(self, message: str, *, at_key: bool = False) -> None:
        """Report a mistake here."""
        self.document.say(self.path, message, at_key=at_key)

    def noting(self, mistakes: Mistakes) -> PlaceInDocument:
        """The same, with mistakes reported there."""
        return replace(self, document=self.document.noting(mistakes))


@dataclass(frozen=True, slots=True)
class Written:
    """A host as in the file, with its `defaults`.

    `source` is the ssh_config that it is looked up in. `named_at` is the place of its name, for one
    without an entry of its own.
    """

    name: str
    model: HostMap
    document: Document
    source: bool | str
    named_at: PlaceInDocument | None = None

    def place(self, key: str) -> PlaceInDocument:
        """The place of a key of it, or the nearest place."""
        return self.named_at or PlaceInDocument(self.document, (*self.document.path, key))

    def noting(self, mistakes: Mistakes) -> Written:
        """The same, with mistakes reported there."""
        named_at = None if self.named_at is None else self.named_at.noting(mistakes)
        return replace(self, document=self.document.noting(mistakes), named_at=named_at)

    @property
    def question(self) -> Lookup:
        """The lookup for it."""
        model = self.model
        source = False if model.embedded else self.source
        return Lookup(self.name, source, model.hostname, model.user, model.port, self.has_way)

    @property
    def has_way(self) -> bool:
        """Whether the profile gives the way to it."""
        return bool(self.model.embedded) or any(key in self.model.model_fields_set for key in WAYS)


@dataclass(frozen=True, slots=True)
class Via:
    """A host that carries a forward: its `via`, and the place of that."""

    jump: Jump
    place: PlaceInDocument


class Routes:
    """Makes hosts from the file; a name without an entry of its own counts as `NAME: {}`.

    Of `carriers` with the same name the first is used; checks.py has checked that they are equal.
    Mistakes are reported at their place.
    """

    def __init__(
        self,
        written: Iterable[Written],
        below: Written,
        carriers: Iterable[Via],
        converter: Converter,
        ssh_config: SshConfig,
    ) -> None:
        self._written = {host.name: host for host in written}
        self._below = below
        self._carriers: dict[str, Via] = {}
        for carrier in carriers:
            self._carriers.setdefault(carrier.jump.name, carrier)
        self._converter = converter
        self._ssh_config = ssh_config
        self._failed: set[str] = set()
        # Made once for each entry of the file: many hosts may name the same hop or fallback.
        self._straights: dict[str, Host] = {}
        self._reaches: dict[str, Host] = {}

    def anew(self, ssh_config: SshConfig, mistakes: Mistakes) -> Routes:
        """The same, with the answers of this ssh_config, and mistakes reported there."""
        return Routes(
            (host.noting(mistakes) for host in self._written.values()),
            self._below.noting(mistakes),
            (replace(c, place=c.place.noting(mistakes)) for c in self._carriers.values()),
            self._converter,
            ssh_config,
        )

    def host(self, name: str) -> Host:
        """One of `hosts`."""
        wanted = self._carrier(name) if name in self._carriers else self._written[name]
        self._look_up([wanted])
        return self._host(wanted)

    def hosts(self) -> tuple[Host, ...]:
        """Every host that needs its own link, in the order of the file.

        That is a host that carries a forward, or that is no hop or fallback of another.
        """
        wanted = [*self._written.values(), *map(self._carrier, self._carriers)]
        wanted = list({host.name: host for host in wanted}.values())
        self._look_up(wanted)
        made = [self._host(host) for host in wanted]
        helping = {
            other.name
            for host in made
            for each in (host, *host.fallback)
            for other in (*each.proxy_jump, *host.fallback)
        }
        return tuple(h for h in made if h.name in self._carriers or h.name not in helping)

    def _carrier(self, name: str) -> Written:
        carrier = self._carriers[name]
        return self._of(carrier.jump, carrier.place, self._below)

    def _look_up(self, hosts: list[Written]) -> None:
        """Look up everything that is needed, concurrently: the hosts, then the hops found by
        that."""
        seen: set[Lookup] = set()
        while hosts:
            questions = [host.question for host in hosts]
            self._ssh_config.prepare(questions)
            seen.update(questions)
            hops = [self._of(j, h.place("proxy_jump"), h) for h in hosts for j in self._jumps(h)]
            hosts = [hop for hop in hops if hop.question not in seen]

    def _of(self, jump: Jump, named_at: PlaceInDocument, near: Written) -> Written:
        """The settings of a name, with the user and port written beside it.

        A name that the file does not have is looked up where `near`, which names it, was.
        """
        found = self._written.get(jump.name)
        if found is None:
            found = replace(self._below, name=jump.name, source=near.source, named_at=named_at)
        given = {"user": jump.user, "port": jump.port}
        given = {key: value for key, value in given.items() if value is not None}
        return replace(found, model=found.model.model_copy(update=given)) if given else found

    def _found(self, written: Written) -> HostSettings:
        """Its settings in ssh_config; a failure is reported once."""
        try:
            return self._ssh_config.found(written.question)
        except SshConfigError as error:
            if str(error) not in self._failed:
                self._failed.add(str(error))
                message = f"ssh_config: {error}; ssh_config: false does without it"
                written.place("ssh_config").say(message, at_key=True)
            return _NOTHING

    def _jumps(self, written: Written) -> tuple[Jump, ...]:
        if written.has_way:
            return written.model.proxy_jump or ()
        return self._found(written).jumps

    def _host(self, written: Written) -> Host:
        host = self._reached(written)
        if host.embedded:
            return host
        others = tuple(self._reached(other) for other in self._stand_ins(written))
        return replace(host, fallback=others)

    def _reached(self, written: Written) -> Host:
        """The host with the way to it, without its fallbacks."""
        host = self._reaches.get(written.name) if self._is_entry(written) else None
        if host is None:
            host = self._end(written, self._hops(written, (written.name,)))
            if self._is_entry(written):
                self._reaches[written.name] = host
        return host

    def _is_entry(self, written: Written) -> bool:
        """Whether it is as in the file, without a user or port written beside its name."""
        return self._written.get(written.name) is written

    def _end(self, written: Written, hops: tuple[Host, ...]) -> Host:
        """The host at the end of `hops`; with hops it has no other way."""
        host = self._straight(written)
        if hops or host.embedded:
            return replace(host, proxy_jump=hops)
        if not written.has_way:
            return replace(host, proxy_command=self._found(written).command)
        command = written.model.proxy_command or ()
        proxy = self._converter.proxy(written.model.proxy, written.document)
        return replace(host, proxy_command=command, proxy=proxy)

    def _straight(self, written: Written) -> Host:
        host = self._straights.get(written.name) if self._is_entry(written) else None
        if host is None:
            fields = self._found(written).fields
            host = self._converter.host(written.name, written.model, written.document, fields)
            if self._is_entry(written):
                self._straights[written.name] = host
        return host

    def _hops(self, written: Written, trail: tuple[str, ...]) -> tuple[Host, ...]:
        """The hops to a host, the nearest first; `trail` has the names that led here."""
        hops: list[Host] = []
        place = written.place("proxy_jump")
        if len(trail) > MAX_HOPS:
            place.say(f"leads through more than {MAX_HOPS} hops")
            return ()
        for jump in () if written.model.embedded else self._jumps(written):
            hop = self._of(jump, place, written)
            if hop.name in trail:
                place.say(loop_message("proxy_jump", (*trail, hop.name)))
                return ()
            if hop.model.embedded:
                _refuse_embedded(place, hop.name)
                return ()
            if hops:
                hops.append(self._straight(hop))
            else:
                before = self._hops(hop, (*trail, hop.name))
                hops = [*before, replace(self._end(hop, before), proxy_jump=())]
        names = [hop.name for hop in hops]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            place.say(f"leads through {twice[0]} twice")
        return tuple(hops)

    def _stand_ins(self, written: Written) -> Iterator[Written]:
        """The hosts of `fallback`, each followed by its own fallbacks."""
        seen: set[str] = set()

        def follow(host: Written, trail: tuple[str, ...]) -> Iterator[Written]:
            place = host.place("fallback")
            for name in host.model.fallback or ():
                if len(seen) > MAX_HOPS:
                    place.say(f"more than {MAX_HOPS} hosts stand in for each other")
                    return
                other = self._of(Jump(name), place, host)
                if name in trail:
                    place.say(loop_message("fallback", (*trail, name)))
                elif other.model.embedded:
                    _refuse_embedded(place, name)
                elif name not in seen:
                    seen.add(name)
                    yield other
                    yield from follow(other, (*trail, name))

        return follow(written, (written.name,))


def _refuse_embedded(place: PlaceInDocument, name: str) -> None:
    place.say(f"{name} is embedded, a server in this process that leads nowhere else")
