"""The sentences of the dashboard's failures: one function for each."""

from __future__ import annotations

from tunnelctl.errors import Code, Failure
from tunnelctl.net.addresses import PortHolder
from tunnelctl.spec.endpoint import Endpoint


def port_in_use(address: Endpoint, holder: PortHolder | None) -> Failure:
    """Another program listens there: `holder`, if known."""
    by = f" by {holder}" if holder else ""
    return Failure(
        Code.PORT_IN_USE,
        f"the dashboard cannot listen on {address}: it is in use{by}",
        "choose another port with --port, or none for a free one",
    )


def port_not_allowed(address: Endpoint, why: str) -> Failure:
    """The system refuses the address, such as a port below 1024."""
    return Failure(
        Code.PERMISSION_DENIED,
        f"the dashboard cannot listen on {address}: {why}",
        "choose another port with --port, or none for a free one",
    )


def error_inside(exception: str) -> Failure:
    """An unexpected exception of this type."""
    return Failure(
        Code.INTERNAL,
        f"an error inside the dashboard: {exception}",
        "tunnelctl --debug dashboard shows where",
    )
