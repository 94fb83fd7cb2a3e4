"""`expose`: make a local service reachable on a server.

Owns the checks before and after: that the service answers locally, and whether others can reach it
on the server. Must never report an address as reachable before it has been reached.
"""

from __future__ import annotations

import secrets
import socket
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from tunnelctl import clock
from tunnelctl.cli import sentences
from tunnelctl.cli.main import Options
from tunnelctl.cli.running import adhoc
from tunnelctl.cli.running.holding import (
    CheckedProfile,
    Holding,
    ended_in_order,
    ensure_daemon_of_ours,
    watch,
)
from tunnelctl.cli.terminal import complete
from tunnelctl.cli.terminal.duration import Duration
from tunnelctl.cli.terminal.output import say
from tunnelctl.cli.terminal.server_lines import Said
from tunnelctl.client import Client, EventStream
from tunnelctl.errors import reason
from tunnelctl.home.extras import install_command
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.endpoint import ANY_ADDRESS, WILDCARDS, Endpoint, parse_endpoint
from tunnelctl.spec.forward import Inspect
from tunnelctl.state.documents.snapshot import ErrorStatus, ForwardStatus, HostStatus, ProfileStatus
from tunnelctl.state.documents.status_events import EventKind, StatusEvent

if TYPE_CHECKING:
    from tunnelctl.ssh.software import Software

_LOOKED_AT = 3.0  # seconds for one test connection
_COMES_WITHIN, _LOOKS_EVERY = 2.0, 0.05  # seconds for that connection to arrive here
_EXPLAINED_WITHIN = 6.0  # seconds; the daemon lets the server try for 5
_SAID_WITHIN = 2.0  # seconds in which a server reports its address, if it does
_FORWARD = "exposed"


@click.command(
    epilog="Examples: tunnelctl expose 3000 --via bastion; "
    "tunnelctl expose 3000 --via bastion --remote-port 8080 --allow 203.0.113.0/24 --ttl 1h"
)
@click.argument("target")
@click.option(
    "--via",
    required=True,
    metavar="HOST",
    shell_complete=complete.ssh_hosts,
    help="The server: any name that ssh accepts.",
)
@click.option(
    "--remote-port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Port on the server; by default the server chooses one.",
)
@click.option(
    "--bind",
    default="*",
    metavar="ADDRESS",
    show_default=True,
    help="Address to listen on at the server; localhost is the server only.",
)
@click.option("--allow", multiple=True, metavar="CIDR", help="Allowed clients; default: all.")
@click.option("--inspect", is_flag=True, help="Show its HTTP requests: tunnelctl requests.")
@click.option("--ttl", type=Duration(positive=True), help="Take it down after this time.")
@click.option("--qr", is_flag=True, help="Also show the address as a QR code.")
@click.option(
    "-d", "--detach", is_flag=True, help="Return once ready; the daemon keeps the tunnel up."
)
@click.option(
    "--wait-timeout",
    type=Duration(),
    default="30s",
    show_default=True,
    help="Time to wait until ready.",
)
@click.option("--as", "name", metavar="NAME", help="Name of the profile in ps.")
@click.pass_obj
def expose(options: Options, /, **arguments: Any) -> int:
    """Make a local service reachable on a server, and print its address there.

    TARGET is PORT, HOST:PORT or the path of a socket. Without -d the command stays until Ctrl-C.
    The address is followed by the text that some servers print in a session, such as a URL.
    """
    return _expose(options.client, _Arguments(**arguments))


@dataclass(frozen=True, slots=True)
class _Arguments:
    """The arguments of the command; `ttl` and `wait_timeout` in seconds, `name` of the profile."""

    target: str
    via: str
    remote_port: int
    bind: str
    allow: tuple[str, ...]
    inspect: bool
    ttl: float | None
    qr: bool
    detach: bool
    wait_timeout: float
    name: str | None


