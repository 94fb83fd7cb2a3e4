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
    """A new reconnect policy; the link is not touched."""

    reconnect: Reconnect


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
    """The attempt failed, or its link ended. `jitter` in [0, 1) spreads the next try."""

    epoch: int
    failure: Failure
    jitter: float


@dataclass(frozen=True, slots=True)
class RetryDue:
    """The timer of that epoch's backoff ran out."""

    epoch: int


Event = Start | Restart | Stop | Closed | Retune | Authenticating | Connected | Lost | RetryDue


@dataclass(frozen=True, slots=True)
class OpenListeners:
    """Open the listeners that could be open now and are not."""


@dataclass(frozen=True, slots=True)
class Connect:
    """Begin an attempt; answer with `Connected` or `Lost` of this epoch."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Abandon:
    """Cancel the attempt of this epoch."""

    epoch: int


@dataclass(frozen=True, slots=True)
class AttachForwards:
    """Give the link of this epoch to the forwards."""

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
    """The retry that was waited for is not wanted any more."""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Drain and close the forwards, then the link; answer with `Closed`."""


Action = (
    OpenListeners
    | Connect
    | Abandon
    | AttachForwards
    | DetachForwards
    | CloseLink
    | StartTimer
    | CancelTimer
    | Shutdown
)
