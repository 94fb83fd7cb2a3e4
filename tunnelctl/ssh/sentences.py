"""The messages of failures on the way to a host, from its name to an open link.

Owns the sentences: one function for each failure, named after what happened; and how messages name
a host and quote a peer. Decides nothing. Must never quote a secret, and never pass text of a peer
to a terminal without escaping it.

Those of proxies and jump hosts, of keys, of host keys and of logins are in the rooms of that name.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from tunnelctl.errors import Code, Failure, Hint, edit, printable
from tunnelctl.spec.host import AddressFamily, Host

# The maximum number of characters of a server's text in one message.
_QUOTED = 200
# Seconds to wait where sshd's PerSourcePenalties (sshd_config(5)) may apply.
_PENALTY_PAUSE = 60.0


def label(host: Host) -> str:
    """The name of a host in messages: `bastion (bastion.example.com:22)`."""
    return host.address if host.name == host.hostname else f"{host.name} ({host.address})"


def excerpt(text: str, length: int = _QUOTED) -> str:
    """The beginning of a server's text, printable, for one line of a message."""
    return printable(text[:length]) + ("…" if len(text) > length else "")


def elapsed(seconds: float) -> str:
    """A measured wait: whole seconds that have passed, or tenths in the first one."""
    return f"{int(seconds)} s" if seconds >= 1 else f"{int(seconds * 10) / 10} s"


def _said(text: str) -> str:
    return f': it said "{excerpt(text)}"' if text else ""


# --- names and addresses -------------------------------------------------------------------


def invalid_host_name(host: Host) -> Failure:
    """The host name cannot be looked up at all."""
    return Failure(
        Code.NAME_NOT_FOUND,
        f"{host.hostname!r} is not a valid host name",
        edit(f"correct hosts.{host.name}.hostname"),
        subject=label(host),
        retryable=False,
    )


def _look_up(host: Host) -> str:
    return f"getent hosts {shlex.quote(host.hostname)}"


def name_service_silent(host: Host) -> Failure:
    """EAI_AGAIN of getaddrinfo(3)."""
    return Failure(
        Code.NAME_NOT_FOUND,
        f"the name service does not answer for {host.hostname}",
        Hint("check the network and DNS of this machine", _look_up(host)),
        subject=label(host),
    )


def no_address(host: Host) -> Failure:
    """The name has no address, or none of the requested family."""
    kind, also = "address", ""
    if host.address_family is not AddressFamily.ANY:
        kind, also = f"{host.address_family} address", "address_family, "
    return Failure(
        Code.NAME_NOT_FOUND,
        f"the name {host.hostname} has no {kind}",
        Hint(f"check {also}the spelling of hostname, and DNS", _look_up(host)),
        subject=label(host),
    )


def no_such_bind_address(host: Host) -> Failure:
    """Connections cannot be made from the address in the profile or ssh_config."""
    return Failure(
        Code.UNREACHABLE,
        f"bind_address {host.bind_address} is not an address of this machine",
        Hint("correct bind_address in the profile, or BindAddress in ssh_config", "ip address"),
        subject=label(host),
    )


# --- connecting ----------------------------------------------------------------------------


def no_answer(host: Host, doing: str) -> Failure:
    """The absolute deadline of a connection attempt passed while `doing` something."""
    return Failure(
        Code.TIMED_OUT,
        f"no answer within {host.connect_timeout:g} s while {doing}",
        "check the network, or raise connect_timeout",
        subject=label(host),
    )


def connection_refused(host: Host, where: str) -> Failure:
    """Nothing listens at any of the addresses `where`."""
    return Failure(
        Code.CONNECTION_REFUSED,
        f"connection refused by {where}",
        f"check that an SSH server runs there and that {host.port} is its port",
        subject=label(host),
    )


def connection_reset(host: Host, where: str) -> Failure:
    """Accepted and closed before connect(2) had returned."""
    return Failure(
        Code.HANDSHAKE_FAILED,
        f"connection reset by {where}",
        _check_server(host),
        subject=label(host),
    )


def _check_server(host: Host) -> str:
    return f"check that an SSH server listens on port {host.port}, and read its log"


def unreachable(host: Host, where: str, why: str) -> Failure:
    """The system has no route to the addresses `where`."""
    return Failure(
        Code.UNREACHABLE,
        f"cannot reach {where}: {why}",
        "check the network, the VPN and the firewall of this machine",
        subject=label(host),
    )


def file_silent(host: Host, called: str, path: Path, why: str) -> Failure:
    """A file that is needed to verify the server does not answer."""
    return Failure(
        Code.TIMED_OUT,
        f"cannot read {called} {path}: {why}",
        Hint("check that this command ends", f"cat {shlex.quote(str(path))}"),
        subject=label(host),
    )


def invalid_key(host: Host, key: str, why: str, better: str) -> Failure:
    """A `key` of a host has an unusable value."""
    return Failure(
        Code.CONFIG_INVALID,
        f"{key}: {why}",
        edit(f"use {better} for hosts.{host.name}.{key}"),
        subject=label(host),
    )


# --- the handshake -------------------------------------------------------------------------


def not_an_ssh_server(host: Host, why: str) -> Failure:
    """It is no SSH server, or one with an old version of the protocol."""
    return Failure(
        Code.INCOMPATIBLE_PEER,
        excerpt(why),
        "check that this is an SSH server, and not too old a version",
        subject=label(host),
    )


def nothing_in_common(host: Host, what: Sequence[str], hints: Sequence[Hint]) -> Failure:
    """Each of `what` is a list of algorithms with no name in common."""
    return Failure(Code.INCOMPATIBLE_PEER, "; ".join(what), *hints, subject=label(host))


