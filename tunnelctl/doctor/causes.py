"""Well-known causes: the usual reason for a failure, and the next command to run.

Owns the hints beyond those of the failure itself. Examines only this machine, or asks through the
link; must never report a guess as a finding.
"""

from __future__ import annotations

import shlex

from tunnelctl.doctor import firewall
from tunnelctl.errors import Code, Fact, Failure, Hint
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
        clock = of_clock(host) if Fact.OUT_OF_DATE in failure.facts else ""
        return failure.and_hints(*hints, clock)
    if failure.code in (Code.AUTH_FAILED, Code.AGENT_UNAVAILABLE):
        return failure.and_hints(*_of_no_login(host))
    return failure


def of_no_session(host: Host, server: Software) -> str:
    """The hint for a server without sessions; forwards work without one."""
    what = "forwards need no session: session_type: none"
    if not server.is_openssh:
        return what
    return f"MaxSessions there may be 0; {what}; {_sshd_config(host, 'maxsessions')}"


def of_clock(host: Host) -> Hint:
    """The hint for a certificate that is not valid now."""
    return Hint(f"compare the clocks of this machine and of {host.name}; on both", "date -u")


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
        alone = f"the service listens only on {answers_at}"
        return failure.but(hints=[f"{alone}: {in_profile(rule, answers_at)}"])
    if target.is_unix:
        return failure
    where = rule.via if target.is_loopback else target.host
    if Fact.NO_NAME in failure.facts:
        name = shlex.quote(target.host)
        return failure.and_hints(
            f"{rule.via} looks the name up; on {rule.via}: getent hosts {name}"
        )
    if failure.code is Code.TARGET_REFUSED:
        container = "a container there has its own loopback" if target.is_loopback else ""
        return failure.and_hints(who_listens(where, target), container)
    return failure.and_hints(
        "no answer at all, not even a refusal: a firewall drops it, or that machine is off",
        f"on {rule.via}: nc -vz -w 5 {shlex.quote(target.host)} {target.port}",
    )


def who_listens(machine: str, endpoint: Endpoint) -> str:
    """The command that shows which program has a port on that machine."""
    return f"on {machine}: ss -ltnp 'sport = :{endpoint.port}'"


def in_profile(rule: Forward, target: Endpoint) -> str:
    """The edit of the profile for another target."""
    return f'in the profile {rule.name} should have to: "{target}"'


def _sshd_says(host: Host, server: Software, words: str) -> tuple[str, ...]:
    """The commands that show the reason on the server; none unless it is OpenSSH."""
    if not server.is_openssh:
        return ()
    return (
        _sshd_config(host, words),
        f"check the restrictions of the key; on {host.name}: "
        "grep -nE 'restrict|permit|no-port-forwarding' ~/.ssh/authorized_keys",
    )


def _sshd_config(host: Host, words: str) -> str:
    # sshd requires every attribute that a Match of its configuration tests.
    login = f"user={shlex.quote(user_of(host))},host=$1,addr=$1,laddr=$3,lport=$4"
    return (
        f"check its effective sshd_config; on {host.name}: "
        f"set -- $SSH_CONNECTION && sudo sshd -T -C {login} | grep -iE '{words}'"
    )


async def _of_no_connection(host: Host, failure: Failure) -> list[str]:
    hints = []
    refused = failure.code is Code.CONNECTION_REFUSED
    if failure.code is Code.TIMED_OUT:
        hints.append(
            "no answer at all, not even a refusal: a firewall on the way drops it, "
            "or the machine is off"
        )
    if not host.is_direct:
        return hints  # another machine's firewall
    if rule := await firewall.against(Endpoint(host.hostname, host.port), refused=refused):
        hints.append(f"this machine's own firewall has: {rule}")
    return hints


def _of_no_login(host: Host) -> tuple[str, str]:
    """A server does not distinguish a wrong user from a wrong key (RFC 4252 section 5.1); its log
    does."""
    user = user_of(host)
    named = f"{user} may be the wrong user: hosts.{host.name}.user in the profile names another"
    if host.user is None:
        named = f"the profile names no user, so {user} was tried: add user: NAME"
    return (
        named,
        f"its log has the reason (AllowUsers, PermitRootLogin, modes of ~/.ssh); on {host.name}: "
        "sudo journalctl -n 20 -t sshd -t sshd-session",
    )


def _of_unknown_key(host: Host, failure: Failure, environment: Environment) -> list[str]:
    """The same key may be known under another name (as OpenSSH's check_host_key reports)."""
    for key in known_hosts.read(host, environment):
        if not key.marker and fingerprint(key.blob) in failure.facts:
            name = "a hashed name" if key.patterns.startswith("|") else key.patterns
            return [
                f"this key is known for {name} ({key.place}): if that is the same "
                "server, set host_key_alias to that name"
            ]
    return []
