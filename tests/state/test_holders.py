"""What the end of a holder means, and what is said of it before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tunnelctl.state.holders import DETACHED, SERVICE, Held, Holder, HolderKind

commands = st.integers(0, 5).map(lambda n: [Holder(HolderKind.COMMAND, str(i)) for i in range(n)])
others = st.sets(st.sampled_from([DETACHED, SERVICE, Holder(HolderKind.ORDER, "a", 1)]))


@given(commands, others)
def test_the_rule_for_one_command_is_what_the_set_comes_to(
    commands: list[Holder], others: set[Holder]
) -> None:
    holders = {*commands, *others}
    held = Held.of(holders)
    assert Held.from_json(held.as_json()) == held
    assert bool(held) == bool(holders)
    for ended in commands:
        assert held.after_a_command() == Held.of(holders - {ended})


def test_it_is_said_in_words() -> None:
    assert str(Held()) == "nobody"
    assert str(Held(detached=True, commands=1)) == "up -d, 1 command"
    assert str(Held(service=True, commands=2)) == "the service, 2 commands"
