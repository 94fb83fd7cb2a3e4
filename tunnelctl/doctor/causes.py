"""Well-known causes: what a failure comes from more often than not, and the next command to type.

Owns what is said beyond the failure's own hint. Looks at this machine alone, or asks through the
link; must never take a guess for a finding.
"""

from __future__ import annotations

import shlex

from tunnelctl.doctor import firewall
from tunnelctl.errors import Code, Failure
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.spec.forward import Forward
from tunnelctl.spec.host import Host
from tunnelctl.ssh import known_hosts
from tunnelctl.ssh.auth import user_of
from tunnelctl.ssh.hostkeys import fingerprint
from tunnelctl.ssh.trace import Milestone

_SAY_NOTHING = (Code.TIMED_OUT, Code.UNREACHABLE)
# What OpenSSH's server says of a name that it cannot look up (gai_strerror(3)).
_NO_NAME = ("not known", "name resolution", "no address")


def more(failure: Failure, *hints: str) -> Failure:
    """The same failure, and what else could be done."""
    return failure.but(hint="; ".join(filter(None, (failure.hint, *hints))))


async def of_host(host: Host, milestone: Milestone, failure: Failure) -> Failure:
    """Why a connection to `host` did not come to `milestone`."""
    if milestone is Milestone.CONNECTION and failure.code in _SAY_NOTHING:
        return more(failure, *await _of_silence(host, failure))
    if milestone is Milestone.HOST_KEY and failure.code is Code.HOST_KEY_UNKNOWN:
        return more(failure, *_of_unknown_key(host, failure))
    if failure.code is Code.AUTH_FAILED and host.user is None:
        user = user_of(host)
        return more(failure, f"the profile names no user, so {user} was tried: add user: NAME")
    return failure


def of_denied_target(failure: Failure, host: Host) -> Failure:
    """The server does not connect to a target."""
    words = "allowtcpforwarding|allowstreamlocalforwarding|permitopen|disableforwarding"
    return more(failure, *_sshd_says(host, words))


def of_denied_listener(failure: Failure, host: Host) -> Failure:
    """The server does not listen for us."""
    words = "allowtcpforwarding|permitlisten|gatewayports|disableforwarding"
    return more(failure, *_sshd_says(host, words))


def of_target_there(rule: Forward, failure: Failure, answers_at: Endpoint | None) -> Failure:
    """A target that the server cannot connect to; `answers_at` is where it would be answered."""
    target = rule.target
    assert target is not None
    if answers_at is not None:
        hint = f"the service listens on {answers_at} alone: write to: {str(answers_at)!r}"
        return failure.but(hint=hint)
    if target.is_unix:
        return failure
    text = failure.message.lower()
    if any(words in text for words in _NO_NAME):
        return more(
            failure, f"{rule.via} looks the name up: getent hosts {shlex.quote(target.host)} there"
        )
    if failure.code is Code.TARGET_REFUSED:
        return more(failure, f"on {target.host}: ss -ltn 'sport = :{target.port}'")
    return more(
        failure,
        "no answer at all, not even a refusal: a firewall drops it, or that machine is off: "
        f"nc -vz {shlex.quote(target.host)} {target.port} on {rule.via}",
    )


def _sshd_says(host: Host, words: str) -> tuple[str, str]:
    """What shows why, to whoever may look at it there."""
    return (
        f"see what its sshd_config comes to: sudo sshd -T -C user={user_of(host)} "
        f"| grep -iE '{words}'",
        "see whether its authorized_keys has restrict, permitopen or no-port-forwarding",
    )


async def _of_silence(host: Host, failure: Failure) -> list[str]:
    hints = []
    if failure.code is Code.TIMED_OUT:
        hints.append(
            "no answer at all, not even a refusal: a firewall on the way drops it, "
            "or the machine is off"
        )
    if rule := await firewall.dropping(host.port):
        hints.append(f"this machine's own firewall has: {rule}")
    return hints


def _of_unknown_key(host: Host, failure: Failure) -> list[str]:
    """The same key may be known under another name (OpenSSH check_host_key says so too)."""
    for key in known_hosts.read(host):
        if not key.marker and fingerprint(key.blob) in failure.message:
            name = "a hashed name" if key.patterns.startswith("|") else key.patterns
            return [
                f"this very key is known for {name} ({key.file}:{key.line}): if that is the same "
                "server, host_key_alias can name it"
            ]
    return []
