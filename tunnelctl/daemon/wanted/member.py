"""The fleet as the orders to a daemon see it: which profiles belong to it, and who decides
about them.

Owns nothing but the shape. The fleet itself is in `daemon/fleet_profiles.py`; a daemon without one
never imports it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from tunnelctl.state.documents.snapshot import ProfileStatus


class FleetMember(Protocol):
    """This machine in its fleet."""

    def has(self, profile: str) -> bool:
        """Whether a profile belongs to the fleet: then only the fleet brings it up."""

    def completed(self, statuses: Iterable[ProfileStatus]) -> tuple[ProfileStatus, ...]:
        """All profiles, also those that other machines hold, with what the fleet says."""

    async def want(self, profile: str) -> None:
        """Make this machine a candidate; its file of the profile counts from now on."""

    async def unwant(self, profile: str) -> None:
        """Give a profile up; this machine is no candidate any more."""

    async def reread(self) -> None:
        """The files of profiles may have changed."""

    async def files_changed(self) -> bool:
        """Whether a file of a profile has changed since it was last read."""

    async def hand_over(self, profile: str) -> str:
        """Give a profile up for another machine, whose name is returned.

        Raises:
            Failure: it cannot be handed over.
        """

    async def document(self) -> dict[str, Any]:
        """The object under `fleet` of `GET /v1/fleet`."""
