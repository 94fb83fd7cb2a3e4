"""How each kind of endpoint is asked for on the wire: TCP and unix sockets, here and there.

Owns the names of the requests and channel types of RFC 4254 section 7 and of OpenSSH's PROTOCOL
section 2.4 (streamlocal), and what a refusal means to a person. Must never send by itself.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

from tunnelctl.errors import Code, Fact, Failure
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.spec.forward import Forward
from tunnelctl.ssh.sentences import excerpt
from tunnelctl.ssh.software import Software
from tunnelctl.wire import messages
from tunnelctl.wire.refusals import Refusal, in_words, refusal

# Where a client comes from, for the server's log; a unix socket has no such address.
Origin = tuple[str, int]


def direct(target: Endpoint, origin: Origin) -> tuple[str, bytes]:
    """The channel type and data that ask the server to dial `target`."""
    if target.is_unix:
        # The reserved string and number are OpenSSH's (PROTOCOL section 2.4).
        data = messages.string(target.path) + messages.string("") + messages.u32(0)
        return "direct-streamlocal@openssh.com", data
    return "direct-tcpip", messages.tcpip_open(target.host, target.port, *origin)


@dataclass(frozen=True, slots=True)
class ListenRequest:
    """What asks the server to listen: `route` is what its opens will name."""

    name: str
    cancel: str
    route: tuple[str, int]

    @property
    def data(self) -> bytes:
        """Of the request and of its cancellation."""
        address, port = self.route
        if self.name.startswith("streamlocal"):
            return messages.string(address)
        return messages.tcpip_forward(address, port)


def listen_request(listen: Endpoint) -> ListenRequest:
    """Ask for `listen`; with the port that the server chose once it is known."""
    if listen.is_unix:
        name = "streamlocal-forward@openssh.com"
        return ListenRequest(name, f"cancel-{name}", (listen.path, 0))
    # RFC 4254 section 7.1: the empty string is every address.
    address = "" if listen.host == "*" else listen.host
    return ListenRequest("tcpip-forward", "cancel-tcpip-forward", (address, listen.port))


def open_failure(
    forward: Forward, target: Endpoint, server: Software, reason: int, description: str
) -> Failure:
    """A refused open as a failure (RFC 4254 section 5.1)."""
    cause = refusal(reason, description)
    said = excerpt(in_words(reason, description))
    if cause is Refusal.PROHIBITED:
        options = ("AllowTcpForwarding, PermitOpen", "-j")
        if target.is_unix:
            options = ("AllowStreamLocalForwarding", "-j")
        what = f"{forward.via} does not allow connections to {target}: {said}"
        return Failure(Code.FORWARD_DENIED, what, server.decides(*options))
    if cause is Refusal.UNKNOWN_TYPE:
        hint = f"{excerpt(server.name)} has no forwards"
        if target.is_unix:
            hint += " to unix sockets; a service on a port can be reached"
        what = f"{forward.via} cannot forward to {target}: {said}"
        return Failure(Code.FORWARD_DENIED, what, hint)
    where = f"{target} through {forward.via}"
    if cause is Refusal.REFUSED:
        return Failure(
            Code.TARGET_REFUSED,
            f"{where} refused the connection",
            "is the service running, and on that address?",
        )
    return Failure(
        Code.TARGET_UNREACHABLE,
        f"{where} cannot be reached: {said}",
        _untold(target, server),
        facts=[Fact.NO_NAME] if cause is Refusal.NO_NAME else [],
    )


def _untold(target: Endpoint, server: Software) -> str:
    """What may be behind a failure that has no words for it."""
    if not target.is_unix:
        return ""
    if not server.is_openssh:
        return "is the service running, and does the server allow connections to it?"
    # sshd does not say whether it was forbidden or nobody listens (serverloop.c).
    return (
        "is the service running, and does sshd_config there allow it (AllowStreamLocalForwarding)?"
    )


def target_failure(forward: Forward, target: Endpoint, error: OSError) -> Failure:
    """A target on this side that could not be dialled, as a failure."""
    who = f"{target}, the target of {forward.name},"
    if isinstance(error, ConnectionRefusedError | FileNotFoundError):
        hint = "is the service running, and on that address?"
        return Failure(Code.TARGET_REFUSED, f"{who} refused the connection", hint)
    return Failure(Code.TARGET_UNREACHABLE, f"{who} cannot be reached: {reason_of(error)}")


def turned_away(forward: Forward, code: Code, what: str) -> Failure:
    """A client that was not let in, as a failure: `what` the forward has against it."""
    return Failure(code, f"forward {forward.name} {what}: a client was turned away")


def reason_of(error: OSError) -> str:
    """Why dialling failed, in the words of the system: asyncio puts its own in the place of
    `strerror`, and peers know a refusal by those of OpenSSH's server."""
    if isinstance(error, TimeoutError):
        return "Connection timed out"
    if isinstance(error, socket.gaierror) or error.errno is None:
        return error.strerror or str(error)
    return os.strerror(error.errno)


