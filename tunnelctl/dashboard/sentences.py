"""The sentences of the dashboard's failures and refusals: one function for each.

The HTTP status of a refusal is the caller's.
"""

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


def port_in_use_by_forward(address: Endpoint, forward: str) -> Failure:
    """A forward of the daemon, PROFILE/FORWARD, listens there."""
    return Failure(
        Code.PORT_IN_USE,
        f"the dashboard cannot listen on {address}: the forward {forward} does",
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


# --- requests that the guard refuses --------------------------------------------------------


def not_our_name() -> str:
    """The header `Host` names something else."""
    return "this is not the name of the dashboard"


def not_logged_in() -> str:
    """The browser has no cookie, or the token was used."""
    return "open the address that tunnelctl dashboard printed; it works once, in one browser"


def another_users() -> str:
    """The client is a process of another user of this machine."""
    return "the dashboard is another user's"


def from_another_site() -> str:
    """A page that is not the dashboard's caused it."""
    return "another site sent this request"


def read_only() -> str:
    """An order, with --read-only."""
    return "the dashboard was started with --read-only"


# --- requests that are invalid or too many --------------------------------------------------


def no_such_file() -> str:
    """The page has no file of that name."""
    return "there is no such file"


def too_many_browsers() -> str:
    """All streams of the view are in use."""
    return "too many browsers listen"


def _invalid(rule: str) -> Failure:
    return Failure(Code.USAGE, rule)


def not_forwards_and_host() -> Failure:
    """The body of an order for forwards without a profile has other keys."""
    return _invalid("the body must have forwards and host")


def too_many_forwards(most: int) -> Failure:
    """None, or more than that."""
    return _invalid(f"forwards must be 1 to {most}")


def not_a_forward() -> Failure:
    """Not an option and its argument."""
    return _invalid('a forward is ["-L", SPEC], with -L, -R or -D')


def not_an_argument(name: str, most: int) -> Failure:
    """It is not text, or too long; `name`: the argument."""
    return _invalid(f"{name} must be a text of 1 to {most} characters")


def reads_as_an_option(name: str) -> Failure:
    """The command would read the argument `name` as something else."""
    return _invalid(f"{name} cannot begin with -, or begin or end with a space")