def _expose(client: Client, given: _Arguments) -> int:
    show_code = _code_shower() if given.qr else None
    service = _service(given.target)
    adhoc.check_networks(given.allow)
    _check_it_answers(service)
    listen = Endpoint(given.bind, given.remote_port)

    def hold(plans: tuple[CheckedProfile, ...]) -> int:
        ensure_daemon_of_ours(client, plans)
        lease = None if given.detach else secrets.token_hex(16)
        with ended_in_order(), watch(client, lease, plans) as stream:
            exposed = _Exposed(client, stream, plans, lease)
            session = exposed.session
            try:
                session.bring_up(given.wait_timeout, ttl=given.ttl)
                exposed.tell(service, listen, show_code)
                if given.inspect:
                    exposed.tell_requests()
                if given.detach:
                    exposed.listen()
                    return 0
                return session.stay()
            except KeyboardInterrupt:
                session.take_down()
                raise

    word = service.path.rpartition("/")[2] if service.is_unix else str(service.port)
    document = _document(service, listen, given)
    return adhoc.AdHocProfile(f"expose-{word}".lower(), document, given.name).hold(client, hold)


def _service(text: str) -> Endpoint:
    from tunnelctl.config.values import endpoints

    try:
        return endpoints.target(int(text) if text.isdigit() else text)
    except ValueError as error:
        raise click.UsageError(f"TARGET {error}") from None


def _check_it_answers(service: Endpoint) -> None:
    """Raises Failure if the service refuses connections."""
    error = _refusal(service)
    if error is None:
        return
    other = Endpoint("::1" if service.host == "127.0.0.1" else "127.0.0.1", service.port)
    if not service.is_unix and service.is_loopback and _refusal(other) is None:
        raise sentences.answers_elsewhere(service, error, other)
    raise sentences.nothing_answers(service, error)


def _refusal(endpoint: Endpoint) -> str | None:
    """The reason why an address cannot be connected to from here; None if it can."""
    try:
        if endpoint.is_unix:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(_LOOKED_AT)
                connection.connect(endpoint.path)
        else:
            socket.create_connection((endpoint.host, endpoint.port), _LOOKED_AT).close()
    except OSError as error:
        return reason(error)
    return None


def _document(service: Endpoint, listen: Endpoint, given: _Arguments) -> dict[str, Any]:
    """The profile that does it."""
    from tunnelctl.config.profile.adhoc import document_of
    from tunnelctl.config.values.forward_specs import ForwardSpec
    from tunnelctl.config.values.reach import parse_jump
    from tunnelctl.spec.forward import Side
    from tunnelctl.spec.host import SessionType

    try:
        host = parse_jump(given.via)
    except ValueError as error:
        raise click.UsageError(f"--via {error}") from None
    spec = ForwardSpec(Side.THERE, listen, service)
    ends = "" if given.ttl is None else f", for {given.ttl:g} s"
    description = f"tunnelctl expose {service} --via {given.via}{ends}"
    document = document_of(host, (spec,), description=description, allow=given.allow)
    document["hosts"][host.name]["session_type"] = str(SessionType.AUTO)
    (forward,) = document["forwards"].values()
    if given.inspect:
        forward["inspect"] = str(Inspect.HTTP)
    document["forwards"] = {_FORWARD: forward}
    return document


