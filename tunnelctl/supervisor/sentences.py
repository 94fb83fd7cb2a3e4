"""The messages of the failures of running profiles.

Owns the sentences: one function for each failure, named after what happened. Decides nothing. Must
never pass text of a peer to a terminal without escaping it.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunnelctl.errors import PLACE, Code, Failure, Hint
from tunnelctl.spec.forward import Forward
from tunnelctl.ssh.sentences import excerpt

# --- profiles ------------------------------------------------------------------------------


def shutting_down(profile: str) -> Failure:
    """The daemon is ending, and starts nothing."""
    return Failure(
        Code.DAEMON_NOT_RUNNING,
        f"profile {profile} was not started: tunnelctl is shutting down",
        f"tunnelctl up {profile}",
    )


def profile_down(profile: str) -> Failure:
    """The profile is listed as stopped."""
    return Failure(Code.NOT_UP, f"profile {profile} is down", f"tunnelctl up {profile}")


def profile_not_listed(profile: str) -> Failure:
    """The profile was never started."""
    return Failure(Code.PROFILE_NOT_FOUND, f"no profile {profile} is up", f"tunnelctl up {profile}")


def no_tunnel_to_host(profile: str, host: str, hosts: Sequence[str]) -> Failure:
    """`hosts` are the hosts of the profile."""
    return Failure(
        Code.PROFILE_NOT_FOUND,
        f"profile {profile} has no tunnel to a host {host}",
        f"it has {', '.join(hosts)}",
    )


def no_such_forward(profile: str, forward: str, forwards: Sequence[str]) -> Failure:
    """`forwards` are the forwards of the profile."""
    return Failure(
        Code.PROFILE_NOT_FOUND,
        f"profile {profile} has no forward {forward}",
        f"it has {', '.join(forwards)}" if forwards else "",
    )


# --- questions of logins -------------------------------------------------------------------


def question_closed() -> Failure:
    """It was answered, or its login has ended."""
    return Failure(Code.NEEDS_INPUT, "this question is no longer open")


def answer_too_long(limit: int) -> Failure:
    """It is longer than `limit` characters."""
    return Failure(Code.USAGE, f"an answer has at most {limit} characters")


def answer_missing(refused: Failure, prompt: str, *, let_us_in: bool) -> Failure:
    """The login was `refused`, and nobody answered `prompt`; `let_us_in`: an answer was accepted
    before."""
    answer = "the answer that was accepted before" if let_us_in else "an answer"
    return Failure(
        Code.NEEDS_INPUT,
        f"{refused.detail}; it needs {answer}: {prompt}",
        Hint("", f"tunnelctl answer {PLACE}"),
        subject=refused.subject,
        hop=refused.hop,
    )


def remembered_is_wrong(failure: Failure, method: str) -> Failure:
    """An answer is needed again: the server refused the one that was remembered, a password or
    another `method`."""
    return failure.but(detail=f"{failure.detail}; the {method} that was remembered is wrong now")


# --- links ---------------------------------------------------------------------------------


def leaves_at_channels(lost: Failure, server: str, retry_after: float) -> Failure:
    """A link was `lost` again when a channel was opened; `server` is the software there. It is
    tried again after `retry_after` seconds."""
    return Failure(
        Code.FORWARD_DENIED,
        f"{lost.detail}; this happens with every forwarded connection",
        f"{excerpt(server)} there does not forward, as a server for files only: use another server",
        subject=lost.subject,
        hop=lost.hop,
        retry_after=retry_after,
        spaced=True,
    )


def ends_unused_links(title: str, unused: float, *, needed: bool) -> Failure:
    """A server closes links without channels after `unused` seconds; `needed`: a forward listens
    there and needs the link."""
    return Failure(
        Code.SESSION_LOST,
        f"{title} ends a link that has no open connection for {unused:.0f} s",
        "as sshd's UnusedConnectionTimeout does: a listener on the server needs the link, so it is "
        "opened again each time; session_type: default keeps a session open, if a shell is allowed"
        if needed
        else "as sshd's UnusedConnectionTimeout does; the next client opens another",
    )


def no_extra_link(why: Failure) -> Failure:
    """An additional link to a host could not be made; the host is up."""
    return why.but(detail=f"cannot make another link: {why.detail}")


def extra_link_lost(why: Failure) -> Failure:
    """An additional link to a host was lost; the host is up."""
    return why.but(detail=f"lost one of several links: {why.detail}")


# --- forwards ------------------------------------------------------------------------------


def no_link_for_forward(forward: str) -> Failure:
    """Its target cannot be probed now."""
    return Failure(Code.NOT_UP, f"forward {forward} has no link now")


def forward_unhealthy(forward: Forward, why: Failure) -> Failure:
    """Its probe failed with `why` until a reconnect was due."""
    return Failure(
        why.code,
        f"forward {forward.name} is unhealthy: {why.message}",
        why.hint,
        retryable=True,
    )


def clients_turned_away(forward: Forward, said: str, *, is_barred: bool) -> Failure:
    """The target is a MySQL server that sent an error as its greeting; `is_barred`: it blocks the
    host that the connections come from, because of too many connection errors."""
    return Failure(
        Code.TARGET_REFUSED,
        f"{forward.target} refuses clients: {excerpt(said)}",
        "mysqladmin flush-hosts on the server unblocks that host"
        if is_barred
        else "unblock that host on the server",
    )


# --- the session of a fleet's last holder --------------------------------------------------


def _no_eviction(host: str, detail: str) -> Failure:
    return Failure(
        Code.PERMISSION_DENIED,
        f"evict has no effect: {detail}",
        f"give the account on {host} a shell and no forced command, or leave evict out of the "
        "fleet's file; without it, the port of a dead machine is free once the server misses it",
        subject=host,
    )


def eviction_without_session(host: str) -> Failure:
    """The server grants no session channel."""
    return _no_eviction(host, "the server grants no session")


def eviction_without_shell(host: str, said: str) -> Failure:
    """Something else than the script ran, and printed this."""
    printed = f'it printed "{excerpt(said.strip())}"' if said.strip() else "it printed nothing"
    return _no_eviction(host, f"the account has no shell or a forced command, {printed}")


def eviction_without_sshd(host: str) -> Failure:
    """The shell is not a child of sshd, or sshd runs as another user."""
    return _no_eviction(host, "the process of the session on the server was not found")


def eviction_silent(host: str, seconds: float) -> Failure:
    """The script did not end."""
    return _no_eviction(host, f"the account's shell did not end within {seconds:g} s")


# --- connections ----------------------------------------------------------------------------


def no_such_connection(number: str) -> Failure:
    """None of that id is open."""
    return Failure(
        Code.CONNECTION_NOT_FOUND,
        f"there is no open connection {excerpt(number)}",
        Hint("", "tunnelctl connections"),
    )


# --- defects of ours -----------------------------------------------------------------------


def unexpected_error(error: Exception, doing: str) -> Failure:
    """An unexpected exception: a bug."""
    return Failure(
        Code.INTERNAL,
        f"unexpected error while {doing}: {type(error).__name__}: {error}",
        "tunnelctl logs shows the details; please report this",
        retryable=True,
    )
