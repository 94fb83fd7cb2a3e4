"""Checks what a login needs on this machine: the secrets of the profile, and keys.

Must never show a secret or part of one, and never open a private key.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from tunnelctl.doctor import sentences
from tunnelctl.doctor.report import Part, Step, failed, ok, warning
from tunnelctl.errors import Failure, Hint
from tunnelctl.net.threads import in_thread
from tunnelctl.spec.environment import Environment
from tunnelctl.spec.host import Host
from tunnelctl.spec.secret import ResolveSecret
from tunnelctl.ssh.keys.agent import Agent, AgentError, agent_path
from tunnelctl.ssh.keys.key_files import KeyFile
from tunnelctl.ssh.login.identities import DEFAULT_KEYS, NO_KEY, Identities


async def steps(
    host: Host, place: str, environment: Environment, resolve_secret: ResolveSecret
) -> list[Step]:
    """The steps of one host, which hints call `place`, without its hops. Each file, agent and
    secret is examined once."""
    return await in_thread(
        lambda: [*_secrets(host, place, resolve_secret), _keys(host, environment)], "read keys"
    )


def _secrets(host: Host, place: str, resolve_secret: ResolveSecret) -> Iterator[Step]:
    references = {
        "password": host.password,
        "passphrase": host.passphrase,
        "the proxy's password": host.proxy.password if host.proxy else None,
    }
    for purpose, reference in references.items():
        if reference is None:
            continue
        try:
            resolve_secret(reference)
        except Failure as failure:
            yield failed(Part.SECRETS, host.name, failure.at(place))
        else:
            yield ok(Part.SECRETS, host.name, sentences.secret_available(purpose, reference))


def _keys(host: Host, environment: Environment) -> Step:
    notes: list[str] = []
    hints: list[Hint | str] = []
    with ExitStack() as stack:
        try:
            identities = Identities(host, environment, lambda _: iter(()), stack)
            names = [f"{key.name} ({key.key_type})" for key in identities]
        except Failure as failure:
            return failed(Part.KEYS, host.name, failure)
    unusable = list(_unusable(host, environment))
    notes += [each.message for each in unusable]
    hints += [hint for each in unusable for hint in each.hints]
    notes += [note for note in identities.notes if note not in notes]
    if identities.has_out_of_date:
        hints.append(sentences.compare_clocks(host.name))
    if not names and not unusable and host.password is None:
        note, hint = _none(host, environment)
        notes.append(note)
        hints.append(hint)
    if notes:
        return warning(Part.KEYS, host.name, "; ".join((*names, *notes)), *hints)
    return ok(Part.KEYS, host.name, ", ".join(names) or sentences.only_password())


def _unusable(host: Host, environment: Environment) -> Iterator[Failure]:
    """Keys that cannot be read, or that others may use; they fail once a server asks for them."""
    for name in host.identity_file:
        if name == NO_KEY:
            continue
        try:
            file = KeyFile(Path(environment.expand_user(name)))
            if file.is_private:
                file.check_private()
        except Failure as failure:
            yield failure


def _none(host: Host, environment: Environment) -> tuple[str, str]:
    """The text and the command if there is no key at all."""
    missing = () if host.identity_file else DEFAULT_KEYS
    path = agent_path(host, environment)
    if path is None:
        return sentences.no_key_no_agent(missing), sentences.MAKE_KEY
    try:
        with Agent(path) as agent:
            has_keys = bool(agent.listed())
    except AgentError:
        return sentences.no_key_agent_silent(missing), sentences.START_AGENT
    if has_keys:
        return sentences.no_key_agent_excluded(missing), ""
    return sentences.no_key_agent_empty(missing), sentences.ADD_KEY
