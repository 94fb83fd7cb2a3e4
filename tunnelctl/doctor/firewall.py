"""The packet filter of this machine, read and never touched.

Owns the reading of `nft list ruleset` and `iptables-save`; who may not read them gets no answer.
Tells only what stands there: whether a rule really meets a packet is for the reader to judge.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from tunnelctl.forward.listener import is_own
from tunnelctl.net.threads import in_thread
from tunnelctl.spec.endpoint import Endpoint

_COMMANDS = (("nft", "list", "ruleset"), ("iptables-save",), ("ip6tables-save",))
_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"
_SECONDS = 3.0
_RULE_MAX = 120  # characters that are shown

_TABLE = re.compile(r"table (.+) \{|\*(\w+)")
_CHAIN = re.compile(r"chain (\S+) \{|:(\S+) (\S+) \[")
_HOOK = re.compile(r"type \w+ hook (\w+) .*?(?:policy (\w+);)?$")
_APPENDED = re.compile(r"-A (\S+) ")
_SET = re.compile(r"set (\S+) \{[^{}]*elements = \{([^{}]*)\}")
_PORTS = re.compile(r"(! )?(?:(?:tcp|th) |--)dports? (!= )?(\{[^{}]*\}|[\d,:-]+)")
_CALL = re.compile(r"(?:\b(?:jump|goto)|-[jg]) (\S+)")
_EVERYTHING = re.compile(
    r"(?:-A \S+ -j |(?:meta \S+ \S+ )?(?:counter packets \d+ bytes \d+ )?)(?:drop|reject)"
    r"(?: with .*| --reject-with \S+)?",
    re.IGNORECASE,
)


class Passage(StrEnum):
    """Whither a packet goes that a chain sees. What is only passed on is no matter here."""

    IN = "in"
    OUT = "out"


_HOOKS = {
    "input": Passage.IN,
    "prerouting": Passage.IN,
    "output": Passage.OUT,
    "postrouting": Passage.OUT,
}


@dataclass(slots=True)
class _Chain:
    """One chain of either program, and the ways of the packets that come to it."""

    name: str
    policy: str = ""
    ways: set[Passage] = field(default_factory=set)
    rules: list[str] = field(default_factory=list)


async def against(target: Endpoint, *, refused: bool = False) -> str:
    """What may keep a connection to `target` from being made; empty for nothing that is known.

    With `refused` only what answers with a refusal.
    """

    def look() -> str:
        stays = target.is_loopback or is_own(target.host)
        ways = tuple(Passage) if stays else (Passage.OUT,)
        words = ("reject",) if refused else ("drop", "reject")
        # What stays on this machine is let through by its interface, mostly (lo).
        return _look(target.port, ways, words, by_default=not stays and not refused)

    return await in_thread(look, "read the firewall")


async def before(port: int) -> str:
    """What may keep other machines from a TCP port here; empty for nothing that is known."""
    return await in_thread(
        lambda: _look(port, (Passage.IN,), ("drop", "reject"), by_default=True), "read the firewall"
    )


def find(
    port: int,
    listing: str,
    ways: Collection[Passage] = tuple(Passage),
    words: Collection[str] = ("drop", "reject"),
    *,
    by_default: bool = False,
) -> str:
    """The first rule of a listing that names the TCP port and ends in one of `words`.

    With `by_default` also a chain that drops what none of its rules takes, where none names the
    port. Empty for nothing.
    """
    chains = [chain for chain in _chains(listing) if chain.ways & set(ways)]
    named = [rule for chain in chains for rule in chain.rules if _names(rule, port)]
    for rule in named:
        if any(re.search(rf"\b{word}\b", rule, re.IGNORECASE) for word in words):
            return rule[:_RULE_MAX]
    if by_default and not named:
        return next((_default(chain, port) for chain in chains if _drops_the_rest(chain)), "")
    return ""


def _default(chain: _Chain, port: int) -> str:
    return f"chain {chain.name}, which drops what no rule takes, and no rule names port {port}"


def _drops_the_rest(chain: _Chain) -> bool:
    last = chain.rules[-1] if chain.rules else ""
    return chain.policy.lower() == "drop" or _EVERYTHING.fullmatch(last) is not None


def _names(rule: str, port: int) -> bool:
    """Whether the rule is about that TCP port; not when it is about all others."""
    ports = _PORTS.search(rule)
    if ports is None or " -p udp" in rule:
        return False
    before, after, listed = ports.groups()
    return any(_covers(part, port) for part in re.findall(r"[\d:-]+", listed)) != bool(
        before or after
    )


def _covers(part: str, port: int) -> bool:
    """One port, or a range as nft (1-9) or iptables (1:9) writes it."""
    first, *rest = [int(number) if number else 0 for number in re.split("[:-]", part)]
    return first <= port <= (rest[-1] or 65535 if rest else first)


def _chains(listing: str) -> Iterable[_Chain]:
    """Every chain of a listing, with sets written out, and its ways: those of its hook, or of the
    chains that call it."""
    sets = dict(_SET.findall(listing))
    found: dict[tuple[str, str], _Chain] = {}
    for table, chain in _read(listing.splitlines()):
        chain.rules = [re.sub(r"@(\S+)", lambda name: _listed(sets, name), r) for r in chain.rules]
        found[table, chain.name] = chain
    # A chain is at most as many calls away from a hook as there are chains.
    for _ in found:
        for (table, _), chain in found.items():
            for called in (name for rule in chain.rules for name in _CALL.findall(rule)):
                if (table, called) in found:
                    found[table, called].ways |= chain.ways
    return found.values()


def _listed(sets: dict[str, str], name: re.Match[str]) -> str:
    return f"{{ {sets[name[1]].strip()} }}" if name[1] in sets else name[0]


def _read(lines: Iterable[str]) -> Iterator[tuple[str, _Chain]]:
    """Each chain with its table, once it is complete."""
    table = ""
    chains: dict[str, _Chain] = {}
    chain: _Chain | None = None
    for line in map(str.strip, lines):
        if begun := _TABLE.fullmatch(line):
            yield from ((table, each) for each in chains.values())
            table, chains = begun[1] or begun[2], {}
        elif begun := _CHAIN.match(line):
            name = begun[1] or begun[2]
            chain = chains[name] = _Chain(name, begun[3] or "")
            chain.ways |= {_HOOKS[name.lower()]} if begun[2] and name.lower() in _HOOKS else set()
        elif appended := _APPENDED.match(line):
            name = appended[1]
            chains.setdefault(name, _Chain(name)).rules.append(line)
        elif line == "}":
            chain = None
        elif chain is not None and (hook := _HOOK.match(line)):
            chain.policy = hook[2] or ""
            chain.ways |= {_HOOKS[hook[1]]} if hook[1] in _HOOKS else set()
        elif chain is not None and line:
            chain.rules.append(line)
    yield from ((table, each) for each in chains.values())


def _look(port: int, ways: Collection[Passage], words: Collection[str], *, by_default: bool) -> str:
    looks = (find(port, _listing(c), ways, words, by_default=by_default) for c in _COMMANDS)
    return next(filter(None, looks), "")


def _listing(words: tuple[str, ...]) -> str:
    program = shutil.which(words[0], path=_PATH)
    if program is None:
        return ""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(  # noqa: S603 - our own words, no shell
            (program, *words[1:]),
            env={"PATH": _PATH},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        ).stdout
    return ""
