"""All forwards of one tunnel, in order of start; many are handled a few at a time.

Owns which forwards there are, and the probes of their targets. Must never decide when they get or
lose a link: the tunnel does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import islice

from tunnelctl.forward.client_connections import Counters
from tunnelctl.spec.forward import Forward, Side
from tunnelctl.ssh.link.link import Link
from tunnelctl.supervisor.forwards.forwarding import Carrier, Forwarding
from tunnelctl.supervisor.forwards.local_forwarding import LocalForwarding
from tunnelctl.supervisor.forwards.probes import Probes
from tunnelctl.supervisor.forwards.remote_forwarding import RemoteForwarding
from tunnelctl.supervisor.tasks import AT_ONCE, Tasks, all_of

# Whether an action on all forwards is still wanted; asked before each few.
Still = Callable[[], bool]


class TunnelForwards:
    """The forwards, by name."""

    def __init__(self, tasks: Tasks, probes: Probes) -> None:
        self._tasks = tasks
        self._probes = probes
        self._items: dict[str, Forwarding] = {}

    def __iter__(self) -> Iterator[Forwarding]:
        return iter(tuple(self._items.values()))

    def __getitem__(self, name: str) -> Forwarding:
        return self._items[name]

    def get(self, name: str) -> Forwarding | None:
        """The forward of this name, or None."""
        return self._items.get(name)

    @property
    def need_link(self) -> bool:
        """Whether one of them needs a link before any client comes."""
        return any(item.needs_link for item in self._items.values())

    @property
    def listen_there(self) -> bool:
        """Whether one of them has its listener on the server."""
        return any(item.rule.side is Side.THERE for item in self._items.values())

    @property
    def are_awaited(self) -> bool:
        """Whether a client waits at one of them for a link."""
        return any(item.is_awaited for item in self._items.values())

    def add(self, item: Forwarding) -> None:
        """Add a forward, the last in order."""
        self._items[item.rule.name] = item
        self._probes.add(item)

    async def remove(self, name: str) -> None:
        """Close a forward and reset its connections; the others are not affected."""
        self._probes.remove(name)
        await self._items[name].close(0)
        del self._items[name]

    def retune(self, rule: Forward) -> None:
        """Apply a rule with the same listener."""
        self._items[rule.name].retune(rule)
        self._probes.retune(rule.name)

    def counters(self) -> Iterator[Counters]:
        """The counters of each."""
        return (item.side.counters for item in self._items.values())

    def unix_listeners(self) -> Iterator[LocalForwarding]:
        """The forwards that listen on unix sockets, whose files may be removed."""
        for item in self._items.values():
            if isinstance(item, LocalForwarding) and item.rule.listen.is_unix:
                yield item

    async def settled(self) -> None:
        """Wait until the result of opening each local listener is known, or for a limited time."""
        here = [item for item in self._items.values() if isinstance(item, LocalForwarding)]
        await asyncio.gather(*(item.settled() for item in here if item.is_opening))

    # Actions on all of them.

    def open(self, still: Still) -> None:
        """Open the listeners that should be open and are not."""
        self._each(lambda item: item.open(), still, "open")

    def attach(self, link: Link, still: Still) -> None:
        """The link is up."""
        self._each(lambda item: item.attach(link), still, "attach")
        self._probes.attach(link)

    def move(self, link: Link, still: Still) -> None:
        """Another link serves new clients from now on."""
        self._each(lambda item: item.move(link), still, "move")
        self._probes.attach(link)

    def detach(self) -> None:
        """The link is gone."""
        self._probes.detach()
        for item in self._items.values():
            item.detach()

    async def close(self, drain: float) -> None:
        """Close in reverse order of start, concurrently; connections have `drain` seconds to
        end."""
        self._probes.detach()
        await all_of(item.close(drain) for item in reversed(tuple(self._items.values())))

    def cut(self) -> None:
        """Close the listeners and reset all connections now; `close` does the rest."""
        for item in self._items.values():
            item.side.cut()

    async def hasten(self, drain: float) -> None:
        """While they close: connections have no more than `drain` seconds left."""
        await all_of(item.close(drain) for item in tuple(self._items.values()))

    def _each(self, act: Callable[[Forwarding], None], still: Still, what: str) -> None:
        """Do something with every current forward, a few at a time as long as `still` allows,
        because connections wait meanwhile."""
        items = iter(tuple(self._items.items()))

        def some() -> bool:
            few = tuple(islice(items, AT_ONCE))
            for name, item in few:
                if self._items.get(name) is item:  # not removed meanwhile
                    act(item)
            return bool(few)

        async def others() -> None:
            while still():
                if not some():
                    return
                await asyncio.sleep(0)

        some()
        if len(self._items) > AT_ONCE:
            self._tasks.spawn(others(), f"{what} forwards")


def forwarding(rule: Forward, carrier: Carrier) -> Forwarding:
    """The forwarding for the side on which `rule` listens."""
    kind = LocalForwarding if rule.side is Side.HERE else RemoteForwarding
    return kind(rule, carrier)
