"""Our own reading of ssh_config(5), for machines without OpenSSH's client.

Owns the syntax of the files (readconf.c of OpenSSH is the reference) and which block applies to a
name. Gives what `ssh -G` would print, for the keywords that can mean something here. Must never
run a program: what only a program or a look-up could decide is refused in one sentence.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from tunnelctl.config.files import MAX_BYTES
from tunnelctl.config.sshkeywords import ADD_UP, KEYWORDS, RAW, REST_OF_LINE
from tunnelctl.spec.environment import expand_user, home

# What one name comes to: by keyword in lower case, as `ssh -G` prints it.
Options = dict[str, tuple[str, ...]]

_MAX_INCLUDES = 16
_MAX_FILES = 256
_LINE = re.compile(r"(?P<keyword>[A-Za-z0-9]+)(?:[ \t]*=[ \t]*|[ \t]+|$)(?P<rest>.*)")
_ESCAPED = "'\"\\"
_CRITERIA = ("all", "host", "originalhost", "user", "localuser", "canonical", "final")
_WITHOUT_ARGUMENT = ("all", "canonical", "final")
_OTHER_NAMES = {
    "identityfile2": "identityfile",
    "challengeresponseauthentication": "kbdinteractiveauthentication",
    "dsaauthentication": "pubkeyauthentication",
}
_SYSTEM_FOLDER = "/etc/ssh"


class SshConfigError(ValueError):
    """An ssh_config that cannot be used; the text names the file and line."""


@dataclass(frozen=True, slots=True)
class Line:
    """One statement. `files` are those that an Include brought, line by line.

    What stands in no file has `number` 0, and for `file` a word for where it was said.
    """

    file: str
    number: int
    keyword: str
    rest: str
    files: tuple[tuple[Line, ...], ...] = ()

    def words(self) -> list[str]:
        """The arguments, without quotes and without a comment at the end."""
        try:
            return split(self.rest)
        except ValueError as error:
            raise self.error(str(error)) from None

    def error(self, why: str) -> SshConfigError:
        """What is wrong here."""
        line = f" line {self.number}" if self.number else ""
        return SshConfigError(f"{self.file}{line}: {why}")


@dataclass(frozen=True, slots=True)
class Asked:
    """The name that is looked up, what a profile says of it, and who asks."""

    name: str
    local_user: str
    given: Mapping[str, str] = field(default_factory=dict)  # hostname, user, port, proxyjump


def statement(text: str, file: str, number: int = 0) -> Line | None:
    """One line of a file; None where it is empty or a comment."""
    found = _LINE.match(text.strip(" \t\r\f"))
    if found is None:
        return None
    keyword = found["keyword"].lower()
    return Line(file, number, _OTHER_NAMES.get(keyword, keyword), found["rest"])


def quoted(word: str) -> str:
    """A word as `split` takes it, in quotes."""
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def split(text: str) -> list[str]:
    """The words of a line as argv_split of OpenSSH finds them.

    Raises:
        ValueError: a quote is not closed.
    """
    words: list[str] = []
    at = 0
    while at < len(text):
        if text[at] in " \t":
            at += 1
            continue
        if text[at] == "#":
            break
        word, at = _word(text, at)
        words.append(word)
    return words


def _word(text: str, at: int) -> tuple[str, int]:
    word, quote = "", ""
    while at < len(text):
        char, following = text[at], text[at + 1 : at + 2]
        if char == "\\" and following and following in _ESCAPED + ("" if quote else " "):
            word += following
            at += 1
        elif quote:
            quote, word = ("", word) if char == quote else (quote, word + char)
        elif char in " \t":
            break
        elif char in "'\"":
            quote = char
        else:
            word += char
        at += 1
    if quote:
        raise ValueError("a quote is not closed")
    return word, at


def read(files: Sequence[tuple[str, bool]], environ: Mapping[str, str]) -> tuple[Line, ...]:
    """Every statement of `files`: path, and whether it is a user's rather than the system's.

    Each file is one line without a keyword that includes it, as all files start afresh.

    Raises:
        SshConfigError: a file cannot be read, or too many include each other.
    """
    reader = _Reader(environ)
    return tuple(
        Line(path, 0, "include", "", (tuple(reader.file(path, is_user, 0)),))
        for path, is_user in files
    )


class _Reader:
    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._count = 0

    def file(self, path: str, is_user: bool, depth: int) -> Iterator[Line]:
        self._count += 1
        if self._count > _MAX_FILES:
            raise SshConfigError(f"{path}: more than {_MAX_FILES} files are included")
        try:
            with open(path, "rb") as file:
                raw = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise SshConfigError(f"{path} cannot be read: {error.strerror}") from None
        if len(raw) > MAX_BYTES:
            raise SshConfigError(f"{path} is larger than {MAX_BYTES // 1024**2} MiB")
        text = raw.decode(errors="surrogateescape")
        for number, written in enumerate(text.split("\n"), 1):
            line = statement(written, path, number)
            if line is not None:
                included = line.keyword == "include"
                yield self._including(line, is_user, depth) if included else line

    def _including(self, line: Line, is_user: bool, depth: int) -> Line:
        if depth >= _MAX_INCLUDES:
            raise line.error(f"files include each other more than {_MAX_INCLUDES} deep")
        files = []
        for word in line.words():
            try:
                path = expand_user(word, self._environ)
            except ValueError as error:
                raise line.error(str(error)) from None
            folder = str(home(self._environ) / ".ssh") if is_user else _SYSTEM_FOLDER
            for found in sorted(glob.glob(os.path.join(folder, path))):
                files.append(tuple(self.file(found, is_user, depth + 1)))
        return Line(line.file, line.number, line.keyword, line.rest, tuple(files))


def every_line(lines: Sequence[Line]) -> Iterator[Line]:
    """All statements, those of included files too, whatever block they are in."""
    for line in lines:
        yield line
        for included in line.files:
            yield from every_line(included)


def matches(text: str, pattern: str) -> bool:
    """ssh_config(5) PATTERNS: `*` and `?`."""
    return fnmatchcase(text, pattern.replace("[", "[[]"))


def host_matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a Host line is about `name`: one of its patterns is, and none with a `!`."""
    if any(p.startswith("!") and matches(name, p[1:]) for p in patterns):
        return False
    return any(not p.startswith("!") and matches(name, p) for p in patterns)


