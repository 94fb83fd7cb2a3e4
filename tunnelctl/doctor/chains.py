"""Rules of a packet filter in the form that doctor needs, for all programs that list them.

Pure. Owns which ports a rule applies to, and which chains a packet passes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from enum import StrEnum

from tunnelctl.quick_dataclass import dataclass

Ports = tuple[int, int]  # first and last


class Passage(StrEnum):
    """The direction of the packets in a chain; forwarded packets are irrelevant here."""

    IN = "in"
    OUT = "out"


# Of netfilter, in the names that both programs use.
HOOKS = {
    "input": Passage.IN,
    "prerouting": Passage.IN,
    "output": Passage.OUT,
    "postrouting": Passage.OUT,
}


class Verdict(StrEnum):
    """The verdict of a rule, where it is relevant here."""

    DROP = "drop"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `ports` are the TCP ports that it names; `beside`: it applies to all others
    instead; `matches_all`: it has no condition at all; `calls` are the chains that it jumps to."""

    text: str
    verdict: Verdict | None = None
    ports: tuple[Ports, ...] = ()
    beside: bool = False
    matches_all: bool = False
    calls: tuple[str, ...] = ()

    def names(self, port: int) -> bool:
        """Whether the rule applies to that TCP port by its `ports`; False if it names none."""
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
        """Whether a packet is dropped or rejected if no rule names it."""
        last = self.rules[-1] if self.rules else None
        return self.drops or (last is not None and last.matches_all and last.verdict is not None)


def with_calls(chains: Mapping[tuple[str, str], Chain]) -> Iterable[Chain]:
    """The chains by table and name, including the directions of the chains that call them."""
    # A chain is at most as many calls away from a hook as there are chains.
    for _ in chains:
        for (table, _), chain in chains.items():
            for called in (name for rule in chain.rules for name in rule.calls):
                if (table, called) in chains:
                    chains[table, called].passages |= chain.passages
    return chains.values()
