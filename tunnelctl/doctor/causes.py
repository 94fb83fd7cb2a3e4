"""Well-known causes: the usual reason for a failure, and the next command to run.

Owns the hints beyond those of the failure itself. Examines only this machine, or asks through the
link; must never report a guess as a finding.
"""

from __future__ import annotations

from tunnelctl.doctor import firewall, forward_sentences, sentences
from tunnelctl.errors import Code, Fact, Failure
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.spec.environment import Environment
from tunnelctl.spec.forward import Forward
from tunnelctl.spec.host import Host
from tunnelctl.ssh.keys.certificates import fingerprint
from tunnelctl.ssh.login.auth import user_of
from tunnelctl.ssh.milestones import Milestone
from tunnelctl.ssh.server_key import known_hosts
from tunnelctl.ssh.software import Software

_NO_CONNECTION = (Code.TIMED_OUT, Code.UNREACHABLE, Code.CONNECTION_REFUSED)


async def of_host(
    host: Host, milestone: Milestone, failure: Failure, environment: Environment
) -> Failure:
    """Add the reasons why a connection to `host` did not reach `milestone`."""
    if milestone is Milestone.CONNECTION and failure.code in _NO_CONNECTION:
        return failure.and_hints(*await _of_no_connection(host, failure))
    if milestone is Milestone.HOST_KEY and failure.code is Code.HOST_KEY_UNKNOWN:
        hints = _of_unknown_key(host, failure, environment)
        if Fact.OUT_OF_DATE in failure.facts:
            return failure.and_hints(*hints, sentences.compare_clocks(host.name))
        return failure.and_hints(*hints)
    if failure.code in (Code.AUTH_FAILED, Code.AGENT_UNAVAILABLE):
        return failure.and_hints(*_of_no_login(host))
    return failure


def of_no_session(host: Host, server: Software) -> str:
    """The hint for a server without sessions; forwards work without one."""
    if not server.is_openssh:
        return sentences.no_session_needed()
    return sentences.max_sessions(host.name, user_of(host))


def of_denied_target(failure: Failure, host: Host, server: Software) -> Failure:
    """The server refuses to connect to a target."""
    words = "allowtcpforwarding|allowstreamlocalforwarding|permitopen|disableforwarding"
    return failure.and_hints(*_sshd_says(host, server, words))


def of_untold_target(failure: Failure, host: Host, server: Software) -> Failure:
    """The target is a unix socket: the server does not say whether it refuses it or cannot
    connect."""
    return failure.and_hints(
        *_sshd_says(host, server, "allowstreamlocalforwarding|disableforwarding")
    )


def of_denied_listener(failure: Failure, host: Host, server: Software) -> Failure:
    """The server refuses to listen for us."""
    words = "allowtcpforwarding|permitlisten|gatewayports|disableforwarding"
    return failure.and_hints(*_sshd_says(host, server, words))


def of_target_there(rule: Forward, failure: Failure, answers_at: Endpoint | None) -> Failure:
    """The server cannot connect to a target; `answers_at` is an address where the service
    answers."""
    target = rule.target
    assert target is not None
    if answers_at is not None:
        return failure.but(hints=[forward_sentences.listens_only_on(rule, answers_at)])
    if target.is_unix:
        return failure
    where = rule.via if target.is_loopback else target.host
    if Fact.NO_NAME in failure.facts:
        return failure.and_hints(forward_sentences.look_up_there(rule.via, target.host))
    if failure.code is Code.TARGET_REFUSED:
        container = forward_sentences.loopback_of_container() if target.is_loopback else ""
        return failure.and_hints(forward_sentences.who_listens(where, target), container)
    return failure.and_hints(
        forward_sentences.dropped_there(), forward_sentences.connect_from(rule.via, target)
    )


def _sshd_says(host: Host, server: Software, words: str) -> tuple[str, ...]:
    """The commands that show the reason on the server; none unless it is OpenSSH."""
    if not server.is_openssh:
        return ()
    return (
        sentences.check_sshd_config(host.name, user_of(host), words),
        sentences.check_restrictions(host.name),
    )


async def _of_no_connection(host: Host, failure: Failure) -> list[str]:
    hints = []
    refused = failure.code is Code.CONNECTION_REFUSED
    if failure.code is Code.TIMED_OUT:
        hints.append(sentences.no_answer_at_all())
    if not host.is_direct:
        return hints  # another machine's firewall
    if rule := await firewall.against(Endpoint(host.hostname, host.port), refused=refused):
        hints.append(sentences.own_firewall(rule))
    return hints


def _of_no_login(host: Host) -> tuple[str, str]:
    if host.user is None:
        named = sentences.no_user_named(user_of(host))
    else:
        named = sentences.user_may_be_wrong(host.name, host.user)
    return named, sentences.log_has_reason(host.name)


def _of_unknown_key(host: Host, failure: Failure, environment: Environment) -> list[str]:
    """The same key may be known under another name (as OpenSSH's check_host_key reports)."""
    for key in known_hosts.read(host, environment):
        if not key.marker and fingerprint(key.blob) in failure.facts:
            name = "" if key.patterns.startswith("|") else key.patterns
            return [sentences.known_as(name, str(key.place))]
    return []
