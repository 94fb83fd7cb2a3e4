"""Histories of one host, told by hand, and the failures that happen in them."""

from __future__ import annotations

from tunnelctl.errors import Code, Failure
from tunnelctl.spec.host import Reconnect
from tunnelctl.state.host.events import (
    Authenticating,
    ClientWaits,
    Closed,
    Connected,
    Event,
    Hurry,
    Idle,
    Lost,
    Remedied,
    Replaced,
    Restart,
    RetryDue,
    Retune,
    Silent,
    Start,
    Stop,
    Unused,
    Wake,
)
from tunnelctl.state.host.machine import Machine, next_state

REFUSED = Failure(Code.CONNECTION_REFUSED, "bastion refused the connection")
WRONG_KEY = Failure(Code.AUTH_FAILED, "bastion took none of the keys")
# A login that was refused with what let us in before, and a server that bars us for a while.
REFUSED_NOW = Failure(
    Code.AUTH_FAILED, "bastion is away", retryable=True, spaced=True, retry_after=15.0
)
PENALTY = Failure(Code.HANDSHAKE_FAILED, "not allowed at this time", retry_after=60.0)
WAITS = Failure(Code.TIMED_OUT, "proxy_command sso: no output for 15 s")
ASKS = Failure(Code.NEEDS_INPUT, "bastion asks for a code")


def after(*history: Event, reconnect: Reconnect | None = None) -> Machine:
    """The machine after events that came one second apart, the first at 0."""
    state = Machine(reconnect or Reconnect())
    for now, event in enumerate(history):
        state, _ = next_state(state, event, now)
    return state


def lost(epoch: int, failure: Failure = REFUSED, jitter: float = 0.5) -> Lost:
    return Lost(epoch, failure, jitter)


def one_of_each(epoch: int) -> tuple[Event, ...]:
    """Every kind of event once; answers are of this epoch."""
    orders = (Start(), Restart(), Stop(), Closed(), Retune(Reconnect()), Hurry(), Remedied())
    answers = (Authenticating(epoch), Connected(epoch), lost(epoch), RetryDue(epoch))
    unused, silent = Unused(epoch, REFUSED, needed=True, jitter=0.5), Silent(epoch, WAITS)
    return (*orders, Wake(), ClientWaits(0.5), Idle(), *answers, unused, silent, Replaced(epoch))
