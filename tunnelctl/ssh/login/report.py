"""The report of a failed login: what was tried, what the server requires, what to do.

Owns which failure it is; the words are in sentences.py. Must never quote a secret.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from tunnelctl.errors import Code, Fact, Failure, Hint
from tunnelctl.spec.endpoint import bracketed
from tunnelctl.spec.host import AUTHENTICATIONS, Host
from tunnelctl.ssh.chain import chain
from tunnelctl.ssh.failures import During, peer_failure
from tunnelctl.ssh.keys.certificates import is_certified
from tunnelctl.ssh.keys.credentials import Tried
from tunnelctl.ssh.keys.key_files import Identity
from tunnelctl.ssh.login import sentences
from tunnelctl.ssh.login.client_transport import ClientTransport
from tunnelctl.ssh.login.userauth import InfoRequest, UserAuth
from tunnelctl.ssh.questions import Question, QuestionKind
from tunnelctl.ssh.sentences import excerpt

# RFC 4253 section 11.1: disconnect codes that refuse this user permanently.
_NO_MORE_METHODS = 14
_ILLEGAL_USER_NAME = 15
# sshd sends it with the code of a protocol error (auth.c, auth_maxtries_exceeded).
_TOO_MANY = "too many authentication failures"
# Lines of a server's question that are shown: some servers send menus of several lines.
_LINES = 20


class LoginReport:
    """One login: what was tried so far, in words."""

    def __init__(self, host: Host, user: str, auth: UserAuth) -> None:
        self.who = f"{user}@{bracketed(host.hostname)}"
        self._host = host
        self._user = user
        self._auth = auth
        self._tried: list[str] = []
        self._accepted: list[str] = []
        self._refused_files: list[str] = []
        self._refused_certificates: list[Hint] = []
        self._unanswered: Question | None = None  # nobody was available to answer
        self._answered = False  # a person entered a password or a code
        self._refused_named = False  # a key or a password that the profile names
        self._refused_password = False
        self._shown_keys: list[str] = []
        self._keys = 0
        self._not_signed = 0

    def tried(self, what: str) -> None:
        """Something is being tried, in words."""
        self._tried.append(what)

    def asked(self, question: Question, answer: str | None) -> None:
        """A question was asked. `answer` is None if no person was available.

        A passphrase without an answer remains what is missing, whatever is asked after it.
        """
        if answer is None:
            if self._unanswered is None or self._unanswered.kind is not QuestionKind.PASSPHRASE:
                self._unanswered = question
        elif question.kind is not QuestionKind.PASSPHRASE:
            self._answered = True

    def key(self, key: Identity, shown: str) -> None:
        """A key is being offered."""
        self._keys += 1
        self._shown_keys.append(shown)
        self._tried.append(shown)

    def refused_key(self, key: Identity) -> None:
        """The server refused the key that was offered last."""
        named = self._host.identity_file or self._host.certificate_file
        if named and not key.in_agent:
            self._refused_named = True
        if is_certified(key.key_type):
            self._refused_certificates.append(self._certificate(key))
        elif not key.in_agent:
            self._refused_files.append(key.name)

    def refused_password(self) -> None:
        """The server refused the password that was tried last."""
        self._refused_password = self._host.password is not None
        self._refused_named |= self._refused_password

    def not_signed(self) -> None:
        """The server would have accepted the last key, but it could not be used."""
        self._not_signed += 1

    def accept(self) -> None:
        """The server accepted what was tried last, and requires more (RFC 4252 section 5.1)."""
        if self._tried:
            self._accepted.append(self._tried.pop())

    @property
    def let_in(self) -> str:
        """The user who logged in, and the methods that the server accepted."""
        by = ", then ".join((*self._accepted, *self._tried[-1:])) or "nothing at all"
        return f"{self.who} by {by}"

    def missed(self, agent_error: str) -> Failure | None:
        """A warning after the login: the agent failed, and a person had to answer instead."""
        if not agent_error or not self._answered:
            return None
        return sentences.agent_not_needed(self._subject, agent_error)

    def cut_off(self, transport: ClientTransport) -> Failure:
        """The server ended the connection: because of the login, or because of the network."""
        said = transport.said
        if _TOO_MANY in said.lower():
            return sentences.too_many_keys(self._subject, self._keys, self._tried)
        if transport.disconnect_code in (_NO_MORE_METHODS, _ILLEGAL_USER_NAME):
            return sentences.login_ended(self._subject, said, self._in_vain())
        return peer_failure(self._host, transport.saved_exception, During.AUTHENTICATION, said)

    def refused(self, notes: Sequence[str], unusable: Failure | None) -> Failure:
        """Nothing is left to try. `notes` say why something was not tried, `unusable` is a named
        key."""
        if self._unanswered is not None and self._is_for_a_person(self._unanswered, unusable):
            prompt = self._unanswered.prompt.strip().rstrip(":").replace("\n", " ")
            return sentences.answer_needed(self._subject, prompt, self._shown_keys)
        if unusable is not None and self._keys == self._not_signed:
            return sentences.key_unusable(self._host, unusable)
        return sentences.login_refused(
            self._subject,
            self._accepted,
            self._auth.methods,
            self._in_vain(notes),
            self._hints(),
        )

    def judged(self, failure: Failure, tried: Tried) -> Failure:
        """The same failure, unless it may pass by itself: then it says so, and is tried again.

        Attempts are spaced, because each may count as a failed login on the server.
        """
        takes_keys = self._may("publickey") and "publickey" in self._auth.methods
        question = self._unanswered
        needs_person = question is not None and self._only_answers(question)
        if agent := tried.lacks_agent(
            failure, self._host, takes_keys=takes_keys, needs_person=needs_person
        ):
            return self._without_agent(agent, failure, tried)
        if failure.code is Code.NEEDS_INPUT and tried.agent_error:
            failure = sentences.beside_agent(failure, tried.agent_error)
        if self._auth.password_expired or not tried.may_pass(failure):
            return failure
        code = Code.AUTH_FAILED if failure.code is Code.NEEDS_INPUT else failure.code
        return sentences.accepted_before(failure, code)

    def _without_agent(self, agent: str, failure: Failure, tried: Tried) -> Failure:
        is_question = failure.code is Code.NEEDS_INPUT
        others = [sentences.answer_instead()] if is_question else []
        # A person's answer does not replace a credential that worked before, or would have worked
        # now.
        would_do = is_question and not tried.before and not tried.is_unsigned
        return sentences.agent_unavailable(
            self._subject, agent, self._tried, others, [Fact.ANSWER_WOULD_DO] if would_do else []
        )

    def _is_for_a_person(self, question: Question, unusable: Failure | None) -> bool:
        """Whether a missing answer is the failure. It is not if the server refused a key or a
        password that the profile names, or if a named key cannot be used, unless only an answer
        helps."""
        return self._only_answers(question) or (not self._refused_named and unusable is None)

    def _only_answers(self, question: Question) -> bool:
        """Whether no other key would avoid this question: it opens a key, it is the next step of a
        login, or a person has begun to answer."""
        is_passphrase = question.kind is QuestionKind.PASSPHRASE
        return is_passphrase or bool(self._accepted) or self._answered

    @property
    def _subject(self) -> str:
        host = self._host
        address = f"{self.who}:{host.port}"
        return address if host.name == host.hostname else f"{host.name} ({address})"

    def _in_vain(self, notes: Sequence[str] = ()) -> str:
        lacks_keys = not self._tried and not self._accepted and self._may("publickey")
        return sentences.tried_in_vain(self._tried, notes, lacks_keys=lacks_keys)

    def _hints(self) -> list[Hint]:
        methods = [name for name in self._auth.methods if self._may(name)]
        left_out = [name for name in AUTHENTICATIONS if name in self._auth.methods]
        if left_out and not methods:
            return [sentences.allow_method(self._host, left_out[0])]
        if self._auth.password_expired:
            return [sentences.change_password(self._ssh("ssh"))]
        if self._refused_password:
            return [sentences.correct_password(self._host)]
        if "publickey" in methods:
            if provider := self._host.pkcs11_provider:
                return [sentences.load_pkcs11(provider)]
            return self._for_refused_keys() or [sentences.choose_key()]
        if {"password", "keyboard-interactive"} & {*methods} and self._host.password is None:
            return [sentences.add_password(self._host)]
        return [sentences.compare_with_ssh(self._ssh("ssh -v"))]

    def _for_refused_keys(self) -> list[Hint]:
        hints = self._refused_certificates[:1]
        for name in self._refused_files[:1]:
            hints.append(sentences.copy_key(self._ssh(f"ssh-copy-id -i {shlex.quote(name)}")))
        return hints

    def _certificate(self, key: Identity) -> Hint:
        """A hint for a certificate that the server does not accept."""
        file = shlex.quote(key.name)
        shows = "ssh-add -L | ssh-keygen -L -f -" if key.in_agent else f"ssh-keygen -L -f {file}"
        return sentences.certificate_refused(self._user, key.name, shows)

    def _may(self, method: str) -> bool:
        return method in self._host.preferred_authentications

    def _ssh(self, command: str) -> str:
        """A command of OpenSSH for this host, with its way as options; without brackets."""
        host = self._host
        words = [] if host.port == 22 else ["-p", str(host.port)]
        if hops := chain(host)[:-1]:
            words += ["-o", f"ProxyJump={','.join(map(_jump, hops))}"]
        if host.proxy_command:
            words += ["-o", f"ProxyCommand={shlex.join(host.proxy_command)}"]
        return f"{command} {shlex.join([*words, f'{self._user}@{host.hostname}'])}"


def _jump(hop: Host) -> str:
    """One hop in the form of ProxyJump in ssh_config(5)."""
    return hop.address if hop.user is None else f"{hop.user}@{hop.address}"


def shown_prompt(request: InfoRequest, number: int) -> str:
    """A prompt as it is shown to a person; the server's instruction precedes the first one."""
    prompt = request.prompts[number].text
    text = "\n".join((request.name, request.instruction, prompt)) if number == 0 else prompt
    lines = [line for line in map(excerpt, text.split("\n")) if line.strip()]
    return "\n".join(lines[-_LINES:])
