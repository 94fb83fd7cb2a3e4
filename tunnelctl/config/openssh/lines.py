"""ssh_config(5) as lines: the keyword and arguments of each, and the included files.

Owns the syntax of a file (OpenSSH's readconf.c, and strdelim and argv_split in misc.c), not the
meaning of keywords. Must never give up because of one bad line: a line carries its `fault`, because
only the lookup of a name shows whether it matters.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Mapping, Sequence

from tunnelctl.config.yaml.checked_file import MAX_BYTES
from tunnelctl.errors import reason
from tunnelctl.net import files
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.environment import expand_user, home

_MAX_INCLUDES = 16  # readconf.c, READCONF_MAX_DEPTH
_MAX_FILES = 256
_BLANKS = " \t\r\n"
_DELIMITER = re.compile(r'[ \t\r\n"=]')
_ESCAPED = "'\"\\"
_ESCAPE = re.compile(r"\\(.)")
# ssh_config(5) TOKENS and environment variables; tokens.py has the values.
TOKEN = re.compile(r"%(.?)|\$\{([^}]*)\}")
_UPPER_TO_LOWER = {ord(char): char.lower() for char in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}
_OTHER_NAMES = {
    "identityfile2": "identityfile",
    "challengeresponseauthentication": "kbdinteractiveauthentication",
    "skeyauthentication": "kbdinteractiveauthentication",
    "tisauthentication": "kbdinteractiveauthentication",
    "dsaauthentication": "pubkeyauthentication",
    "smartcarddevice": "pkcs11provider",
    "keepalive": "tcpkeepalive",
    "hostbasedkeytypes": "hostbasedacceptedalgorithms",
    "pubkeyacceptedkeytypes": "pubkeyacceptedalgorithms",
}
_SYSTEM_FOLDER = "/etc/ssh"


class SshConfigError(ValueError):
    """An ssh_config that cannot be used; the text names the file and line."""


@dataclass(frozen=True, slots=True)
class ConfigLine:
    """One line. `files` are the lines of the files of an Include.

    A line that is in no file has `number` 0, and a description of its origin as `file`. `fault` is
    what is wrong with it whatever its keyword means, or "".
    """

    file: str
    number: int
    keyword: str
    rest: str
    files: tuple[tuple[ConfigLine, ...], ...] = ()
    fault: str = ""

    def words(self) -> list[str]:
        """The arguments, without quotes and without a comment at the end.

        Raises:
            SshConfigError: there is a `fault`, or a quote is not closed.
        """
        if self.fault:
            raise self.error(self.fault)
        try:
            return split(self.rest)
        except ValueError as error:
            raise self.error(str(error)) from None

    def error(self, why: str) -> SshConfigError:
        """The fault, with file and line."""
        line = f" line {self.number}" if self.number else ""
        return SshConfigError(f"{self.file}{line}: {why}")


def lowercase(text: str) -> str:
    """ASCII only, as in OpenSSH."""
    return text.translate(_UPPER_TO_LOWER)


def statement(text: str, file: str, number: int = 0) -> ConfigLine | None:
    """One line of a file.

    None if it is empty or a comment, or where OpenSSH ignores it: an unclosed quote around the
    keyword.
    """
    text = text.partition("\0")[0]
    text = text[:1] + text[1:].rstrip(_BLANKS + "\f")
    keyword, rest = _delimited(text)
    if keyword == "":
        keyword, rest = _delimited(rest)
    if not keyword or keyword.startswith("#"):
        return None
    keyword, rest = lowercase(keyword), rest.lstrip(_BLANKS)
    fault = "" if rest else f"{keyword} has no value"
    return ConfigLine(file, number, _OTHER_NAMES.get(keyword, keyword), rest, fault=fault)


def _delimited(text: str) -> tuple[str | None, str]:
    """strdelim: the text up to a blank, a `=` or the end of a quote, and what follows."""
    found = _DELIMITER.search(text)
    if found is None:
        return text, ""
    at = found.start()
    if text[at] == '"':
        end = text.find('"', at + 1)
        if end < 0:
            return None, ""
        return text[:at] + text[at + 1 : end], text[end + 1 :].lstrip(_BLANKS)
    rest = text[at + 1 :].lstrip(_BLANKS)
    if text[at] != "=" and rest.startswith("="):
        rest = rest[1:].lstrip(_BLANKS)
    return text[:at], rest


def quoted(word: str) -> str:
    """A word in quotes, as `split` takes it."""
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


def read(paths: Sequence[tuple[str, bool]], environ: Mapping[str, str]) -> tuple[ConfigLine, ...]:
    """Every line of the files `paths`: path, and whether it is a user's, not the system's.

    Each file is one line without a keyword that includes it, because every file starts outside of
    any block.

    Raises:
        SshConfigError: one of `paths` itself cannot be read.
    """
    reader = _Reader(environ)
    read_files = []
    for path, is_user in paths:
        try:
            lines = tuple(reader.file(path, is_user, 0))
        except (_Unreadable, _Silent) as error:
            raise SshConfigError(str(error)) from None
        read_files.append(ConfigLine(path, 0, "include", "", (lines,)))
    return tuple(read_files)


class _Unreadable(Exception):
    """Why a file cannot be read, in one sentence."""


class _Silent(Exception):
    """The same for a file that does not answer: OpenSSH's client would wait for it in whatever
    block it is, so the client is not run."""


class _Reader:
    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._count = 0

    def file(self, path: str, is_user: bool, depth: int) -> Iterator[ConfigLine]:
        text = _text(path, is_included=depth > 0)
        self._count += 1
        for number, written in enumerate(text.split("\n"), 1):
            line = statement(written, path, number)
            if line is not None:
                included = line.keyword == "include" and not line.fault
                yield self._including(line, is_user, depth) if included else line

    def _including(self, line: ConfigLine, is_user: bool, depth: int) -> ConfigLine:
        files: list[tuple[ConfigLine, ...]] = []
        try:
            for path in self._named(line, is_user):
                if depth >= _MAX_INCLUDES:
                    raise _Unreadable(f"files include each other more than {_MAX_INCLUDES} deep")
                if self._count >= _MAX_FILES:
                    raise _Unreadable(f"more than {_MAX_FILES} files are included")
                files.append(tuple(self.file(path, is_user, depth + 1)))
        except (SshConfigError, _Unreadable) as error:
            why = str(error).removeprefix(f"{line.file} line {line.number}: ")
            return ConfigLine(line.file, line.number, line.keyword, line.rest, tuple(files), why)
        return ConfigLine(line.file, line.number, line.keyword, line.rest, tuple(files))

    def _named(self, line: ConfigLine, is_user: bool) -> Iterator[str]:
        """The files that an Include names, in order; a pattern may match none."""
        folder = str(home(self._environ) / ".ssh") if is_user else _SYSTEM_FOLDER
        for word in line.words():
            if not word:
                raise _Unreadable("include has an empty value")
            if word.startswith("~") and not is_user:
                raise _Unreadable(f"{word}: the system's file may not include by a home")
            try:
                path = expand_user(TOKEN.sub(self._token, word), self._environ)
            except (KeyError, ValueError):  # no such variable or user: OpenSSH finds nothing
                continue
            try:
                yield from files.matching(os.path.join(folder, _python_pattern(path)))
            except OSError as error:
                why = line.error(f"{word} cannot be looked for: {reason(error)}")
                raise _Silent(str(why)) from None

    def _token(self, token: re.Match[str]) -> str:
        """The value of a token in an Include, as since OpenSSH 9.9."""
        if token[2] is not None:
            return self._environ[token[2]]
        if token[1] not in ("%", "d"):
            raise _Unreadable(f"an Include with {token[0]} is read by OpenSSH's client alone")
        return "%" if token[1] == "%" else str(home(self._environ))


def _python_pattern(path: str) -> str:
    """A pattern of glob(7) for the module glob, which does not know `\\`."""
    return _ESCAPE.sub(lambda found: glob.escape(found[1]), path)


def _text(path: str, *, is_included: bool) -> str:
    """The text of a file.

    Empty where OpenSSH finds no line: for a folder, and a link to nothing.

    Raises:
        _Unreadable: also for an included file that others may have written, as in OpenSSH.
        _Silent: it does not answer.
    """
    try:
        try:
            found = files.read(path, MAX_BYTES)
        except IsADirectoryError:
            found = files.Contents(b"", files.status(path))
    except files.TooLarge:
        raise _Unreadable(f"{path} is larger than {MAX_BYTES // 1024**2} MiB") from None
    except files.FileSilent as error:
        raise _Silent(f"{path} cannot be read: {reason(error)}") from None
    except OSError as error:
        if is_included and isinstance(error, FileNotFoundError):
            return ""
        raise _Unreadable(f"{path} cannot be read: {reason(error)}") from None
    status = found.status
    if is_included and (status.st_uid not in (0, os.getuid()) or status.st_mode & 0o022):
        raise _Unreadable(f"{path} belongs to others, or others may write to it")
    return found.data.decode(errors="surrogateescape")


def every_line(lines: Sequence[ConfigLine]) -> Iterator[ConfigLine]:
    """All lines, including those of included files, whatever block they are in."""
    for line in lines:
        yield line
        for included in line.files:
            yield from every_line(included)
