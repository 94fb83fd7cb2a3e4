"""Draws docs/states.md from the table of the machine: what a host can become, and by what.

    python -m tools.make_states

From the project's folder. Every pair of state and event is really taken, from machines that stand
for all cases (lazy or not, with a fallback or not). Must never know a transition of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tunnelctl.errors import Code, Failure
from tunnelctl.spec.host import Reconnect
from tunnelctl.state.events import (
    Authenticating,
    Connected,
    Event,
    Lost,
    RetryDue,
    Retune,
    Silent,
    Stop,
    Unused,
)
from tunnelctl.state.machine import EVENTS, TABLE, Machine, next_state
from tunnelctl.state.snapshot import HostState

PAGE = Path(__file__).resolve().parents[1] / "docs" / "states.md"

_INTRODUCTION = """\
# The states of a host

Drawn by `python -m tools.make_states` from the table in `tunnelctl/state/machine.py`; a test holds
this page to it. A state that an event does not change is left out of the picture.

"""

_MEANINGS = """
| event | comes when |
|---|---|
"""

_TABLE = """
## Every state, every event

`·` leaves the state as it is; `or` depends on the event, and on what was before.

"""

_FAILURES = """
## What is tried again

One table decides (`tunnelctl/errors.py`). A failure that may pass by itself (network, DNS, a
server that restarts) is tried again for ever, with full jitter between 0 and `reconnect.min`
doubled with each try, at most `reconnect.max`; `give_up_after` ends that. A failure that cannot
pass by itself is never repeated before somebody acts (`up`, `restart`, an answer, a new profile).
A server that asks to be left alone (sshd_config(5) PerSourcePenalties, MaxStartups) is, for as
long as its words imply, also when the network changes. A login that failed with what let us in
before is tried again after 5 s, 15 s, 1 min, then every 5 min ([login.md](login.md)). With
`fallback`, a round of tries is the host itself and then each fallback at once, before the wait.

| code | tried again | exit code |
|---|---|---|
"""

_LATER = 1000.0
_PASSES = Failure(Code.CONNECTION_REFUSED, "it may pass")
_REFUSED_NOW = Failure(
    Code.AUTH_FAILED, "it passed before", retryable=True, spaced=True, retry_after=_LATER
)
_LEFT = Failure(Code.SESSION_LOST, "nothing used it")
_LASTS = Failure(Code.AUTH_FAILED, "it cannot pass")
_ASKS = Failure(Code.NEEDS_INPUT, "somebody has to answer")


def page() -> str:
    """The whole page."""
    return _INTRODUCTION + _diagram() + _events() + _table() + _failures()


def _transitions() -> dict[tuple[HostState, type[Event]], set[HostState]]:
    """Where each pair leads, the state itself if it stays, over all machines."""
    found: defaultdict[tuple[HostState, type[Event]], set[HostState]] = defaultdict(set)
    for machine in _machines():
        for event in _every_event(machine):
            after, _ = next_state(machine, event, _LATER)
            found[machine.state, type(event)].add(after.state)
    return found


def _machines() -> Iterator[Machine]:
    """Every state as it can be met, found by taking every event from the beginning."""
    for lazy in (False, True):
        for candidates in (1, 2):
            waiting = [Machine(Reconnect(), lazy, candidates)]
            seen = set()
            while waiting:
                machine = waiting.pop()
                kind = (
                    machine.state,
                    machine.candidate,
                    machine.homing is None,
                    machine.barred,
                    machine.is_spaced,
                    machine.is_on_demand,
                )
                if kind in seen:
                    continue
                seen.add(kind)
                yield machine
                waiting += (next_state(machine, e, _LATER)[0] for e in _every_event(machine))


def _every_event(machine: Machine) -> Iterator[Event]:
    epoch = machine.epoch
    epochs = (epoch,) if machine.homing is None else (epoch, machine.homing)
    with_epoch = (Authenticating, Connected, Lost, RetryDue)
    for kind in EVENTS:
        if kind is Retune:
            yield Retune(machine.reconnect, machine.lazy, machine.candidates)
        elif kind is Lost:
            yield from (
                Lost(e, failure, 0.5)
                for e in epochs
                for failure in (_PASSES, _REFUSED_NOW, _LASTS, _ASKS)
            )
        elif kind is Silent:
            yield from (Silent(e, _PASSES) for e in epochs)
        elif kind is Unused:
            yield from (Unused(e, _LEFT, needed, 0.5) for e in epochs for needed in (False, True))
        elif kind in with_epoch:
            yield from (kind(e) for e in epochs)  # type: ignore[call-arg]  # those have an epoch
        else:
            yield kind()  # type: ignore[call-arg]  # and all others have nothing


def _diagram() -> str:
    """The picture, in mermaid's words."""
    arrows: defaultdict[tuple[HostState, HostState], list[str]] = defaultdict(list)
    transitions = _transitions()
    for state in TABLE:
        for event in EVENTS:
            if event is Stop:
                continue  # from anywhere, which is said once
            for after in HostState:
                if after in transitions[state, event] and after is not state:
                    arrows[state, after].append(event.__name__)
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {_name(HostState.IDLE)}"]
    lines += (
        f"    {_name(state)} --> {_name(after)}: {', '.join(names)}"
        for (state, after), names in arrows.items()
    )
    by_stop = [_name(s) for s in TABLE if transitions[s, Stop] - {s} == {HostState.STOPPING}]
    lines += [
        f"    note right of {_name(HostState.STOPPING)}: by Stop, from {', '.join(by_stop)}",
        f"    {_name(HostState.STOPPED)} --> [*]",
        "```",
    ]
    return "\n".join(lines) + "\n"


def _name(state: HostState) -> str:
    return state.value.replace("-", "_")


def _events() -> str:
    def meaning(kind: type[Event]) -> str:
        return " ".join((kind.__doc__ or "").partition("\n\n")[0].split())

    return _MEANINGS + "".join(f"| {kind.__name__} | {meaning(kind)} |\n" for kind in EVENTS)


def _table() -> str:
    """Every state times every event; · stays as it is."""
    transitions = _transitions()
    lines = ["| | " + " | ".join(kind.__name__ for kind in EVENTS) + " |"]
    lines.append("|---" * (len(EVENTS) + 1) + "|")
    for state in TABLE:
        cells = []
        for event in EVENTS:
            left = [s.value for s in HostState if s in transitions[state, event] - {state}]
            stays = ["·"] if state in transitions[state, event] else []
            cells.append(" or ".join(stays + left))
        lines.append(f"| **{state.value}** | " + " | ".join(cells) + " |")
    return _TABLE + "\n".join(lines) + "\n"


def _failures() -> str:
    rows = []
    for code in Code:
        failure = Failure(code, "")
        rows.append(
            f"| `{code.value}` | {'yes' if failure.retryable else 'no'} | {failure.exit_code} |\n"
        )
    return _FAILURES + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page())