def listen_taken(forward: Forward) -> Failure:
    """The server could not listen: somebody else does."""
    port = forward.listen.port
    return _in_use(
        forward,
        "in use",
        f"it is asked for again; ss -ltnp 'sport = :{port}' on the server shows who has it: choose "
        "another port, or free it there",
    )


def listen_taken_by_own(forward: Forward, owner: str) -> Failure:
    """The server could not listen, as it does for `owner`, another forward of ours."""
    return _in_use(
        forward,
        f"in use by {owner}, a forward of the daemon's own",
        f"tunnelctl down {owner.partition('/')[0]}, or choose another port",
    )


def listen_held(forward: Forward, owner: str, server: Software) -> Failure:
    """The server could not listen, as it still does for a session of ours, that of the forward
    `owner`, whose link was lost, be it of this daemon or of one that was killed."""
    port = forward.listen.port
    sooner = f"; {server.misses_clients} makes it sooner" if server.misses_clients else ""
    return _in_use(
        forward,
        f"still held by an earlier session of ours ({owner}), which broke off",
        "it is asked for again, and free once the server misses that session"
        f"{sooner}, and at once when the process of that session is ended there "
        f"(ss -ltnp 'sport = :{port}' shows it)",
    )


def _in_use(forward: Forward, how: str, hint: str) -> Failure:
    what = f"remote forward {forward.name}: {forward.listen} on {forward.via} is {how}"
    exit_code = Code.FORWARD_DENIED.exit_code  # the server's, not this machine's
    return Failure(Code.PORT_IN_USE, what, hint, exit_code=exit_code)


def port_untold(forward: Forward) -> Failure:
    """The server was to choose a port, and does not say which it is (RFC 4254 section 7.1)."""
    return Failure(
        Code.FORWARD_DENIED,
        f"remote forward {forward.name}: {forward.via} does not say which port it chose",
        "name one: such servers mostly want 80, as in remote: 80 or --remote-port 80",
    )


def stray(forward: Forward) -> Failure:
    """A client beyond the server was refused: the server does not say which forward it is for."""
    return Failure(
        Code.FORWARD_DENIED,
        f"remote forward {forward.name}: {forward.via} does not say which of its forwards a client "
        "came for, so it was refused",
        f"give each of them a port of its own: forwards.{forward.name}.remote",
    )


def listen_kept(forward: Forward) -> Failure:
    """The server did not cancel the listener of an earlier forward, and grants no second one."""
    return Failure(
        Code.FORWARD_DENIED,
        f"remote forward {forward.name}: {forward.via} still holds {forward.listen} for a forward"
        " that was closed, and did not cancel it",
        "tunnelctl restart makes a new link, on which it is free",
    )


def listen_denied(forward: Forward, server: Software) -> Failure:
    """The server refused to listen."""
    listen = forward.listen
    where = listen if listen.is_unix or listen.port else f"any port of {listen.host}"
    return Failure(
        Code.FORWARD_DENIED,
        f"remote forward {forward.name} via {forward.via} was refused: cannot listen on {where}",
        _why_denied(listen, server, unlinks=forward.unlink_remote),
    )


def listen_unknown(forward: Forward, server: Software) -> Failure:
    """The server does not know the request. No new try on this link would be another."""
    return Failure(
        Code.FORWARD_DENIED,
        f"remote forward {forward.name} via {forward.via} was refused: the server does not know "
        f"the request {listen_request(forward.listen).name}",
        _has_none(forward, server),
        retryable=False,
    )


def listen_unanswered(forward: Forward, server: Software) -> Failure:
    """The server answers others, and not this request. It stays asked."""
    return Failure(
        Code.FORWARD_DENIED,
        f"remote forward {forward.name} via {forward.via}: the server does not answer the request "
        f"{listen_request(forward.listen).name}",
        _has_none(forward, server),
        retryable=False,
    )


def _has_none(forward: Forward, server: Software) -> str:
    if forward.listen.is_unix:
        return _has_no_unix(server)
    return f"{excerpt(server.name)} may have no remote forwards: another server is needed"


def _has_no_unix(server: Software) -> str:
    return f"{excerpt(server.name)} may have no forwards of unix sockets; a port may do"


def _why_denied(listen: Endpoint, server: Software, *, unlinks: bool) -> str:
    """A refusal has no words (RFC 4254 section 4): what may be behind it."""
    if listen.is_unix:
        if server.is_openssh and unlinks:
            return (
                f"if {listen.path} is there, no shell could remove it, or somebody answers on it;"
                " else AllowStreamLocalForwarding in sshd_config there forbids it"
            )
        if server.is_openssh:
            return (
                f"sshd leaves the file of a link that ended: remove {listen.path} there, or set"
                " StreamLocalBindUnlink yes in its sshd_config, or unlink_remote: true here;"
                " AllowStreamLocalForwarding may forbid it as well"
            )
        return _has_no_unix(server)
    if 0 < listen.port < 1024:
        return "the server lets only root listen below 1024; choose a higher port"
    decides = server.decides("AllowTcpForwarding, PermitListen", "-k")
    return decides if listen.port == 0 else f"the port may be taken there, or forbidden: {decides}"
