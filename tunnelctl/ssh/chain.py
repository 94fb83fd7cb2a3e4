"""The hosts on the way to a host: their order, and which of them a failure belongs to.

A hop is a host with its own way (`proxy_jump` has the hops before it), so equal chains are equal
hosts. Must never blame one hop for a failure of another.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from tunnelctl.errors import Failure
from tunnelctl.spec.host import Host
from tunnelctl.ssh.sentences import label


def nearest_hop(host: Host) -> Host:
    """The hop that connects to `host`, with its own way: the other hops of `proxy_jump`.

    The first hop of a chain keeps its own way; for the others the chain is the way.
    """
    *before, hop = host.proxy_jump
    if not before:
        return hop
    return dataclasses.replace(hop, proxy_jump=tuple(before), proxy_command=(), proxy=None)


def chain(host: Host) -> tuple[Host, ...]:
    """Every host to log in to on the way to `host`, the nearest first and itself last."""
    return (*chain(nearest_hop(host)), host) if host.proxy_jump else (host,)


def everybody(hosts: Iterable[Host]) -> frozenset[Host]:
    """Every host that these log in to: themselves, their fallbacks, and all hops."""
    return frozenset(one for host in hosts for way in host.candidates for one in chain(way))


def of_hop(hop: Host, failure: Failure) -> Failure:
    """The same failure, reported for a hop: `hop gateway (10.0.0.7:22): …`.

    A failure that names a hop already belongs to an earlier hop.
    """
    if failure.hop:
        return failure
    return failure.but(subject=failure.subject or label(hop), hop=hop.name)
