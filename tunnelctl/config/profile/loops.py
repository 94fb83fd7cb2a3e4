"""Loops in `proxy_jump` and `fallback`, as the file writes them.

Works on plain values that may be invalid themselves, so that a loop is reported with every other
mistake of the file. Looks nothing up: routes.py finds the loops that ssh_config closes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tunnelctl.config.profile.document import Document
from tunnelctl.config.values import reach
from tunnelctl.config.values.reach import MAX_HOPS, NONE, WAYS

Leads = Mapping[str, Sequence[str]]  # from each host to those that it names


def check_loops(hosts: Mapping[str, Document]) -> None:
    """Report every loop, at the host that closes it; `hosts` have their `defaults`."""
    jumps = {name: _jumps(host.data) for name, host in hosts.items()}
    fallbacks = {name: _fallbacks(host.data) for name, host in hosts.items()}
    for name in hosts:
        for key, trail in (
            ("proxy_jump", _circle_of_jumps(jumps, name)),
            ("fallback", _circle_of_fallbacks(fallbacks, name)),
        ):
            if trail:
                closing = hosts[trail[-2]]
                closing.say((*closing.path, key), loop_message(key, trail))


def loop_message(key: str, trail: Sequence[str]) -> str:
    """The sentence for a trail of names whose last one occurs in it before."""
    circle = trail[trail.index(trail[-1]) :]
    straight = f"give {circle[0] if len(circle) == 2 else 'one of them'} `{key}: none`"
    return f"goes round for ever: {', then '.join(circle)}; {straight}"


def _circle_of_jumps(leads: Leads, name: str) -> tuple[str, ...]:
    """The names on the way to a host, up to the one that occurs twice; empty without a loop.

    Only the first hop of a list is reached by its own way.
    """
    trail: tuple[str, ...] = (name,)
    while len(trail) <= MAX_HOPS:
        hops = leads.get(trail[-1], ())
        for hop in hops:
            if hop in trail:
                return (*trail, hop)
        if not hops:
            break
        trail = (*trail, hops[0])
    return ()


def _circle_of_fallbacks(leads: Leads, name: str) -> tuple[str, ...]:
    """The same for the hosts that stand in for a host, and those that stand in for them."""
    seen = {name}
    trails: list[tuple[str, ...]] = [(name,)]
    while trails and len(seen) <= MAX_HOPS:
        trail = trails.pop()
        for other in leads.get(trail[-1], ()):
            if other in trail:
                return (*trail, other)
            if other not in seen:
                seen.add(other)
                trails.append((*trail, other))
    return ()


def _jumps(host: object) -> list[str]:
    if not isinstance(host, dict) or any(host.get(w, NONE) != NONE for w in WAYS[1:]):
        return []
    try:
        return [reach.parse_jump(jump).name for jump in reach.jumps(host.get("proxy_jump", NONE))]
    except ValueError:
        return []  # the schema reports it


def _fallbacks(host: object) -> list[str]:
    try:
        names = reach.host_names(host.get("fallback", NONE)) if isinstance(host, dict) else ()
    except ValueError:
        return []  # the schema reports it
    return [name for name in names if isinstance(name, str)]
