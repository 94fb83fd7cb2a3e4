"""Rules of a packet filter as doctor needs them, whichever program listed them.

Pure. Owns which ports a rule is about, and which chains a packet meets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

Ports = tuple[int, int]  # first and last


class Passage(StrEnum):
    """The direction of the packets that a chain sees; forwarded packets do not matter here."""

    IN = "in"
    OUT = "out"


# Of netfilter, whose names both programs use.
HOOKS = {
    "input": Passage.IN,
    "prerouting": Passage.IN,
    "output": Passage.OUT,
    "postrouting": Passage.OUT,
}


class Verdict(StrEnum):
    """What becomes of a packet that a rule matches, where that matters here."""

    DROP = "drop"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `ports` are the TCP ports that it names, `beside` that it means all others;
    `matches_all`: it has no condition at all; `calls` are the chains it jumps to."""

    text: str
    verdict: Verdict | None = None
    ports: tuple[Ports, ...] = ()
    beside: bool = False
    matches_all: bool = False
    calls: tuple[str, ...] = ()

    def names(self, port: int) -> bool:
        """Whether the rule is about that TCP port; not when it is about all others."""
        if not self.ports:
            return False
        return any(first <= port <= last for first, last in self.ports) != self.beside


@dataclass(slots=True)
class Chain:
    """One chain and the directions of the packets that reach it."""

    name: str
    drops: bool = False  # its policy
    passages: set[Passage] = field(default_factory=set)
    rules: list[Rule] = field(default_factory=list)

    @property
    def drops_the_rest(self) -> bool:
        """Whether a packet that no rule names is dropped or rejected."""
        last = self.rules[-1] if self.rules else None
        return self.drops or (last is not None and last.matches_all and last.verdict is not None)


def with_calls(chains: Mapping[tuple[str, str], Chain]) -> Iterable[Chain]:
    """The chains, by table and name, with the directions of the chains that call them added."""
    # A chain is at most as many calls away from a hook as there are chains.
    for _ in chains:
        for (table, _), chain in chains.items():
            for called in (name for rule in chain.rules for name in rule.calls):
                if (table, called) in chains:
                    chains[table, called].passages |= chain.passages
    return chains.values()
