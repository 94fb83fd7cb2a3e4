"""The changes between two versions of a running profile: a set difference of frozen values.

What is equal is in no list and is not touched, so its connections continue. Must never act.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Generic, TypeVar

from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.forward import Forward
from tunnelctl.spec.host import Host
from tunnelctl.spec.profile import Hooks, Profile

T = TypeVar("T", bound=Host | Forward)


@dataclass(frozen=True, slots=True)
class Changes(Generic[T]):
    """The differences between two sets of hosts, or of forwards, matched by name.

    `replaced`: what runs differs, so a host reconnects, and a forward is closed and opened.
    `retuned`: only settings differ that can change under open connections. `order` has every name
    of the new set, in the order of the file.
    """

    added: tuple[T, ...]
    removed: tuple[T, ...]
    replaced: tuple[T, ...]
    retuned: tuple[T, ...]
    order: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether nothing that runs has to change."""
        return not (self.added or self.removed or self.replaced or self.retuned)

    def apply(self, old: Sequence[T]) -> tuple[T, ...]:
        """The new set, made from the old one."""
        items = {item.name: item for item in old}
        for item in (*self.added, *self.replaced, *self.retuned):
            items[item.name] = item
        return tuple(items[name] for name in self.order)


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes from one profile to another of the same name."""

    source: str
    description: str
    hooks: Hooks
    hosts: Changes[Host]
    forwards: Changes[Forward]

    @property
    def is_empty(self) -> bool:
        """Whether nothing that runs has to change."""
        return self.hosts.is_empty and self.forwards.is_empty

    def apply(self, old: Profile) -> Profile:
        """The new profile, made from the old one."""
        return replace(
            old,
            source=self.source,
            description=self.description,
            hooks=self.hooks,
            hosts=self.hosts.apply(old.hosts),
            forwards=self.forwards.apply(old.forwards),
        )


def diff(old: Profile, new: Profile) -> Plan:
    """The changes from `old` to `new`, two profiles of one name."""
    return Plan(
        source=new.source,
        description=new.description,
        hooks=new.hooks,
        hosts=_changes(old.hosts, new.hosts, _host_retunes),
        forwards=_changes(old.forwards, new.forwards, _forward_retunes),
    )


def _host_retunes(old: Host, new: Host) -> bool:
    """Whether only settings differ that do not affect the link: delays, idle time, number of links,
    and the sockets of the session's agents."""
    timed = replace(old, reconnect=new.reconnect, idle_timeout=new.idle_timeout, links=new.links)
    return _without_agents(timed) == _without_agents(new)


def _without_agents(host: Host) -> Host:
    """The host, with its hops and fallbacks, without the paths of agent sockets."""
    return replace(
        host,
        identity_agent=None if host.identity_agent != "none" else "none",
        proxy_jump=tuple(map(_without_agents, host.proxy_jump)),
        fallback=tuple(map(_without_agents, host.fallback)),
    )


def _forward_retunes(old: Forward, new: Forward) -> bool:
    """Whether only settings differ that affect the status; the listener stays the same."""
    watched = replace(old, probe=new.probe, on_unhealthy=new.on_unhealthy, inspect=new.inspect)
    return replace(watched, required=new.required, labels=new.labels) == new


def _changes(old: Sequence[T], new: Sequence[T], retunes: Callable[[T, T], bool]) -> Changes[T]:
    before = {item.name: item for item in old}
    names = tuple(item.name for item in new)
    differing = [i for i in new if i.name in before and before[i.name] != i]
    return Changes(
        added=tuple(i for i in new if i.name not in before),
        removed=tuple(i for i in old if i.name not in set(names)),
        replaced=tuple(i for i in differing if not retunes(before[i.name], i)),
        retuned=tuple(i for i in differing if retunes(before[i.name], i)),
        order=names,
    )
