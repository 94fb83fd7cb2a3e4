"""The line of a file that an answer of `ssh -G` comes from, where the answer has less than the
line.

The client joins the words of a list by blanks, as it does the two sides of a forward, replaces
tokens in some paths, and expands lists of algorithms to those that it knows. Owns the matching of
the answer with lines of the files. The client decides which block applies: a line is used only if
it explains the answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from tunnelctl.config.openssh.keywords import FORWARDS
from tunnelctl.config.openssh.lines import TOKEN, ConfigLine, SshConfigError, every_line
from tunnelctl.config.openssh.reader import Asked, Options, options_for
from tunnelctl.config.openssh.tokens import Tokens
from tunnelctl.config.values.forward_specs import fields, path_text
from tunnelctl.spec.ssh_patterns import matches_pattern

# Printed with all words on one line; and of these, with tokens and `~` replaced.
_LISTS = ("userknownhostsfile", "globalknownhostsfile", "revokedhostkeys")
_REPLACED = ("userknownhostsfile", "revokedhostkeys", "identityagent")
_ALGORITHMS = ("ciphers", "kexalgorithms", "macs", "hostkeyalgorithms")
# OpenSSH's defaults that have another meaning here if they were written.
_WRITTEN_DEFAULTS = {"serveraliveinterval": ("0",), "permitremoteopen": ("any",)}
# One side of a forward that is no path, as the client prints it; and the target that means none.
_ADDRESS = re.compile(r"\[[^\]]*\]:\d+|\d+")
_SOCKS = "[socks]:0"


def as_written(
    asked: Asked, printed: Options, baseline: Options, lines: Sequence[ConfigLine], ssh: Tokens
) -> Options:
    """`printed`, with words, tokens and operators as in the files.

    `ssh` replaces tokens as the client did, which uses the home of the password database only.
    """
    files = _Files(asked, lines)
    options = dict(printed)
    for keyword in (*_LISTS, "identityagent"):
        if keyword in options:
            replace = ssh.path if keyword in _REPLACED else str
            options[keyword] = files.words(keyword, options[keyword][0], replace)
    for keyword in _ALGORITHMS:
        if keyword in options:
            options[keyword] = files.list(keyword, options[keyword][0], baseline[keyword][0])
    for keyword, default in _WRITTEN_DEFAULTS.items():
        if keyword not in options and files.say(keyword, default):
            options[keyword] = default
    others = {keyword: value for keyword, value in options.items() if keyword not in FORWARDS}
    return others | _forwards(printed, files, lambda word: TOKEN.sub(ssh.value, word))


def _forwards(options: Options, files: _Files, replace: Callable[[str], str]) -> Options:
    """The forwards as -L, -R and -D have them. The client has replaced the tokens in paths."""
    sides = {
        keyword: [_sides(keyword, printed, files, replace) for printed in options.get(keyword, ())]
        for keyword in FORWARDS
    }
    for listen, *target in sides["localforward"]:
        # One that leads to a socket on the server is also printed as a DynamicForward.
        if target and "/" in target[0] and [listen] in sides["dynamicforward"]:
            sides["dynamicforward"].remove([listen])
    return {
        keyword: tuple(":".join(map(_field, both)) for both in printed)
        for keyword, printed in sides.items()
        if printed
    }


def _sides(keyword: str, printed: str, files: _Files, replace: Callable[[str], str]) -> list[str]:
    """The listening side and the target of a printed line. A path may have blanks; if both sides
    are paths, the line that explains it shows where the first one ends."""
    if keyword == "dynamicforward":
        return [printed]
    listen, _, target = printed.rpartition(" ")
    if target == _SOCKS:
        return [listen]
    if _ADDRESS.fullmatch(target):
        return [listen, target]
    listen, _, target = printed.partition(" ")
    if _ADDRESS.fullmatch(listen):
        return [listen, target]
    return list(files.forward(keyword, printed, replace) or (listen, target))


def _field(side: str) -> str:
    return side if _ADDRESS.fullmatch(side) else path_text(side)


class _Files:
    """The values of all lines of the files, whatever block they are in."""

    def __init__(self, asked: Asked, lines: Sequence[ConfigLine]) -> None:
        self._asked = asked
        self._lines = lines

    def words(self, keyword: str, printed: str, replace: Callable[[str], str]) -> tuple[str, ...]:
        """The words of the line that explains the answer; else the answer split at blanks.

        Older clients print some as they are written.
        """

        def explains(words: tuple[str, ...]) -> bool:
            try:
                return printed in (" ".join(words), " ".join(map(replace, words)))
            except ValueError:  # a token without a value, in a block that does not apply
                return False

        found = self._said(keyword, explains)
        if found is not None:
            return found
        done = printed.split(" ") if keyword in _LISTS else [printed]
        return tuple(word.replace("%", "%%") if keyword in _REPLACED else word for word in done)

    def list(self, keyword: str, printed: str, default: str) -> tuple[str, ...]:
        """The list with its operator: an older client prints only the algorithms that it knows."""
        names, defaults = printed.split(","), default.split(",")
        found = self._said(keyword, lambda words: _explains(words[0], names, defaults))
        return (printed,) if found is None else found

    def forward(
        self, keyword: str, printed: str, replace: Callable[[str], str]
    ) -> tuple[str, ...] | None:
        """The two paths of the line that explains a printed forward, or None."""

        def sides(words: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(map(replace, fields(":".join(words))))

        def explains(words: tuple[str, ...]) -> bool:
            try:
                return " ".join(sides(words)) == printed
            except ValueError:  # as above
                return False

        found = self._said(keyword, explains)
        return None if found is None else sides(found)

    def say(self, keyword: str, default: tuple[str, ...]) -> bool:
        """Whether this value was written, since the client also prints it as a default."""
        known = any(line.keyword == keyword for line in every_line(self._lines))
        return known and self._own().get(keyword) == default

    def _said(
        self, keyword: str, explains: Callable[[tuple[str, ...]], bool]
    ) -> tuple[str, ...] | None:
        """The words that explain the answer. If several do, our own reader decides."""
        found = []
        for line in every_line(self._lines):
            if line.keyword == keyword and not line.fault:
                with suppress(SshConfigError):
                    words = tuple(line.words())
                    if words and words not in found and explains(words):
                        found.append(words)
        if len(found) > 1 and (mine := self._own().get(keyword)) in found:
            return mine
        return found[0] if found else None

    def _own(self) -> Options:
        """The answer of our own reader, or nothing if it cannot tell."""
        try:
            return options_for(self._asked, self._lines)
        except SshConfigError:
            return {}


def _explains(written: str, printed: list[str], default: list[str]) -> bool:
    """Whether kex_assemble_names (OpenSSH's kex-names.c) makes `printed` from `written`."""
    operator, patterns = written[:1], written[1:].split(",")

    def others(names: Iterable[str]) -> list[str]:
        return [name for name in names if not any(matches_pattern(name, p) for p in patterns)]

    if operator == "-":
        return others(default) == printed
    if operator == "+":
        return printed[: len(default)] == default and not others(printed[len(default) :])
    if operator == "^":
        left = others(default)
        return others(printed) == left and printed[len(printed) - len(left) :] == left
    return written.split(",") == printed
