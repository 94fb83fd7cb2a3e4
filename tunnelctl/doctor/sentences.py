"""The sentences of doctor about the profile, the daemon, keys and hosts: steps and hints.

Owns the sentences: one function for each, named after what was found. Decides nothing, and examines
nothing. Those about forwards are in forward_sentences.py.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from tunnelctl.errors import Hint
from tunnelctl.spec.secret import SecretRef

MAKE_KEY = "ssh-keygen -t ed25519"
START_AGENT = 'eval "$(ssh-agent)" && ssh-add'
ADD_KEY = "ssh-add"


# --- the profile and the daemon ------------------------------------------------------------


def profile_valid(source: str, hosts: int, forwards: int) -> str:
    """The file has no mistakes; how many hosts and forwards it has."""
    return f"{source} is valid: {_count(hosts, 'host')}, {_count(forwards, 'forward')}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def no_daemon() -> str:
    """Nothing listens on the control socket."""
    return "no daemon is running, so nothing is up"


def another_of_this_name(source: str) -> str:
    """The daemon runs the profile of the same name from the file `source`."""
    return f"the daemon has another profile of this name, from {source}"


def examine_the_other(source: str) -> str:
    """The hint for it."""
    return f"tunnelctl doctor -f {shlex.quote(source)} examines that one"


def not_wanted_up() -> str:
    """The daemon does not run the profile."""
    return "the daemon is running; the profile is not wanted up"


def is_up() -> str:
    """The daemon has the profile up."""
    return "the profile is up"


def stands_by(role: str) -> str:
    """This machine does not run the profile, because another one of the fleet does."""
    return f"the profile is in a fleet, and this machine is {role}"


def wanted_but(state: str) -> str:
    """The daemon does not have it up yet, or not any more."""
    return f"the profile is wanted up, and is {state}"


def wanted_but_failing(state: str, message: str) -> str:
    """The same, with the daemon's error."""
    return f"{wanted_but(state)}: {message}"


def another_environment(profile: str) -> Hint:
    """The daemon cannot know that its environment differs from this terminal's."""
    return Hint(
        "if the login works here, the profile has the environment of another session; to use "
        "this terminal's, SSH_AUTH_SOCK included",
        f"tunnelctl restart {profile}",
    )


# --- steps that were not run ---------------------------------------------------------------


def earlier_failed() -> str:
    """A step before it failed."""
    return "an earlier step failed"


def step_failed(step: str) -> str:
    """The step before it failed, by name."""
    return f"{step} failed"


# --- secrets and keys on this machine ------------------------------------------------------


def secret_available(purpose: str, ref: SecretRef) -> str:
    """A secret of the profile can be resolved; `purpose` is what it is for."""
    return f"{purpose} {ref} is available"


def only_password() -> str:
    """There is no key, and no need for one."""
    return "none; there is a password"


def _no_key(defaults: Sequence[str], why: str) -> str:
    tried = f" none of {', '.join(defaults)} exists, and" if defaults else ""
    return f"no key:{tried} {why}"


def no_key_no_agent(defaults: Sequence[str]) -> str:
    """No agent is named. `defaults`: the default keys that do not exist; empty if the profile names
    others."""
    return _no_key(defaults, "SSH_AUTH_SOCK names no ssh-agent")


def no_key_agent_silent(defaults: Sequence[str]) -> str:
    """The agent cannot be used."""
    return _no_key(defaults, "the ssh-agent does not answer")


def no_key_agent_excluded(defaults: Sequence[str]) -> str:
    """The agent has keys, and the profile excludes them."""
    return _no_key(defaults, "identities_only excludes those of the ssh-agent")


def no_key_agent_empty(defaults: Sequence[str]) -> str:
    """The agent has no keys."""
    return _no_key(defaults, "the ssh-agent has none")


def compare_clocks(host: str) -> Hint:
    """The hint for a certificate that is not valid now."""
    return Hint(f"compare the clocks of this machine and of {host}; on both", "date -u")


# --- the connection to a host --------------------------------------------------------------


def no_answer_at_all() -> str:
    """The hint for a host that does not answer, not even with a refusal."""
    return (
        "no answer at all, not even a refusal: a firewall on the way drops it, "
        "or the machine is off"
    )


def own_firewall(rule: str) -> str:
    """This machine's packet filter has a rule that may be the reason."""
    return f"this machine's own firewall has: {rule}"


def drops_by_default(chain: str, port: int) -> str:
    """A chain of the packet filter drops what no rule names."""
    return f"chain {chain}, which drops what no rule takes, and no rule names port {port}"


def no_strict_key_exchange() -> str:
    """The hint for a server without strict key exchange."""
    return "update the server: without it an attacker can drop messages (CVE-2023-48795)"


def key_not_known_yet(shown: str) -> str:
    """The server presents a new key, which `accept-new` accepts."""
    return f"{shown} is not known yet: the first connection records it (accept-new)"


def compare_key(host: str) -> str:
    """The hint for it; `host` as `trust` takes it."""
    return f"compare it with the one that the server's owner gives you: tunnelctl trust {host}"


def known_as(pattern: str, place: str) -> str:
    """The hint for a key that is known under `pattern`, at `place` in a file; empty if the name is
    hashed."""
    return (
        f"this key is known for {pattern or 'a hashed name'} ({place}): if that is the same "
        "server, set host_key_alias to that name"
    )


def user_may_be_wrong(host: str, user: str) -> str:
    """The hint for a refused login as the profile's user."""
    return f"{user} may be the wrong user: hosts.{host}.user in the profile names another"


def no_user_named(user: str) -> str:
    """The hint for a refused login as the user of this process."""
    return f"the profile names no user, so {user} was tried: add user: NAME"


def log_has_reason(host: str) -> str:
    """A server does not distinguish a wrong user from a wrong key (RFC 4252 section 5.1); its log
    does."""
    return (
        f"its log has the reason (AllowUsers, PermitRootLogin, modes of ~/.ssh); on {host}: "
        "sudo journalctl -n 20 -t sshd -t sshd-session"
    )


# --- what the server permits ---------------------------------------------------------------


def session_granted(host: str) -> str:
    """The server opened a session."""
    return f"{host} grants a session"


def session_refused(host: str, why: str) -> str:
    """The server opened none; `why` are its words."""
    return f"{host} grants no session, so its output is not shown:  {why}"


def session_silent(host: str, seconds: float) -> str:
    """The server did not answer the request."""
    return f"{host} did not answer the session request within {seconds:g} s"


def connection_ended() -> str:
    """The connection ended before the answer."""
    return "the connection ended"


def no_session_needed() -> str:
    """The hint for a server without sessions."""
    return "forwards need no session: session_type: none"


def max_sessions(host: str, user: str) -> str:
    """The same for OpenSSH."""
    check = check_sshd_config(host, user, "maxsessions")
    return f"MaxSessions there may be 0; {no_session_needed()}; {check}"


def check_sshd_config(host: str, user: str, options: str) -> str:
    """The command that shows options of sshd; `options` is a pattern of grep -E."""
    # sshd requires every attribute that a Match of its configuration tests.
    login = f"user={shlex.quote(user)},host=$1,addr=$1,laddr=$3,lport=$4"
    return (
        f"check its effective sshd_config; on {host}: "
        f"set -- $SSH_CONNECTION && sudo sshd -T -C {login} | grep -iE '{options}'"
    )


def check_restrictions(host: str) -> str:
    """The command that shows what a key may do."""
    return (
        f"check the restrictions of the key; on {host}: "
        "grep -nE 'restrict|permit|no-port-forwarding' ~/.ssh/authorized_keys"
    )
