"""The hosts of a profile as a whole: by which hops each is reached, and what stands in for it.

Owns how names lead to hosts and what a loop is. As in OpenSSH, the first hop of a list is reached
by its own way and each other hop from the one before it, whatever its own way would be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from tunnelctl.config.convert import Converter
from tunnelctl.config.document import Document
from tunnelctl.config.mistakes import KeyPath
from tunnelctl.config.models import HostMap
from tunnelctl.config.ways import Jump
from tunnelctl.spec.host import Host


@dataclass(frozen=True, slots=True)
class Written:
    """A host as the file has it, with its `defaults`."""

    name: str
    model: HostMap
    document: Document

    def place(self, key: str) -> KeyPath:
        """Where a key of it is written."""
        return (*self.document.path, key)


class Routes:
    """Makes hosts of what is written; a name that has no entry of its own is as `NAME: {}`."""

    def __init__(self, written: Iterable[Written], below: Written, converter: Converter) -> None:
        self._written = {host.name: host for host in written}
        self._below = below
        self._converter = converter

    def hosts(self, carriers: Iterable[str]) -> tuple[Host, ...]:
        """Every host that needs a link of its own, in the order of the file.

        That is one that carries a forward (`carriers`), or that no other leads through or falls
        back to. Mistakes are noted where they are written.
        """
        carrying = dict.fromkeys(carriers)
        names = [*self._written, *(name for name in carrying if name not in self._written)]
        made = [self._host(self._of(Jump(name))) for name in names]
        helping = {
            other.name
            for host in made
            for each in (host, *host.fallback)
            for other in (*each.proxy_jump, *host.fallback)
        }
        return tuple(host for host in made if host.name in carrying or host.name not in helping)

    def _of(self, jump: Jump) -> Written:
        """What is known of a name, with the user and port that were written beside it."""
        found = self._written.get(jump.name) or replace(self._below, name=jump.name)
        given = {"user": jump.user, "port": jump.port}
        given = {key: value for key, value in given.items() if value is not None}
        return replace(found, model=found.model.model_copy(update=given)) if given else found

    def _host(self, written: Written) -> Host:
        host = self._reached(written)
        if host.embedded:
            return host
        others = tuple(self._reached(other) for other in self._stand_ins(written))
        return replace(host, fallback=others)

    def _reached(self, written: Written) -> Host:
        """The host with the way to it, and without what stands in for it."""
        if written.model.embedded:
            return self._converter.host(written.name, written.model, written.document)
        return self._end(written, self._hops(written, (written.name,)))

    def _end(self, written: Written, hops: tuple[Host, ...]) -> Host:
        """The host at the end of `hops`; one that is reached through some has no other way."""
        host = self._converter.host(written.name, written.model, written.document)
        if hops:
            return replace(host, proxy_jump=hops)
        command = written.model.proxy_command or ()
        proxy = self._converter.proxy(written.model.proxy, written.document)
        return replace(host, proxy_command=command, proxy=proxy)

    def _hops(self, written: Written, trail: tuple[str, ...]) -> tuple[Host, ...]:
        """The hops to a host, the nearest to us first; `trail` has the names that led here."""
        hops: list[Host] = []
        for jump in written.model.proxy_jump or ():
            hop = self._of(jump)
            if hop.name in trail:
                self._refuse_loop(written, "proxy_jump", (*trail, hop.name))
                return ()
            if hop.model.embedded:
                self._refuse_embedded(written, "proxy_jump", hop.name)
                return ()
            if hops:
                hops.append(self._straight(hop))
            else:
                before = self._hops(hop, (*trail, hop.name))
                hops = [*before, replace(self._end(hop, before), proxy_jump=())]
        twice = [name for name in (hop.name for hop in hops) if _count(hops, name) > 1]
        if twice:
            message = f"leads through {twice[0]} twice"
            written.document.say(written.place("proxy_jump"), message)
        return tuple(hops)

    def _straight(self, hop: Written) -> Host:
        return self._converter.host(hop.name, hop.model, hop.document)

    def _stand_ins(self, written: Written) -> Iterator[Written]:
        """The hosts of `fallback`, each followed by its own."""
        seen: set[str] = set()

        def follow(host: Written, trail: tuple[str, ...]) -> Iterator[Written]:
            for name in host.model.fallback or ():
                other = self._of(Jump(name))
                if name in trail:
                    self._refuse_loop(host, "fallback", (*trail, name))
                elif other.model.embedded:
                    self._refuse_embedded(host, "fallback", name)
                elif name not in seen:
                    seen.add(name)
                    yield other
                    yield from follow(other, (*trail, name))

        return follow(written, (written.name,))

    def _refuse_loop(self, written: Written, key: str, trail: tuple[str, ...]) -> None:
        circle = trail[trail.index(trail[-1]) :]
        straight = f"give {circle[0] if len(circle) == 2 else 'one of them'} `{key}: none`"
        message = f"goes round for ever: {', then '.join(circle)}; {straight}"
        written.document.say(written.place(key), message)

    def _refuse_embedded(self, written: Written, key: str, name: str) -> None:
        message = f"{name} is embedded, a server in this process that leads nowhere else"
        written.document.say(written.place(key), message)


def _count(hosts: Iterable[Host], name: str) -> int:
    return sum(host.name == name for host in hosts)