def options_for(asked: Asked, lines: Sequence[Line]) -> Options:
    """What the files say of a name; the first value of a keyword wins, as in OpenSSH.

    Raises:
        SshConfigError: where only a program could tell what applies.
    """
    first = _Pass(asked, asked.name, {})
    first.run(lines)
    if not first.wants_final:
        return first.result()
    found = first.result()
    hostname = found["hostname"][0]
    found["hostname"] = (hostname.replace("%", "%%"),)
    final = _Pass(asked, hostname, found, is_final=True)
    final.run(lines)
    return final.result()


class _Pass:
    """One reading of all files. The second one (`Match final`) knows the real host name."""

    def __init__(
        self, asked: Asked, host: str, options: Options, *, is_final: bool = False
    ) -> None:
        self.options = options
        self.wants_final = False
        self._asked = asked
        self._host = host
        self._is_final = is_final
        for keyword, value in asked.given.items():
            escaped = value.replace("%", "%%") if keyword == "hostname" else value
            options.setdefault(keyword, (escaped,))
        # Kept apart from what a first pass found: they add up.
        self._lists: dict[str, list[str]] = {
            keyword: list(options.pop(keyword, ())) for keyword in ADD_UP
        }

    def run(self, lines: Sequence[Line]) -> None:
        for line in lines:
            for file in line.files:
                self._file(file, is_active=True, is_reachable=True)

    def result(self) -> Options:
        """What was found, and the host name in any case."""
        found: Options = {**self.options, "hostname": (self._hostname().lower(),)}
        found.update({keyword: tuple(v) for keyword, v in self._lists.items() if v})
        return found

    def _hostname(self) -> str:
        written = self.options.get("hostname", (self._asked.name,))[0]
        if "hostname" not in self.options:
            return written
        return re.sub(r"%(.?)", lambda found: {"h": self._asked.name, "%": "%"}[found[1]], written)

    def _file(self, lines: Sequence[Line], *, is_active: bool, is_reachable: bool) -> None:
        for line in lines:
            if line.keyword == "host":
                is_active = is_reachable and host_matches(self._host, line.words())
            elif line.keyword == "match":
                is_active = is_reachable and self._match(line)
            elif line.keyword == "include":
                for file in line.files:
                    self._file(file, is_active=is_active, is_reachable=is_active and is_reachable)
            elif is_active and is_reachable:
                self._set(line)

    def _match(self, line: Line) -> bool:
        words = iter(line.words())
        applies, refused = True, ""
        for word in words:
            criterion, _, joined = word.lower().lstrip("!").partition("=")
            if criterion not in _CRITERIA:
                refused = refused or criterion
                if criterion not in _WITHOUT_ARGUMENT and not joined:
                    next(words, "")
                continue
            patterns = ""
            if criterion not in _WITHOUT_ARGUMENT:
                patterns = word.partition("=")[2] if joined else next(words, "")
            applies &= self._criterion(criterion, patterns) is not word.startswith("!")
        if applies and refused:
            raise line.error(
                f"Match {refused} is not decided here; install OpenSSH's client, which can"
            )
        return applies

    def _criterion(self, criterion: str, patterns: str) -> bool:
        if criterion == "all":
            return True
        if criterion in ("canonical", "final"):
            self.wants_final |= criterion == "final" and not self._is_final
            return self._is_final
        if criterion in ("host", "originalhost"):
            subject = self._hostname() if criterion == "host" else self._asked.name
            return host_matches(subject.lower(), patterns.lower().split(","))
        user = self._asked.local_user
        if criterion == "user":
            user = self.options.get("user", (user,))[0]
        return host_matches(user, patterns.split(","))

    def _set(self, line: Line) -> None:
        if line.keyword in RAW:
            if not any(keyword in self.options for keyword in RAW):
                self.options[line.keyword] = (line.rest,)
            return
        if line.keyword in REST_OF_LINE:
            self.options.setdefault(line.keyword, (line.rest,))
            return
        convert = KEYWORDS.get(line.keyword)
        if convert is None:
            return
        words = line.words()
        if not words:
            raise line.error(f"{line.keyword} has no value")
        try:
            value = convert(words)
        except (ValueError, KeyError, IndexError):
            raise line.error(f"{' '.join(words)!r} is not a value of {line.keyword}") from None
        if line.keyword in ADD_UP:
            known = self._lists[line.keyword]
            known += [path for path in value if path not in known]
        elif line.keyword == "canonicalizehostname" and value != ("no",):
            raise line.error("a name is not looked up here; install OpenSSH's client, which can")
        elif value:
            self.options.setdefault(line.keyword, value)
