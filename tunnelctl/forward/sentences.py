"""The messages of failures of listeners, targets and clients.

Owns the sentences: one function for each failure, named after what happened. Decides nothing. Must
never pass text of a peer to a terminal without escaping it.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from tunnelctl.errors import Code, Fact, Failure, Hint, edit
from tunnelctl.net.addresses import STOP_IT, PortHolder
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.spec.forward import Forward
from tunnelctl.ssh.sentences import excerpt
from tunnelctl.ssh.software import Software

_IS_IT_RUNNING = "check that the service is running and listens on that address"


# --- listeners on this machine -------------------------------------------------------------


def port_in_use(endpoint: Endpoint, holder: PortHolder | None) -> Failure:
    """Another program uses the port; `holder` names it, if known."""
    return Failure(
        Code.PORT_IN_USE,
        f"{endpoint} is in use" + (f" by {holder}" if holder else ""),
        holder.hint if holder else STOP_IT,
    )


def port_in_use_by_forward(endpoint: Endpoint, owner: str) -> Failure:
    """Another forward of the daemon, PROFILE/FORWARD, uses the address."""
    return Failure(
        Code.PORT_IN_USE,
        f"{endpoint} is in use by the forward {owner} of this daemon",
        Hint("choose another in the profile, or", f"tunnelctl down {owner.partition('/')[0]}"),
    )


def cannot_listen(endpoint: Endpoint, why: str) -> Failure:
    """The system refuses an address or a port."""
    hint = ""
    if 0 < endpoint.port < 1024:
        hint = "ports below 1024 require root; choose a higher one"
    return Failure(Code.PERMISSION_DENIED, f"cannot listen on {endpoint}: {why}", hint)


def path_not_a_socket(path: str, what: str) -> Failure:
    """The path of the socket is taken by something else: `what`."""
    return Failure(
        Code.PORT_IN_USE,
        f"{path} is {what}, not a socket",
        Hint("move it away, or choose another path in the profile", f"ls -ld {shlex.quote(path)}"),
    )


def no_folder_for_socket(path: str, folder: str) -> Failure:
    """The folder of a unix socket does not exist, which may pass."""
    return Failure(
        Code.NAME_NOT_FOUND,
        f"cannot listen on {path}: there is no folder {folder}",
        Hint("", f"mkdir -p {shlex.quote(folder)}"),
        exit_code=Code.PORT_IN_USE.exit_code,
    )


def socket_path_invalid(endpoint: Endpoint, why: str) -> Failure:
    """The path is invalid for a unix socket (unix(7))."""
    return Failure(
        Code.PERMISSION_DENIED,
        f"cannot listen on {endpoint}: {why}",
        "a path has at most 107 bytes",
    )


def cannot_listen_in_folder(endpoint: Endpoint, folder: str, why: str) -> Failure:
    """The system refuses a unix socket in that folder."""
    return Failure(
        Code.PERMISSION_DENIED,
        f"cannot listen on {endpoint}: {why}",
        Hint("the folder must be one that you may write to", f"ls -ld {shlex.quote(folder)}"),
    )


def no_such_listen_address(endpoint: Endpoint, why: str) -> Failure:
    """The name of a listener has no address."""
    return Failure(
        Code.NAME_NOT_FOUND,
        f"cannot listen on {endpoint}: {why}",
        "use an address of this machine",
        retryable=False,
        exit_code=Code.PORT_IN_USE.exit_code,
    )


# --- targets -------------------------------------------------------------------------------


def target_forbidden(via: str, target: Endpoint, said: str, hint: str) -> Failure:
    """The server does not allow the connection."""
    return Failure(
        Code.FORWARD_DENIED, f"{via} does not allow connections to {target}: {said}", hint
    )


def forwards_unknown(via: str, target: Endpoint, said: str, server: Software) -> Failure:
    """The server does not know the channel type."""
    hint = f"{excerpt(server.name)} does not support forwards"
    if target.is_unix:
        hint += " to unix sockets; use a service on a port"
    return Failure(Code.FORWARD_DENIED, f"{via} cannot forward to {target}: {said}", hint)


def target_refused_there(via: str, target: Endpoint) -> Failure:
    """Nothing listens there, as the server reports."""
    return Failure(
        Code.TARGET_REFUSED, f"{target} through {via}: connection refused", _IS_IT_RUNNING
    )


def target_unreachable_there(
    via: str, target: Endpoint, said: str, server: Software, facts: Sequence[Fact]
) -> Failure:
    """The server cannot connect to it, for another reason."""
    hint = ""
    if target.is_unix:
        # sshd does not say whether it was forbidden or nothing listens (serverloop.c).
        allows = "that sshd_config there allows it (AllowStreamLocalForwarding)"
        if not server.is_openssh:
            allows = "that the server allows connections to it"
        hint = f"check that the service is running, and {allows}"
    return Failure(
        Code.TARGET_UNREACHABLE, f"cannot reach {target} through {via}: {said}", hint, facts=facts
    )


def target_refused_here(forward: Forward, target: Endpoint) -> Failure:
    """Nothing listens at a target on this side."""
    return Failure(
        Code.TARGET_REFUSED,
        f"{target} (target of {forward.name}): connection refused",
        _IS_IT_RUNNING,
    )


def target_unreachable_here(forward: Forward, target: Endpoint, why: str) -> Failure:
    """A target on this side cannot be connected to."""
    return Failure(
        Code.TARGET_UNREACHABLE, f"cannot reach {target} (target of {forward.name}): {why}"
    )


def target_silent_here(forward: Forward, target: Endpoint, seconds: float) -> Failure:
    """A target on this side neither accepts nor refuses a connection."""
    return Failure(
        Code.TARGET_UNREACHABLE,
        f"{target}, the target of {forward.name}, did not answer within {seconds:g} s",
    )


def target_not_permitted(forward: Forward, wanted: Endpoint) -> Failure:
    """A SOCKS client on the server asks for a target that `permit` does not allow."""
    return Failure(
        Code.FORWARD_DENIED,
        f"connection to {wanted} is not permitted",
        edit(f"forwards.{forward.name}.permit decides"),
        subject=f"forward {forward.name}",
    )


# --- clients -------------------------------------------------------------------------------


def _client_refused(forward: Forward, code: Code, why: str, *hints: Hint) -> Failure:
    return Failure(code, f"client refused: {why}", *hints, subject=f"forward {forward.name}")


def client_not_allowed(forward: Forward, address: str) -> Failure:
    """`allow` does not include the client."""
    return _client_refused(forward, Code.PERMISSION_DENIED, f"{excerpt(address)} is not allowed")


def too_many_connections(forward: Forward) -> Failure:
    """The limit of `max_connections` is reached."""
    limit = f"limit of {forward.max_connections} connections reached"
    return _client_refused(forward, Code.TARGET_REFUSED, limit)


def no_window_for_socks(forward: Forward) -> Failure:
    """The server opened a channel with a window too small for an answer."""
    return _client_refused(forward, Code.TARGET_REFUSED, "no window for a SOCKS handshake")


def socks_failed(forward: Forward, why: str) -> Failure:
    """A SOCKS client named no target."""
    return _client_refused(forward, Code.HANDSHAKE_FAILED, f"SOCKS handshake: {why}")


def no_link_for_client(forward: Forward, away: Failure | None) -> Failure:
    """The client waited for `while_down.hold`; `away` is why there is no link."""
    why = f"no link for {forward.while_down.hold:g} s"
    if away is None:
        return _client_refused(forward, Code.SESSION_LOST, why)
    return _client_refused(forward, Code.SESSION_LOST, f"{why} ({away.message})", *away.hints)


# --- listeners on the server ---------------------------------------------------------------


def _remote(forward: Forward) -> str:
    return f"remote forward {forward.name}"


def _taken_there(forward: Forward, how: str, *hints: Hint | str) -> Failure:
    return Failure(
        Code.PORT_IN_USE,
        f"{forward.listen} on {forward.via} is {how}",
        *hints,
        subject=_remote(forward),
        exit_code=Code.FORWARD_DENIED.exit_code,  # a failure of the server, not of this machine
    )


def _who_listens_there(forward: Forward) -> str:
    return f"ss -ltnp 'sport = :{forward.listen.port}'"


def remote_port_in_use(forward: Forward) -> Failure:
    """The server could not listen, because something else does."""
    return _taken_there(
        forward,
        "in use",
        "tunnelctl tries again; choose another port, or free it on the server",
        Hint("to see who has it, on the server", _who_listens_there(forward)),
    )


def remote_port_in_use_by_forward(forward: Forward, owner: str) -> Failure:
    """The server could not listen, because it does for `owner`, another forward of ours."""
    return _taken_there(
        forward,
        f"in use by the forward {owner} of this daemon",
        Hint("choose another port, or", f"tunnelctl down {owner.partition('/')[0]}"),
    )


def remote_port_held(forward: Forward, owner: str, server: Software) -> Failure:
    """The server could not listen, because it still does for the forward `owner` of an earlier
    session, whose link was lost, of this daemon or of one that was killed."""
    sooner = f" ({server.misses_clients} frees it sooner)" if server.misses_clients else ""
    return _taken_there(
        forward,
        f"still held by an earlier session of ours ({owner}), whose connection was lost",
        f"tunnelctl tries again; the server frees it once it misses that session{sooner}",
        Hint(
            "or end the process of that session on the server; to see which",
            _who_listens_there(forward),
        ),
    )


def remote_port_of_last_machine(forward: Forward, server: Software) -> Failure:
    """The server could not listen for a profile of a fleet: it may still do for the session of the
    machine that held the profile before."""
    return _taken_there(
        forward,
        "in use, perhaps by the session of the machine that held the profile before",
        "tunnelctl tries again every second; the server frees it once it misses that session"
        + (
            " (ClientAliveInterval 5 and ClientAliveCountMax 2 in sshd_config there free it sooner)"
            if server.is_openssh
            else ""
        ),
        Hint("to see who has it, on the server", _who_listens_there(forward)),
    )


def remote_port_not_told(forward: Forward) -> Failure:
    """The server was to choose a port, and does not tell which (RFC 4254 section 7.1)."""
    return Failure(
        Code.FORWARD_DENIED,
        f"{forward.via} does not report which port it chose",
        "set one: such servers usually want 80, as in remote: 80 or --remote-port 80",
        subject=_remote(forward),
    )


def client_of_no_forward(forward: Forward) -> Failure:
    """A client on the server was refused, because the server does not tell which forward it is
    for."""
    return Failure(
        Code.FORWARD_DENIED,
        f"client refused: {forward.via} does not report which of its forwards it is for",
        edit(f"give each of them a port of its own: forwards.{forward.name}.remote"),
        subject=_remote(forward),
    )


def remote_port_not_cancelled(forward: Forward) -> Failure:
    """The server did not cancel the listener of an earlier forward, and grants no second one."""
    return Failure(
        Code.FORWARD_DENIED,
        f"{forward.via} did not cancel {forward.listen} of a forward that was closed",
        Hint("a new connection frees it", "tunnelctl restart"),
        subject=_remote(forward),
    )


def remote_listen_refused(forward: Forward, server: Software) -> Failure:
    """The server refused to listen."""
    listen = forward.listen
    where = listen if listen.is_unix or listen.port else f"any port of {listen.host}"
    return Failure(
        Code.FORWARD_DENIED,
        f"{forward.via} refused to listen on {where}",
        *_why_refused(listen, server, unlinks=forward.unlink_remote),
        subject=_remote(forward),
    )


def _why_refused(listen: Endpoint, server: Software, *, unlinks: bool) -> tuple[str, ...]:
    """A refusal has no reason (RFC 4254 section 4): the possible ones."""
    if listen.is_unix:
        if server.is_openssh and unlinks:
            return (
                f"if {listen.path} exists there, no shell could remove it, or a program listens "
                "on it",
                "else AllowStreamLocalForwarding in sshd_config there forbids it",
            )
        if server.is_openssh:
            return (
                f"sshd keeps the file of a connection that ended: remove {listen.path} there, or "
                "set StreamLocalBindUnlink yes in its sshd_config, or unlink_remote: true here",
                "AllowStreamLocalForwarding may forbid it as well",
            )
        return (_no_unix_sockets(server),)
    if 0 < listen.port < 1024:
        return ("the server lets only root listen below 1024; choose a higher port",)
    decides = server.decides("AllowTcpForwarding, PermitListen", "-k")
    return (
        (decides,)
        if listen.port == 0
        else (f"the port may be in use there, or forbidden: {decides}",)
    )


def remote_listen_unknown(forward: Forward, request: str, server: Software) -> Failure:
    """The server does not know the request. Another try on this link would have the same result."""
    return Failure(
        Code.FORWARD_DENIED,
        f"{forward.via} does not support the request {request}",
        _no_remote_forwards(forward, server),
        subject=_remote(forward),
        retryable=False,
    )


def remote_listen_unanswered(forward: Forward, request: str, server: Software) -> Failure:
    """The server answers other requests, but not this one, which stays open."""
    return Failure(
        Code.FORWARD_DENIED,
        f"{forward.via} does not answer the request {request}",
        _no_remote_forwards(forward, server),
        subject=_remote(forward),
        retryable=False,
    )


def remote_listen_disconnects(forward: Forward, server: Software) -> Failure:
    """The server closed several links in a row when this forward was requested."""
    listen = forward.listen
    hint = f"the log of {excerpt(server.name)} there may show why"
    if not listen.is_unix and listen.port == 0:
        hint = f"choose a port number instead of 0; {hint}"
    return Failure(
        Code.FORWARD_DENIED,
        f"{forward.via} closes the connection when asked to listen on {listen}",
        hint,
        subject=_remote(forward),
        retryable=False,
    )


def _no_remote_forwards(forward: Forward, server: Software) -> str:
    if forward.listen.is_unix:
        return _no_unix_sockets(server)
    return f"{excerpt(server.name)} may not support remote forwards; use another server"


def _no_unix_sockets(server: Software) -> str:
    return f"{excerpt(server.name)} may not support forwards of unix sockets; use a port"


def listens_on_all(forward: Forward) -> Failure:
    """The server opened a listener to other machines without being asked."""
    return Failure(
        Code.FORWARD_DENIED,
        f"{forward.via} listens on all addresses, not on {forward.listen.host} alone",
        "GatewayPorts yes in sshd_config there overrides it; use GatewayPorts clientspecified",
        subject=_remote(forward),
    )


def listens_on_loopback(forward: Forward, allowed_by: str) -> Failure:
    """A listener should be reachable from other machines and is not; `allowed_by` would allow
    it."""
    return Failure(
        Code.FORWARD_DENIED,
        f"{forward.via} listens on its loopback address, not on {forward.listen.host}",
        f"{allowed_by} allows it" if allowed_by else "",
        subject=_remote(forward),
    )


# --- probes --------------------------------------------------------------------------------


def probe_not_http(forward: Forward, *, answered: bool) -> Failure:
    """The answer to an HTTP probe is not HTTP."""
    what = "the answer is not HTTP" if answered else "connection closed without an answer"
    return Failure(
        Code.TARGET_REFUSED, what, "check that this is the right port", subject=str(forward.target)
    )


def probe_wrong_status(forward: Forward, status: int) -> Failure:
    """The status differs from the expected one."""
    return Failure(
        Code.TARGET_REFUSED,
        f"status {status} for GET {forward.probe.path}",
        f"forwards.{forward.name}.probe expects {forward.probe.status}",
        subject=str(forward.target),
    )


def probe_timed_out(forward: Forward, via: str) -> Failure:
    """The target did not answer; `via` is the host that connects to it, empty for this machine."""
    through = f" through {via}" if via else ""
    return Failure(
        Code.TARGET_UNREACHABLE,
        f"no answer within {forward.probe.timeout:g} s",
        _is_it_alive(forward),
        subject=f"{forward.target}{through}",
    )


def _is_it_alive(forward: Forward) -> str:
    return f"check that the service works; the time limit is forwards.{forward.name}.probe.timeout"


def _probe(forward: Forward) -> str:
    return f"probe of {forward.name}"


def probe_command_timed_out(forward: Forward) -> Failure:
    """The program was killed."""
    return Failure(
        Code.TARGET_UNREACHABLE,
        f"killed after {forward.probe.timeout:g} s",
        _is_it_alive(forward),
        subject=_probe(forward),
    )


def probe_command_not_started(forward: Forward, program: str, why: str) -> Failure:
    """The program cannot be run."""
    return Failure(
        Code.CONFIG_INVALID,
        f"cannot start {excerpt(program)}: {why}",
        "use an installed program",
        subject=_probe(forward),
    )


def probe_command_failed(forward: Forward, how: str, said: str, address: Endpoint) -> Failure:
    """The program did not exit with 0: `how` it ended, and its last line."""
    return Failure(
        Code.TARGET_UNREACHABLE,
        how + (f": {excerpt(said)}" if said else ""),
        f"run it by hand with TUNNELCTL_ADDRESS={address}",
        subject=_probe(forward),
    )
