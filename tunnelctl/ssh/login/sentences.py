"""The sentences about failed logins: what was tried, what the server requires, what to do.

Owns the sentences: one function for each failure, named for what happened. `subject` is the user
and the host: `bastion (bob@10.0.0.7:22)`. Must never quote a secret.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from tunnelctl.errors import PLACE, Code, Fact, Failure, Hint, edit
from tunnelctl.spec.host import Host
from tunnelctl.ssh.sentences import excerpt, label

# The name of an embedded server's key, whose file is temporary.
THROW_AWAY_KEY = "a throw-away key"
_MEND_AGENT = "start the agent, unlock it (ssh-add -X) or add the key to it (ssh-add)"


def _and_tried(tried: Sequence[str]) -> str:
    return f"; tried {', '.join(tried)}" if tried else ""


def no_user(host: Host, uid: int) -> Failure:
    """The profile names no user, and the user of this process has no name."""
    return Failure(
        Code.CONFIG_INVALID,
        f"no user to log in as: uid {uid} has no name on this machine",
        edit(f"add user: NAME to hosts.{host.name}"),
        subject=label(host),
    )


def key_unusable(host: Host, failure: Failure) -> Failure:
    """A key cannot be used, as `failure` says; the host is added."""
    return Failure(failure.code, failure.detail, *failure.hints, subject=label(host))


def went_without(failure: Failure) -> Failure:
    """A key could not be used, as `failure` says, but the login succeeded."""
    return failure.but(detail=f"{failure.detail}; logged in without it")


def answer_needed(subject: str, prompt: str, tried: Sequence[str]) -> Failure:
    """The server, or a key, asks a question that needs a person, and none is available."""
    return Failure(
        Code.NEEDS_INPUT,
        "the login needs an answer and no terminal is attached to ask: "
        f"{prompt}{_and_tried(tried)}",
        Hint("", f"tunnelctl answer {PLACE}"),
        subject=subject,
    )


def too_many_keys(subject: str, count: int, tried: Sequence[str]) -> Failure:
    """Sshd's MaxAuthTries."""
    return Failure(
        Code.AUTH_FAILED,
        f"the server ended the login: too many keys ({count}){_and_tried(tried)}",
        "set identity_file to the right key; the agent's other keys are then not offered "
        "(identities_only)",
        subject=subject,
    )


def login_ended(subject: str, said: str, tried: str) -> Failure:
    """The server disconnected with a code that refuses this user permanently (RFC 4253 11.1)."""
    return Failure(
        Code.AUTH_FAILED,
        f'the server ended the login: it said "{excerpt(said)}"{tried}',
        subject=subject,
    )


def login_refused(
    subject: str,
    accepted: Sequence[str],
    methods: Sequence[str],
    tried: str,
    hints: Sequence[Hint],
) -> Failure:
    """Nothing is left to try. `methods` are those that the server would still accept, `accepted` is
    what it accepted already."""
    others = ", ".join(map(excerpt, methods))
    how = f"it also accepts {others}" if others else "it accepts no other method"
    if accepted:
        how = f"it accepted {', '.join(accepted)} and requires {others or 'more'} too"
    detail = f"the server refused the login; {how}{tried}"
    return Failure(Code.AUTH_FAILED, detail, *hints, subject=subject)


def tried_in_vain(tried: Sequence[str], notes: Sequence[str], *, lacks_keys: bool) -> str:
    """The attempts, and the reasons for those that were left out."""
    what = "; there was no key to try" if lacks_keys else _and_tried(tried)
    return what + "".join(f"; {note}" for note in notes)


def accepted_before(failure: Failure, code: Code) -> Failure:
    """The server refuses what it accepted before."""
    return failure.but(
        code=code,
        detail=f"{failure.detail}; the last login succeeded, so tunnelctl tries again",
        retryable=True,
        spaced=True,
    )


def agent_unavailable(
    subject: str, why: str, tried: Sequence[str], hints: Sequence[Hint], facts: Sequence[Fact]
) -> Failure:
    """The agent is unavailable, locked, or no longer has the key. `hints` are other solutions."""
    return Failure(
        Code.AGENT_UNAVAILABLE,
        f"{why}{_and_tried(tried)}",
        Hint(f"{_MEND_AGENT}, and tunnelctl tries again; to list its keys", "ssh-add -l"),
        *hints,
        subject=subject,
        facts=facts,
        spaced=True,
    )


def answer_instead() -> Hint:
    """The agent failed, and a person could answer the server or open a key instead."""
    return Hint("or answer the question that is asked without it", f"tunnelctl answer {PLACE}")


def agent_not_needed(subject: str, why: str) -> Failure:
    """The agent failed, and the login succeeded with a person's answer."""
    return Failure(
        Code.AGENT_UNAVAILABLE,
        f"{why}; logged in without it",
        Hint(f"{_MEND_AGENT}; to list its keys", "ssh-add -l"),
        subject=subject,
    )


def beside_agent(failure: Failure, why: str) -> Failure:
    """A question needs a person, and the agent, which could have avoided it, failed."""
    return failure.but(detail=f"{failure.detail}; {why}")


# --- what to do about a login that was refused ---------------------------------------------


def allow_method(host: Host, method: str) -> Hint:
    """The profile leaves out a method that the server would accept."""
    return edit(f"add preferred_authentications: {method} to hosts.{host.name}")


def change_password(ssh: str) -> Hint:
    """It has expired."""
    return Hint("the password has expired; log in once and change it", ssh)


def correct_password(host: Host) -> Hint:
    """The server refuses the password that the profile refers to."""
    return edit(f"correct the password of hosts.{host.name}: {host.password}")


def load_pkcs11(provider: str) -> Hint:
    """PKCS11Provider of ssh_config works only through an agent here."""
    return Hint(
        "the keys of PKCS11Provider in ssh_config come from an agent",
        f"ssh-add -s {shlex.quote(provider)}",
    )


def copy_key(command: str) -> Hint:
    """The server does not know the key."""
    return Hint("install the key on the server", command)


def certificate_refused(user: str, certificate: str, shows: str) -> Hint:
    """The server does not accept a certificate, and does not say why. `shows` prints its
    content."""
    return Hint(
        f"the server does not accept the certificate {certificate}: its authority must be in "
        f"TrustedUserCAKeys there, {user} among its principals, and it must be valid now; "
        "to see these",
        shows,
    )


def choose_key() -> Hint:
    """No file was offered."""
    return Hint("set identity_file, or create a key", "ssh-keygen -t ed25519")


def add_password(host: Host) -> Hint:
    """The server accepts a password, and the profile has none."""
    return edit(f"add password: {{env: NAME}} to hosts.{host.name}")


def compare_with_ssh(command: str) -> Hint:
    """No better hint is known."""
    return Hint("compare", command)
