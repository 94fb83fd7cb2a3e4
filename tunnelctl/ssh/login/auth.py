"""The login: keys, then answers of a person or the profile, then the password.

Owns the order of methods (ssh_config(5), PreferredAuthentications) and the decision to give up the
login. Must never show a secret, and never take a lost connection for a refusal: only an answer of
the server is one.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path

from paramiko.ssh_exception import SSHException

from tunnelctl.errors import Code, Failure
from tunnelctl.spec.environment import Environment
from tunnelctl.spec.host import Host
from tunnelctl.spec.secret import ResolveSecret
from tunnelctl.ssh.failures import During, peer_failure
from tunnelctl.ssh.keys.agent import AgentError
from tunnelctl.ssh.keys.certificates import fingerprint
from tunnelctl.ssh.keys.credentials import NOTHING, Credential, Logins, Tried
from tunnelctl.ssh.keys.key_files import Identity
from tunnelctl.ssh.login import sentences
from tunnelctl.ssh.login.client_transport import ClientTransport
from tunnelctl.ssh.login.identities import NO_KEY, Identities
from tunnelctl.ssh.login.report import LoginReport, shown_prompt
from tunnelctl.ssh.login.userauth import Answer, Disconnected, InfoRequest, UserAuth
from tunnelctl.ssh.milestones import Warn, logged
from tunnelctl.ssh.questions import Ask, Question, QuestionKind, paused
from tunnelctl.wire.messages import ProtocolError

# ssh_config(5) NumberOfPasswordPrompts: how often a person may try.
_TRIES = 3


def authenticate(
    transport: ClientTransport,
    host: Host,
    environment: Environment,
    resolve_secret: ResolveSecret,
    ask: Ask | None = None,
    logins: Logins | None = None,
    warn: Warn = logged,
) -> str:
    """Log in; blocking, at most until the transport's deadline. Returns the user and the methods.

    The key exchange is done and the host key verified. Secrets are resolved only when the server
    asks for what they open, and are not kept. `ask` (which suspends the deadline itself) asks a
    person; without it no questions are asked. `logins` has the credentials of earlier logins, and
    records those of this one. `warn` gets a key that could not be used although the login
    succeeded, and an agent that failed so that a person had to answer.

    Raises:
        Failure: auth-failed (with the keys that were tried), key-unreadable, agent-unavailable,
            needs-input if no person was available to answer, timed-out, handshake-failed if the
            connection ended, and what `resolve_secret` raises. A failure that may pass, because
            the login worked before or only the agent failed, is `retryable` and `spaced`.
    """
    logins = Logins() if logins is None else logins
    tried = Tried(logins.taken(host))
    attempt = _Attempt(transport, host, environment, resolve_secret, ask, tried)
    try:
        with ExitStack() as stack:
            try:
                attempt.run(stack)
            except Disconnected:
                raise attempt.report.cut_off(transport) from None
            except (TimeoutError, SSHException, ProtocolError) as error:
                raise peer_failure(host, error, During.AUTHENTICATION) from None
        logins.took(host, tried.accepted)
        if attempt.unusable is not None:
            warn(host, sentences.went_without(attempt.unusable))
        if missed := attempt.report.missed(tried.agent_error):
            warn(host, missed)
        return attempt.report.let_in
    except Failure as raised:
        failure = attempt.report.judged(raised, tried)
        # Status keeps the failure; the frames in its traceback may hold a secret.
        failure.__context__ = None
        raise failure.with_traceback(None) from None


def user_of(host: Host) -> str:
    """The name to log in with: the profile's, else that of the user who runs this process.

    Raises:
        Failure: config-invalid if this user has no name.
    """
    if host.user is not None:
        return host.user
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise sentences.no_user(host, os.geteuid()) from None


class _Attempt:
    """One login: each method as long as it has something to try."""

    def __init__(
        self,
        transport: ClientTransport,
        host: Host,
        environment: Environment,
        resolve_secret: ResolveSecret,
        ask: Ask | None,
        tried: Tried,
    ) -> None:
        self._identities: Identities
        self._host = host
        self._transport = transport
        self._resolve_secret = resolve_secret
        self._ask_person = ask
        self._auth = UserAuth(transport, user_of(host))
        self.report = LoginReport(host, user_of(host), self._auth)
        self._tried = tried
        self._environment = environment
        self._keys: Iterator[Identity] | None = None
        self._passwords = self._password_candidates()
        self._conversations = _TRIES
        # In the current method:
        self._asked = False  # a person
        self._told: Credential | None = None  # the profile's password

    def run(self, stack: ExitStack) -> None:
        """Raises Failure unless the server accepts the login. `stack` closes the resources."""
        try:
            self._identities = Identities(
                _with_keys_to_try(self._host),
                self._environment,
                self._passphrases,
                stack,
                self._transport.session,
                self._tried,
            )
        except Failure as failure:
            raise sentences.key_unusable(self._host, failure) from None
        attempts = {
            "publickey": self._try_next_key,
            "keyboard-interactive": self._try_conversation,
            "password": self._try_next_password,
        }
        answer: Answer | None = self._auth.begin()
        self._note(NOTHING, answer)
        while answer is not Answer.ACCEPTED:
            if answer is Answer.FURTHER:
                self.report.accept()
                self._conversations = _TRIES
            for name in self._host.preferred_authentications:
                if name in self._auth.methods and (answer := attempts[name]()) is not None:
                    break
            else:
                raise self.report.refused(self._identities.notes, self._identities.unusable)

    @property
    def unusable(self) -> Failure | None:
        """Why a key could not be tried."""
        return self._identities.unusable

    # Keys

    def _try_next_key(self) -> Answer | None:
        """Try the next key that the server answers; None if none is left."""
        if self._keys is None:
            self._keys = iter(self._identities)
        for key in self._keys:
            if (answer := self._try_key(key)) is not None:
                return answer
        return None

    def _try_key(self, key: Identity) -> Answer | None:
        algorithm = self._auth.algorithm_for(key)
        if algorithm is None:
            note = f"{key.name}: the server takes no SHA-2 signature of an RSA key"
            self._identities.notes.append(note)
            return None
        name = sentences.THROW_AWAY_KEY if self._host.embedded else key.name
        self.report.key(key, f"{name} ({key.key_type} {fingerprint(key.blob)})")
        if not self._auth.would_accept(key, algorithm):
            self._refused_key(key)
            return Answer.REFUSED
        try:
            return self._send_key(key, algorithm)
        except AgentError as error:
            self._tried.is_unsigned, self._tried.agent_error = True, str(error)
            self._identities.notes.append(f"{key.name}: {error}")
        except Failure as failure:
            if failure.code is not Code.KEY_UNREADABLE:
                raise
            self._identities.pass_over(failure)
        self.report.not_signed()
        return None

    def _send_key(self, key: Identity, algorithm: str) -> Answer:
        # A person may have to touch or confirm it, which takes time.
        with paused(self._transport) if key.by_agent else nullcontext():
            answer = self._auth.send_key(key, algorithm)
        if answer is Answer.REFUSED:
            self._refused_key(key)
        else:
            self._note(Credential.of_key(key), answer)
        return answer

    def _refused_key(self, key: Identity) -> None:
        self.report.refused_key(key)
        self._note(Credential.of_key(key), Answer.REFUSED)

    def _note(self, credential: Credential, answer: Answer | None) -> None:
        """Record the server's answer to a credential; None: there was no answer."""
        if answer is Answer.REFUSED:
            self._tried.refused.append(credential)
        elif answer is not None:
            self._tried.accepted.append(credential)

    def _passphrases(self, path: Path) -> Iterator[str]:
        """The profile's passphrase; else a person's answers, which may be wrong a few times."""
        if self._host.passphrase is not None:
            yield self._resolve_secret(self._host.passphrase)
            return
        for _ in range(_TRIES):
            prompt = f"Enter passphrase for key '{path}': "
            if not (answer := self._ask(QuestionKind.PASSPHRASE, prompt)):
                return
            yield answer

    # A password

    def _try_next_password(self) -> Answer | None:
        password = next(self._passwords, None)
        if password is None or self._auth.password_expired:
            return None
        self.report.tried("the password")
        answer = self._auth.send_password(password)
        if answer is Answer.REFUSED:
            self.report.refused_password()
        if self._told is not None:
            self._note(self._told, answer)
        return answer

    def _password_candidates(self) -> Iterator[str]:
        if self._host.password is not None:
            yield self._tell_password()
        self._told = None
        for _ in range(_TRIES):
            prompt = f"{self.report.who}'s password: "
            if not (answer := self._ask(QuestionKind.PASSWORD, prompt)):
                return
            yield answer

    # Questions of the server

    def _try_conversation(self) -> Answer | None:
        """keyboard-interactive: repeated only after a person was asked, whose answer may have been
        wrong."""
        if not self._conversations or (self._host.password is None and self._ask_person is None):
            return None
        self._asked, self._told = False, None
        self.report.tried("keyboard-interactive")
        answer = self._auth.converse(self._reply)
        if self._told is not None and not (self._asked and answer is Answer.REFUSED):
            self._note(self._told, answer)
            if answer is Answer.REFUSED:
                self.report.refused_password()
        self._conversations = self._conversations - 1 if answer and self._asked else 0
        return answer

    def _reply(self, request: InfoRequest) -> Sequence[str] | None:
        """An answer to each prompt; None if no answer to one of them is available."""
        kind = QuestionKind.CODE
        if _asks_password(request):
            kind = QuestionKind.PASSWORD
            if self._host.password is not None and self._told is None:
                return [self._tell_password()]
        answers = []
        for number, prompt in enumerate(request.prompts):
            self._asked = True
            answer = self._ask(kind, shown_prompt(request, number), echo=prompt.echo)
            if answer is None:
                return None
            answers.append(answer)
        return answers

    def _tell_password(self) -> str:
        """Resolve the profile's password, which is sent next."""
        assert self._host.password is not None
        password = self._resolve_secret(self._host.password)
        self._told = Credential.of_password(password)
        return password

    def _ask(self, kind: QuestionKind, prompt: str, *, echo: bool = False) -> str | None:
        if self._ask_person is None:
            return None
        question = Question(kind, self._host.name, prompt, echo)
        answer = self._ask_person(question)
        self.report.asked(question, answer)
        return answer


def _with_keys_to_try(host: Host) -> Host:
    """The host as its keys are looked up: without any if publickey is not among its methods."""
    if "publickey" in host.preferred_authentications:
        return host
    return replace(host, identity_file=(NO_KEY,), certificate_file=(), identity_agent="none")


def _asks_password(request: InfoRequest) -> bool:
    """Whether a request is for the password only: one hidden prompt that says so."""
    return (
        len(request.prompts) == 1
        and not request.prompts[0].echo
        and "password" in request.prompts[0].text.lower()
    )
