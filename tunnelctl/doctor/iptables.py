"""The output of `iptables-save` and `ip6tables-save` (iptables-save(8)) as chains."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tunnelctl.doctor.chains import HOOKS, Chain, Ports, Rule, Verdict, with_calls

_TABLE = re.compile(r"\*(\w+)")
_CHAIN = re.compile(r":(\S+) (\S+) \[")
_RULE = re.compile(r"-A (\S+) ")
_PORTS = re.compile(r"(! )?--dports? ([\d,:]+)")
_TARGET = re.compile(r" -[jg] (\S+)")
_EVERYTHING = re.compile(r"-A \S+ -j (?:DROP|REJECT)(?: --reject-with \S+)?")
_VERDICTS = {"DROP": Verdict.DROP, "REJECT": Verdict.REJECT}


def chains(listing: str) -> Iterable[Chain]:
    """Every chain, with the directions of its packets."""
    found: dict[tuple[str, str], Chain] = {}
    table = ""
    for line in map(str.strip, listing.splitlines()):
        if begun := _TABLE.fullmatch(line):
            table = begun[1]
        elif begun := _CHAIN.match(line):
            name, policy = begun.groups()
            hook = HOOKS.get(name.lower())
            found[table, name] = Chain(name, policy == "DROP", set() if hook is None else {hook})
        elif begun := _RULE.match(line):
            chain = found.setdefault((table, begun[1]), Chain(begun[1]))
            chain.rules.append(_rule(line))
    return with_calls(found)


def _rule(line: str) -> Rule:
    target = _TARGET.search(line)
    verdict = _VERDICTS.get(target[1]) if target else None
    named = None if " -p udp" in line else _PORTS.search(line)
    return Rule(
        text=line,
        verdict=verdict,
        ports=tuple(map(_range, named[2].split(","))) if named else (),
        beside=named is not None and named[1] is not None,
        matches_all=_EVERYTHING.fullmatch(line) is not None,
        calls=(target[1],) if target and verdict is None else (),
    )


def _range(part: str) -> Ports:
    """One port, or a range, whose ends may be omitted (`5000:`)."""
    first, colon, last = part.partition(":")
    low = int(first or 0)
    return low, int(last or 65535) if colon else low
