"""Looks up in ssh_config what a profile leaves open, so that what works with `ssh NAME` works here.

OpenSSH's own client answers if it is installed and the names are not very many, else reader.py.
Owns which files are read, which of the two answers, and that no lookup is repeated or needless.
Changes nothing on this machine.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

from tunnelctl.config.openssh.client import (
    OpenSSHClient,
    config_arguments,
    find_client,
    home_of_record,
)
from tunnelctl.config.openssh.keywords import FORWARDING, FORWARDS, KNOWN, RELEVANT
from tunnelctl.config.openssh.lines import TOKEN, ConfigLine, SshConfigError, every_line, read
from tunnelctl.config.openssh.names import SYSTEM_FILE, Aliases
from tunnelctl.config.openssh.reader import Asked, Options, options_for
from tunnelctl.config.openssh.tokens import Tokens
from tunnelctl.config.openssh.values import HostSettings, Keyword, configured, found
from tunnelctl.config.openssh.written import as_written
from tunnelctl.config.values.forward_specs import with_paths
from tunnelctl.config.values.reach import NONE
from tunnelctl.config.yaml.checked_file import Unreadable, read_profile_file
from tunnelctl.net import files
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.environment import home

_AT_ONCE = 8  # clients that run concurrently
# Each takes 4 ms of CPU, and a profile may name thousands of hosts and hops.
_CLIENTS = 100
_CLIENTS_WITH_MATCH = 1_000
_NOTHING = HostSettings()


@dataclass(frozen=True, slots=True)
class Lookup:
    """A name, the settings of the profile for it, and the ssh_config to read.

    `source` is True for the user's and the system's, False for none, or the path of a file.
    `has_way`: the profile gives the way to it.
    """

    name: str
    source: bool | str = True
    hostname: str | None = None
    user: str | None = None
    port: int | None = None
    has_way: bool = False


class SshConfig:
    """The answers for one load of a profile. `asked` gets the variables that they depend on.

    `keywords` has the keyword for each field of a host.
    """

    def __init__(
        self, environ: Mapping[str, str], asked: set[str], keywords: Mapping[str, Keyword]
    ) -> None:
        self._keywords = keywords
        self._environ = environ
        self._variables = asked
        self._sources: dict[bool | str, _Source] = {}
        self._answers: dict[Lookup, HostSettings | SshConfigError] = {}

    def prepare(self, questions: Iterable[Lookup]) -> None:
        """Look up many names concurrently."""
        wanted = [question for question in questions if question not in self._answers]
        for source in {question.source for question in wanted}:
            mine = [question for question in wanted if question.source == source]
            options = self._source(source).options([self._asked(question) for question in mine])
            self._answers.update(zip(mine, map(self._read, mine, options), strict=True))

    def found(self, question: Lookup) -> HostSettings:
        """The settings of a name.

        Raises:
            SshConfigError: one sentence that names the file and line, or what to do.
        """
        self.prepare((question,))
        answer = self._answers[question]
        if isinstance(answer, SshConfigError):
            raise answer
        return answer

    @property
    def says_something(self) -> bool:
        """Whether another lookup may have another result."""
        return any(source.says_something for source in self._sources.values())

    def forwarding(self, question: Lookup) -> Options:
        """The forwards of `ssh NAME` by ssh_config; they are not in `found`.

        Raises:
            SshConfigError: one sentence that names the file and line, or what to do.
        """
        source = self._source(question.source)
        (options,) = source.options([self._asked(question)], FORWARDING)
        if isinstance(options, SshConfigError):
            raise options
        return {keyword: options[keyword] for keyword in FORWARDING & options.keys()}

    def aliases(self, source: bool | str) -> Aliases:
        """The names that have a block of their own."""
        return self._source(source).aliases

    def _source(self, source: bool | str) -> _Source:
        if source not in self._sources:
            self._sources[source] = _Source(source, self._environ)
            if source is True:
                self._variables.add("HOME")
        return self._sources[source]

    def _asked(self, question: Lookup) -> Asked:
        given = {
            "hostname": question.hostname,
            "user": question.user,
            "port": None if question.port is None else str(question.port),
            "proxyjump": NONE if question.has_way else None,
        }
        said = {key: value for key, value in given.items() if value is not None}
        return Asked(question.name, local_user(), said)

    def _read(
        self, question: Lookup, options: Options | SshConfigError
    ) -> HostSettings | SshConfigError:
        if isinstance(options, SshConfigError):
            return options
        if not options:
            return _NOTHING
        try:
            answer, variables = found(self._asked(question), options, self._environ, self._keywords)
        except SshConfigError as error:
            return error
        self._variables |= variables
        return answer


def _matters(line: ConfigLine, about: frozenset[str]) -> bool:
    """Whether a line could set something `about` a name, or is one that OpenSSH refuses."""
    return line.keyword in about or line.keyword not in KNOWN or bool(line.fault)


class _Source:
    """One ssh_config: its files, read once."""

    def __init__(self, source: bool | str, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._is_default = source is True
        self.files: list[tuple[str, bool]] = []  # and whether it is the user's
        self._error: SshConfigError | None = None
        self._lines: tuple[ConfigLine, ...] = ()
        self._asked = 0
        if source is False:
            return
        try:
            self.files = [(source, True)] if isinstance(source, str) else list(self._defaults())
            self._check()
            self._lines = read(self.files, environ)
        except SshConfigError as error:
            self._error = error

    @cached_property
    def aliases(self) -> Aliases:
        """The names that have a block of their own."""
        return Aliases(every_line(self._lines))

    def options(
        self, asked: list[Asked], about: frozenset[str] = RELEVANT
    ) -> list[Options | SshConfigError]:
        """The settings of each name, if anything `about` it is set at all."""
        if self._error is not None:
            return [self._error] * len(asked)
        if not self._says_something(about):
            return [{}] * len(asked)
        try:
            program = find_client(self._environ)
        except SshConfigError as error:
            return [error] * len(asked)
        self._asked += len(asked)
        if program is None or (self._asked > _CLIENTS and not self._has_match):
            return [self._own(one) for one in asked]
        if self._asked > _CLIENTS_WITH_MATCH:
            message = f"it has a Match, and more than {_CLIENTS_WITH_MATCH:,} names are looked up"
            return [SshConfigError(message)] * len(asked)
        return self._clients(program, asked)

    @cached_property
    def _has_match(self) -> bool:
        """Whether it may depend on what only OpenSSH's client decides."""
        return any(line.keyword == "match" for line in every_line(self._lines))

    @property
    def says_something(self) -> bool:
        """Whether a line could apply to a host."""
        return self._says_something(RELEVANT)

    def _says_something(self, about: frozenset[str]) -> bool:
        return any(_matters(line, about) for line in every_line(self._lines))

    def _own(self, asked: Asked) -> Options | SshConfigError:
        try:
            options = options_for(asked, self._lines)
        except SshConfigError as error:
            return error
        if options["hostname"][0] == asked.name.lower():
            del options["hostname"]
        tokens = Tokens(asked, options, self._environ, str(home(self._environ)))
        try:
            for keyword in options.keys() & set(FORWARDS):
                options[keyword] = tuple(
                    with_paths(text, lambda path: TOKEN.sub(tokens.value, path))
                    for text in options[keyword]
                )
        except ValueError as error:
            return SshConfigError(f"{asked.name}: {error}")
        return options

    def _clients(self, program: str, asked: list[Asked]) -> list[Options | SshConfigError]:
        arguments = config_arguments(self.files, self._environ, is_default=self._is_default)
        client = OpenSSHClient(program, arguments, self._environ, self.files)
        try:
            baseline = client.baseline()
        except SshConfigError as error:
            return [error] * len(asked)

        def answer(one: Asked) -> Options | SshConfigError:
            try:
                printed = client.options(one)
            except SshConfigError as error:
                return error
            ssh = Tokens(one, printed, self._environ, home_of_record())
            said = configured(one.name, printed, baseline)
            return as_written(one, said, baseline, self._lines, ssh)

        with ThreadPoolExecutor(min(_AT_ONCE, len(asked))) as threads:
            return list(threads.map(answer, asked))

    def _defaults(self) -> Iterator[tuple[str, bool]]:
        for path, is_user in (
            (str(home(self._environ) / ".ssh" / "config"), True),
            (SYSTEM_FILE, False),
        ):
            try:
                files.status(path)
            except files.FileSilent:  # the reader reports why it cannot be read
                yield path, is_user
            except OSError:
                continue
            else:
                yield path, is_user

    def _check(self) -> None:
        """A user's file may name programs to run, so nobody else may have written it."""
        for path, is_user in self.files:
            try:
                if is_user:
                    read_profile_file(Path(path))
            except Unreadable as error:
                raise SshConfigError(f"{path}: {error.reasons[0]}") from None


def local_user() -> str:
    """The user, by the password database."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a user id without an entry, as in many containers
        return str(os.geteuid())