class _Exposed:
    """The profile while this command watches it, and the messages about it."""

    def __init__(
        self,
        client: Client,
        stream: EventStream,
        plans: Sequence[CheckedProfile],
        lease: str | None,
    ) -> None:
        self.session = Holding(
            client,
            stream,
            plans,
            lease,
            for_command=True,
            on_change=self._show_what_is_said,
            tells=self._tells,
        )
        self._name = plans[0].name
        self._said = Said()
        self._told_at: str | None = None  # when its address was reported

    def tell(
        self, service: Endpoint, asked: Endpoint, show_code: Callable[[str], None] | None
    ) -> None:
        """Print the address that was reached from here, or the reason why none was.

        `asked` is the address requested from the server; `show_code` shows a URL as a QR code.
        """
        (forward,), host = self._profile.forwards, self._host
        port = parse_endpoint(forward.listen).port
        server = parse_endpoint(host.address).host if host.address else host.name
        if asked.is_loopback:
            click.echo(f"localhost:{port}")
            say(f"{service} is reachable on {host.name} itself, at localhost:{port}")
            if forward.last_error is not None:  # elsewhere, too
                say(str(forward.last_error))
            self._told_at = clock.rfc3339(clock.wall())
            return
        outside = Endpoint(server if asked.host in (ANY_ADDRESS, *WILDCARDS) else asked.host, port)
        click.echo(str(outside))
        error = forward.last_error
        why = None if error is not None else _refusal(outside)
        if why is not None:
            error = self._explained(forward)
        if error is not None:
            say(str(error))
        elif why is not None:
            say(f"{outside} does not answer from here: {why}; {self._possible_cause()}")
        elif not self._came_here(forward):
            say(
                f"{outside} takes connections, but the one that was tried did not come here: does "
                "something else listen there, or does it wait for a request first?"
            )
        else:
            say(f"{service} is reachable at {outside} (checked from here)")
        self._told_at = clock.rfc3339(clock.wall())
        if show_code is not None:
            show_code(f"http://{outside}/")

    def tell_requests(self) -> None:
        """Print the command that shows the requests."""
        say(f"to see its requests: tunnelctl requests {self._name}/{_FORWARD} -f")

    def listen(self) -> None:
        """Print the text that the server sent in the session, if any."""
        if self._host.said is not None:
            self.session.settle(_SAID_WITHIN)

    def _tells(self, event: StatusEvent) -> bool:
        """Whether an event reports that the server listens on another address than requested,
        which `tell` reports."""
        is_caveat = event.kind is EventKind.FORWARD and event.state == "up" and bool(event.error)
        return is_caveat and (self._told_at is None or event.at <= self._told_at)

    def _came_here(self, before: ForwardStatus) -> bool:
        """Whether a connection was accepted or refused since the forward had this state."""
        deadline = clock.monotonic() + _COMES_WITHIN
        while clock.monotonic() < deadline:
            if _connections(self._profile.forwards[0]) != _connections(before):
                return True
            self.session.settle(_LOOKS_EVERY)
        return False

    def _explained(self, before: ForwardStatus) -> ErrorStatus | None:
        """The daemon's answer about where the server listens, once it is known."""
        if not self._software.bears_refusals:
            return None  # the daemon is not asked
        deadline = clock.monotonic() + _EXPLAINED_WITHIN
        while clock.monotonic() < deadline:
            forward = self._profile.forwards[0]
            if forward.last_error is not None:
                return forward.last_error
            if _connections(forward) != _connections(before):
                return None  # the server could connect, so only the way from here is blocked
            self.session.settle(_LOOKS_EVERY)
        return None

    def _possible_cause(self) -> str:
        """Possible reasons why others cannot connect, if the daemon could not find out."""
        alone = "is there a firewall before the server"
        if self._software.widens:
            return f"{alone}, or does it listen on its loopback alone ({self._software.widens})?"
        return f"{alone}, or does it listen on its loopback alone?"

    @property
    def _software(self) -> Software:
        from tunnelctl.ssh.software import Software

        return Software(self._host.server or "")

    def _show_what_is_said(self) -> None:
        self._said.show(self._host)

    @property
    def _profile(self) -> ProfileStatus:
        return self.session.profiles()[self._name]

    @property
    def _host(self) -> HostStatus:
        return self._profile.hosts[0]


def _connections(forward: ForwardStatus) -> int:
    return forward.connections_total + forward.connections_failed


def _code_shower() -> Callable[[str], None]:
    """A function that shows an address as a QR code.

    Raises:
        Failure: USAGE, the package it needs is not installed; nothing is exposed then.
    """
    try:
        import segno
    except ImportError:
        raise sentences.no_qr_package(install_command("qr")) from None
    return lambda address: segno.make(address).terminal(out=sys.stderr, compact=True)
