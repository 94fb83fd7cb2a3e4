"""What was written where `ssh -G` prints less than that: the line that its answer comes from.

The client joins the words of a list by blanks, replaces tokens in some paths and works out lists
of algorithms against those that it knows itself. Owns how the answer is matched with the lines of
the files. Which block applies is the client's to say: no line is taken that does not explain what
it printed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from tunnelctl.config.sshlines import Line, SshConfigError, every_line
from tunnelctl.config.sshreader import Asked, Options, matches, options_for
from tunnelctl.config.sshtokens import Tokens

# Printed with all words on one line; and of these with tokens and `~` replaced.
_LISTS = ("userknownhostsfile", "globalknownhostsfile", "revokedhostkeys")
_REPLACED = ("userknownhostsfile", "revokedhostkeys", "identityagent")
_ALGORITHMS = ("ciphers", "kexalgorithms", "macs", "hostkeyalgorithms")
_OFF = ("0",)


def as_written(
    asked: Asked, printed: Options, baseline: Options, lines: Sequence[Line], ssh: Tokens
) -> Options:
    """`printed`, which is configured, as the files have it: words, tokens and operators.

    `ssh` replaces tokens as the client did, which knows the home of the password database alone.
    """
    options = dict(printed)
    for keyword in (*_LISTS, "identityagent"):
        if keyword in options:
            replace = ssh.path if keyword in _REPLACED else str
            options[keyword] = _words(keyword, options[keyword][0], lines, replace)
    for keyword in _ALGORITHMS:
        if keyword in options:
            options[keyword] = (_list(keyword, options[keyword][0], baseline[keyword][0], lines),)
    if _says_off("serveraliveinterval", asked, lines) and "serveraliveinterval" not in options:
        options["serveraliveinterval"] = _OFF
    return options


def _said(keyword: str, lines: Sequence[Line]) -> Iterator[list[str]]:
    for line in every_line(lines):
        if line.keyword == keyword:
            try:
                yield line.words()
            except SshConfigError:
                continue


def _words(
    keyword: str, printed: str, lines: Sequence[Line], replace: Callable[[str], str]
) -> tuple[str, ...]:
    """The words of the line that comes to what is printed; else those that blanks part.

    Older clients print some as they are written.
    """
    for words in _said(keyword, lines):
        try:
            if printed in (" ".join(words), " ".join(map(replace, words))):
                return tuple(words)
        except ValueError:  # a token that stands for nothing, in a block that does not apply
            continue
    done = printed.split() if keyword in _LISTS else [printed]
    return tuple(word.replace("%", "%%") if keyword in _REPLACED else word for word in done)


def _list(keyword: str, printed: str, default: str, lines: Sequence[Line]) -> str:
    """The list with its operator: what an older client does not know it cannot print."""
    for words in _said(keyword, lines):
        if words and _explains(words[0], printed.split(","), default.split(",")):
            return words[0]
    return printed


def _explains(written: str, printed: list[str], default: list[str]) -> bool:
    """Whether kex_assemble_names (OpenSSH's kex-names.c) makes `printed` of `written`."""
    operator, patterns = written[:1], written[1:].split(",")

    def others(names: Iterable[str]) -> list[str]:
        return [name for name in names if not any(matches(name, p) for p in patterns)]

    if operator == "-":
        return others(default) == printed
    if operator == "+":
        return printed[: len(default)] == default and not others(printed[len(default) :])
    if operator == "^":
        left = others(default)
        return others(printed) == left and printed[len(printed) - len(left) :] == left
    return False


def _says_off(keyword: str, asked: Asked, lines: Sequence[Line]) -> bool:
    """Whether 0, which the client prints where nothing is said as well, was written.

    Our own reader tells; where it cannot, nothing was.
    """
    if not any(words[:1] == ["0"] for words in _said(keyword, lines)):
        return False
    try:
        return options_for(asked, lines).get(keyword) == _OFF
    except SshConfigError:
        return False
