"""The failures of profiles that run, in words.

Owns the sentences: one function for each failure, named for what happened. Decides nothing: who
calls knows which one it is. Must never let text of a peer reach a terminal unescaped.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunnelctl.errors import PLACE, Code, Failure, Hint
from tunnelctl.spec.forward import Forward
from tunnelctl.ssh.sentences import excerpt

# --- profiles ------------------------------------------------------------------------------


def shutting_down(profile: str) -> Failure:
    """The daemon ends, and starts nothing any more."""
    return Failure(
        Code.DAEMON_NOT_RUNNING,
        f"profile {profile} was not started: tunnelctl is shutting down",
        f"tunnelctl up {profile}",
    )


def profile_down(profile: str) -> Failure:
    """It is listed, as stopped."""
    return Failure(Code.NOT_UP, f"profile {profile} is down", f"tunnelctl up {profile}")


def profile_not_listed(profile: str) -> Failure:
    """It was never started."""
    return Failure(Code.PROFILE_NOT_FOUND, f"no profile {profile} is up", f"tunnelctl up {profile}")


def no_tunnel_to_host(profile: str, host: str, hosts: Sequence[str]) -> Failure:
    """`hosts` are those that the profile has tunnels to."""
    return Failure(
        Code.PROFILE_NOT_FOUND,
        f"profile {profile} has no tunnel to a host {host}",
        f"it has {', '.join(hosts)}",
    )


# --- questions of logins -------------------------------------------------------------------


def question_closed() -> Failure:
    """It was answered, or its login does not wait for it any more."""
    return Failure(Code.NEEDS_INPUT, "this question is not open any more")


def answer_too_long(limit: int) -> Failure:
    """It has more than `limit` characters."""
    return Failure(Code.USAGE, f"an answer has at most {limit} characters")


def answer_missing(refused: Failure, prompt: str, *, let_us_in: bool) -> Failure:
    """The login was `refused`, and nobody answered `prompt`; `let_us_in`: an answer did before."""
    answer = "the answer that let us in before" if let_us_in else "an answer"
    return Failure(
        Code.NEEDS_INPUT,
        f"{refused.detail}; it needs {answer}: {prompt}",
        Hint("", f"tunnelctl answer {PLACE}"),
        subject=refused.subject,
        hop=refused.hop,
    )


# --- links ---------------------------------------------------------------------------------


def leaves_at_channels(lost: Failure, server: str, retry_after: float) -> Failure:
    """A link was `lost` again as soon as a channel was asked for; `server` is the software
    there, which is asked again in `retry_after` seconds."""
    return Failure(
        Code.FORWARD_DENIED,
        f"{lost.detail}; it does so whenever a connection is to be forwarded",
        f"{excerpt(server)} there forwards nothing, as servers for files do: "
        "another server is needed",
        subject=lost.subject,
        hop=lost.hop,
        retry_after=retry_after,
        spaced=True,
    )


def ends_unused_links(title: str, unused: float, *, needed: bool) -> Failure:
    """A server closes each link that has had no channel for `unused` seconds; `needed`: a forward
    listens there, and needs the link."""
    return Failure(
        Code.SESSION_LOST,
        f"{title} ends a link that has no open connection for {unused:.0f} s",
        "as sshd's UnusedConnectionTimeout does: a listener there needs the link, so it is made "
        "anew each time; session_type: default keeps a session open, where a shell is allowed"
        if needed
        else "as sshd's UnusedConnectionTimeout does; it is connected to when a client comes",
    )


def no_extra_link(why: Failure) -> Failure:
    """One of several links to a host could not be made, and the host is up."""
    return why.but(detail=f"cannot make another link: {why.detail}")


def extra_link_lost(why: Failure) -> Failure:
    """One of several links to a host was lost, and the host is up."""
    return why.but(detail=f"lost one of several links: {why.detail}")


# --- forwards ------------------------------------------------------------------------------


def no_link_for_forward(forward: str) -> Failure:
    """Its target cannot be asked now."""
    return Failure(Code.NOT_UP, f"forward {forward} has no link now")


def forward_unhealthy(forward: Forward, why: Failure) -> Failure:
    """Its probe failed with `why` for so long that the link is made anew."""
    return Failure(
        why.code,
        f"forward {forward.name} is unhealthy: {why.message}",
        why.hint,
        retryable=True,
    )


def clients_turned_away(forward: Forward, said: str, *, is_barred: bool) -> Failure:
    """The target is a MySQL that greets with an error, in its words; `is_barred`: the host that
    the connections come from made too many mistakes."""
    return Failure(
        Code.TARGET_REFUSED,
        f"{forward.target} turns clients away: {excerpt(said)}",
        "mysqladmin flush-hosts on the server lets that host in again"
        if is_barred
        else "let that host in on the server",
    )


# --- defects of ours -----------------------------------------------------------------------


def unexpected_error(error: Exception, doing: str) -> Failure:
    """An error that no table knows: a defect of ours."""
    return Failure(
        Code.INTERNAL,
        f"unexpected error while {doing}: {type(error).__name__}: {error}",
        "tunnelctl logs shows the details; please report this",
        retryable=True,
    )