def no_common_algorithm(kind: str, ours: str, theirs: str) -> str:
    """One of `what` of `nothing_in_common`."""
    return f"no common {kind}: we offer {ours}; the server offers {theirs}"


def create_host_key(name: str, *, is_openssh: bool) -> str:
    """The remedy on a server that has no host key for the algorithm `name`."""
    how = " (ssh-keygen -A)" if is_openssh else ""
    return f"give the server a host key for {name}{how}"


def allow_in_sshd_config(option: str, name: str) -> str:
    """The remedy on a server of OpenSSH."""
    return f"add {option} +{name} to the server's sshd_config"


def allow_on_server(kind: str, name: str) -> str:
    """The remedy on any other server."""
    return f"allow the {kind} {name} on the server"


def allow_here_or(there: str, host: Host, key: str, name: str) -> Hint:
    """The profile or ssh_config excludes what the server offers."""
    text = f"add {key}: +{name} to hosts.{host.name} in the profile, or {there}"
    return Hint(text, edits_profile=True)


def allow_there_only(there: str) -> Hint:
    """We support nothing that the server offers."""
    return Hint(f"{there} (tunnelctl supports nothing that it offers, see docs/algorithms.md)")


def host_key_too_short(host: Host, bits: int, least: int) -> Failure:
    """An RSA host key with too few bits."""
    return Failure(
        Code.INCOMPATIBLE_PEER,
        f"the RSA host key has {bits} bits; at least {least} are required",
        Hint("give the server an ed25519 host key; on the server", "ssh-keygen -A"),
        subject=label(host),
    )


def turned_away(host: Host, said: str) -> Failure:
    """sshd refuses our address for a while, or has its maximum of unauthenticated connections: from
    9.8 on it has one sentence for both."""
    return Failure(
        Code.HANDSHAKE_FAILED,
        f"the server takes no login from here for now{_said(said)}",
        "too many logins in progress there (sshd MaxStartups), or too many from here that failed "
        "(PerSourcePenalties); both pass by themselves",
        subject=label(host),
        retry_after=_PENALTY_PAUSE,
    )


def too_many_logins(host: Host, said: str) -> Failure:
    """sshd before 9.8 has its maximum of unauthenticated connections."""
    return Failure(
        Code.HANDSHAKE_FAILED,
        f"the server has too many logins in progress{_said(said)}",
        "this passes by itself; if it does not, raise MaxStartups in its sshd_config",
        subject=label(host),
    )


def login_waits(host: Host, seconds: float) -> Failure:
    """The login waits for a person or an agent."""
    return Failure(
        Code.TIMED_OUT,
        f"login: waiting for an answer for {elapsed(seconds)}",
        "a person, or an agent that asks one, has to answer",
        subject=label(host),
    )


def handshake_ended(host: Host, what: str, doing: str, said: str) -> Failure:
    """The connection ended before the login was complete."""
    return Failure(
        Code.HANDSHAKE_FAILED,
        f"{what} while {doing}{_said(said)}",
        _check_server(host),
        subject=label(host),
    )


def session_ended(host: Host, what: str, doing: str, said: str) -> Failure:
    """The connection ended after the login."""
    return Failure(
        Code.SESSION_LOST,
        f"{what} while {doing}{_said(said)}",
        "tunnelctl reconnects by itself",
        subject=label(host),
    )


# --- the link ------------------------------------------------------------------------------


def link_closed(title: str, hop: str) -> Failure:
    """We closed it. `title` names the peer, `hop` is its name if it is a jump host."""
    return Failure(Code.SESSION_LOST, "the connection was closed", subject=title, hop=hop)


def link_lost(title: str, hop: str, why: str) -> Failure:
    """By an error of the socket."""
    return Failure(Code.SESSION_LOST, f"the connection was lost: {why}", subject=title, hop=hop)


def protocol_broken(title: str, hop: str, why: str) -> Failure:
    """The peer sent what RFC 4253 or RFC 4254 does not allow."""
    return Failure(Code.SESSION_LOST, f"protocol error: {why}", subject=title, hop=hop)


def peer_disconnected(title: str, hop: str, said: str) -> Failure:
    """The peer sent DISCONNECT, with a reason or without."""
    return Failure(
        Code.SESSION_LOST,
        "the server disconnected" + (f": {said}" if said else ""),
        subject=title,
        hop=hop,
    )


def peer_closed(title: str, hop: str) -> Failure:
    """The peer ended the stream cleanly."""
    return Failure(Code.SESSION_LOST, "the server closed the connection", subject=title, hop=hop)


def peer_silent(title: str, hop: str, seconds: float) -> Failure:
    """Nothing came for too long, and keepalives were not answered."""
    return Failure(
        Code.PEER_SILENT, f"nothing received for {seconds:.0f} s", subject=title, hop=hop
    )


def no_sign_of_life(title: str, hop: str, seconds: float) -> Failure:
    """The peer was probed, and did not answer."""
    return Failure(
        Code.PEER_SILENT,
        f"no reply to a keepalive within {seconds:.0f} s",
        subject=title,
        hop=hop,
    )


def rekey_timed_out(title: str, hop: str, seconds: float) -> Failure:
    """A key exchange did not complete."""
    return Failure(
        Code.PEER_SILENT,
        f"a key exchange did not finish within {seconds:.0f} s",
        subject=title,
        hop=hop,
    )


def rekey_failed(title: str, hop: str, why: str) -> Failure:
    """A key exchange of an open link failed."""
    detail = f": {why}" if why else ""
    return Failure(Code.HANDSHAKE_FAILED, f"a key exchange failed{detail}", subject=title, hop=hop)
