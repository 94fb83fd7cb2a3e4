"""All that can happen to a host, and all that its machine may ask for, as data.

Owns no decision: `machine.py` decides, the supervisor acts. Every answer of an attempt carries
the epoch it was asked in, so that a late one cannot harm a newer link.
"""

from __future__ import annotations

from dataclasses import dataclass

from tunnelctl.errors import Failure
from tunnelctl.spec.host import Reconnect


@dataclass(frozen=True, slots=True)
class Start:
    """`up`: begin; where the host failed for good, try again."""


@dataclass(frozen=True, slots=True)
class Restart:
    """`restart`, or new connection settings: drop what there is and try now."""


@dataclass(frozen=True, slots=True)
class Stop:
    """`down`: close everything, for good."""


@dataclass(frozen=True, slots=True)
class Closed:
    """Everything that `Shutdown` asked for is closed."""


@dataclass(frozen=True, slots=True)
class Retune:
    """New settings that matter from the next decision on; the link is not touched.

    `candidates` is how many hosts may serve: the host itself and its fallbacks.
    """

    reconnect: Reconnect
    lazy: bool = False
    candidates: int = 1


@dataclass(frozen=True, slots=True)
class Hurry:
    """The world changed (network, resume from suspend): whoever waits tries now, who is up asks."""


@dataclass(frozen=True, slots=True)
class Remedied:
    """A key, a certificate or the agent's list changed: whoever was refused a login tries now."""


@dataclass(frozen=True, slots=True)
class Wake:
    """A client came to a host that rests, or a forward that needs its link."""


@dataclass(frozen=True, slots=True)
class Idle:
    """A lazy host had no client for `idle_timeout`."""


@dataclass(frozen=True, slots=True)
class Authenticating:
    """The attempt reached authentication: the host key was good."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Connected:
    """The attempt gave a link."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Lost:
    """The attempt failed, or its link ended. `jitter` in [0, 1) spreads the next try.

    `at_once`: the server ended the link in order while nothing used it. That may be its habit and
    no sign of trouble, so the first try after it needs no wait.
    """

    epoch: int
    failure: Failure
    jitter: float
    at_once: bool = False


@dataclass(frozen=True, slots=True)
class Unused:
    """The server ended the link since nothing used it, which is no failure.

    `needed`: a forward listens there, and needs a link all the same. `why` is what status says of
    the server; `jitter` as for `Lost`.
    """

    epoch: int
    why: Failure
    needed: bool
    jitter: float


@dataclass(frozen=True, slots=True)
class Silent:
    """The attempt waits for a program, which has been silent for so long that another candidate is
    to have its turn. It goes on, and this is told again while it lasts. `failure` says who."""

    epoch: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class RetryDue:
    """The timer that was started for that epoch ran out."""

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
    | Idle
    | Authenticating
    | Connected
    | Lost
    | Unused
    | RetryDue
    | Silent
)


@dataclass(frozen=True, slots=True)
class OpenListeners:
    """Open the listeners that could be open now and are not."""


@dataclass(frozen=True, slots=True)
class Connect:
    """Begin an attempt; answer with `Connected` or `Lost` of this epoch.

    `candidate` is whom to try: 0 for the host itself, n for its n-th fallback.
    """

    epoch: int
    candidate: int = 0


@dataclass(frozen=True, slots=True)
class Abandon:
    """Cancel the attempt of this epoch."""

    epoch: int


@dataclass(frozen=True, slots=True)
class AttachForwards:
    """Give the link of this epoch to the forwards."""

    epoch: int


@dataclass(frozen=True, slots=True)
class MoveForwards:
    """The forwards serve new clients over the link of this epoch from now on, not the one before;
    connections that are open stay where they are."""

    epoch: int


@dataclass(frozen=True, slots=True)
class RetireLink:
    """Close the link of this epoch once the last connection over it has ended."""

    epoch: int


@dataclass(frozen=True, slots=True)
class AskLink:
    """Ask the peer of this epoch's link for a sign of life now; answer with `Lost` if none comes
    soon."""

    epoch: int


@dataclass(frozen=True, slots=True)
class DetachForwards:
    """Take the link away from the forwards; local listeners stay bound."""


@dataclass(frozen=True, slots=True)
class CloseLink:
    """Close the link of this epoch."""

    epoch: int


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Answer with `RetryDue` of this epoch at `at` (monotonic seconds)."""

    epoch: int
    at: float


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """What was waited for is not wanted any more."""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Drain and close the forwards, then the link; answer with `Closed`."""


Action = (
    OpenListeners
    | Connect
    | Abandon
    | AttachForwards
    | MoveForwards
    | RetireLink
    | AskLink
    | DetachForwards
    | CloseLink
    | StartTimer
    | CancelTimer
    | Shutdown
)
