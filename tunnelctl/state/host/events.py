"""The events of a host and the actions of its state machine, as data.

Owns no decision: `machine.py` decides, the supervisor acts. Every result of an attempt carries the
epoch of its request, so that a late result cannot affect a newer link.
"""

from __future__ import annotations

from tunnelctl.errors import Failure
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.host import Reconnect


@dataclass(frozen=True, slots=True)
class Start:
    """`up`: start; if the host has failed permanently, try again."""


@dataclass(frozen=True, slots=True)
class Restart:
    """`restart`, or new connection settings: close the link and connect now."""


@dataclass(frozen=True, slots=True)
class Stop:
    """`down`: close everything permanently."""


@dataclass(frozen=True, slots=True)
class Closed:
    """`Shutdown` is complete."""


@dataclass(frozen=True, slots=True)
class Retune:
    """New settings, effective from the next decision on; the link is not affected.

    `candidates` is the number of hosts to try: the host itself and its fallbacks.
    """

    reconnect: Reconnect
    lazy: bool = False
    candidates: int = 1


@dataclass(frozen=True, slots=True)
class Hurry:
    """The network changed, or the system resumed: waiting hosts connect now, links are probed."""


@dataclass(frozen=True, slots=True)
class Remedied:
    """A key, a certificate or the agent's list changed: hosts with a refused login try now."""


@dataclass(frozen=True, slots=True)
class Wake:
    """A client connected to an idle host, or a forward needs its link."""


@dataclass(frozen=True, slots=True)
class ClientWaits:
    """A client waits at a local port that is held during the outage: the next try comes soon.
    `jitter` as in `Lost`."""

    jitter: float


@dataclass(frozen=True, slots=True)
class Idle:
    """A lazy host had no client for `idle_timeout`."""


@dataclass(frozen=True, slots=True)
class Authenticating:
    """The attempt reached authentication: the host key was accepted."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Connected:
    """The attempt established a link."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Lost:
    """The attempt failed, or its link ended. `jitter` in [0, 1) randomizes the next delay.

    `at_once`: the server closed the link cleanly while it was unused. That may be its policy and
    not a failure, so the first attempt after it has no delay.
    `awaited`: a client waits at a local port, as in `ClientWaits`.
    """

    epoch: int
    failure: Failure
    jitter: float
    at_once: bool = False
    awaited: bool = False


@dataclass(frozen=True, slots=True)
class Replaced:
    """The link ended, and another link to the same server can take its place."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Unused:
    """The server closed the link because it was unused, which is not a failure.

    `needed`: a remote forward needs a link nevertheless. `why` is the reason shown in status;
    `jitter` as in `Lost`.
    """

    epoch: int
    why: Failure
    needed: bool
    jitter: float


@dataclass(frozen=True, slots=True)
class Silent:
    """The attempt waits for a program, or for an answer by a person, for so long that the next
    candidate is tried. The attempt continues, and the event repeats. `failure` names what it waits
    for."""

    epoch: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class RetryDue:
    """The timer of this epoch expired."""

    epoch: int


Event = (
    Start
    | Restart
    | Stop
    | Closed
    | Retune
    | Hurry
    | Remedied
    | Wake
    | ClientWaits
    | Idle
    | Authenticating
    | Connected
    | Lost
    | Replaced
    | Unused
    | RetryDue
    | Silent
)


@dataclass(frozen=True, slots=True)
class OpenListeners:
    """Open the listeners that are not open yet."""


@dataclass(frozen=True, slots=True)
class Connect:
    """Start an attempt; the result is `Connected` or `Lost` of this epoch.

    `candidate` is the host to try: 0 for the host itself, n for its n-th fallback.
    """

    epoch: int
    candidate: int = 0


@dataclass(frozen=True, slots=True)
class Abandon:
    """Cancel the attempt of this epoch."""

    epoch: int


@dataclass(frozen=True, slots=True)
class AttachForwards:
    """Attach the forwards to the link of this epoch."""

    epoch: int


@dataclass(frozen=True, slots=True)
class PromoteLink:
    """Make one of the extra links the link of this epoch."""

    epoch: int


@dataclass(frozen=True, slots=True)
class MoveForwards:
    """Move the forwards to the link of this epoch for new clients; open connections stay on the
    previous link."""

    epoch: int


@dataclass(frozen=True, slots=True)
class RetireLink:
    """Close the link of this epoch once the last connection over it has ended."""

    epoch: int


@dataclass(frozen=True, slots=True)
class AskLink:
    """Probe the link of this epoch now; the result is `Lost` if the peer does not answer soon."""

    epoch: int


@dataclass(frozen=True, slots=True)
class DetachForwards:
    """Detach the forwards from the link; local listeners stay bound."""


@dataclass(frozen=True, slots=True)
class CloseLink:
    """Close the link of this epoch."""

    epoch: int


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Send `RetryDue` of this epoch at `at` (monotonic seconds)."""

    epoch: int
    at: float


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """Cancel the timer."""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Drain and close the forwards, then the link; the result is `Closed`."""


Action = (
    OpenListeners
    | Connect
    | Abandon
    | AttachForwards
    | PromoteLink
    | MoveForwards
    | RetireLink
    | AskLink
    | DetachForwards
    | CloseLink
    | StartTimer
    | CancelTimer
    | Shutdown
)
