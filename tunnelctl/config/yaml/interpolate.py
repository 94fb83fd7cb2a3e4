"""Variables in values: `${VAR:-default}` and the other forms of docker compose.

One difference: an unset `${VAR}` without a default is a mistake, not a warning. Owns the syntax and
the record of the variables that were used. Must never look at a key, or read the result as YAML
again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tunnelctl.spec.environment import expand_user

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
# After a dollar sign: another dollar sign, a name, or an opening brace. Anything else is text.
_AFTER_DOLLAR = re.compile(rf"\$(?:(?P<dollar>\$)|(?P<name>{_NAME})|(?P<brace>\{{))")
_BRACED = re.compile(
    rf"(?P<name>{_NAME})(?:(?P<colon>:?)(?P<operator>[-?+])(?P<word>.*))?", re.DOTALL
)
_BRACE = re.compile(r"\$\{|\}")
_MAX_NESTING = 16
_SHOWN = 60  # characters of a text that a message quotes
# The total text that all variables of a profile may expand to; a profile itself is at most 1 MiB.
_MAX_CHARACTERS = 1024 * 1024


class InterpolationError(ValueError):
    """The text has an invalid variable, or requires one that is not set."""


class Interpolator:
    """Replaces variables by their values in `environ`; `asked` has each name that was looked up."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.asked: set[str] = set()
        self._environ = environ
        self._characters = 0

    def substitute(self, text: str) -> str:
        """The text with every variable replaced.

        Raises:
            InterpolationError: with a sentence that names the variable.
        """
        return self._substitute(text, 0)

    def expand_user(self, path: str) -> str:
        """`path` with its `~` expanded; `$HOME` then counts as used.

        Raises:
            ValueError: there is no user of that name.
        """
        if path.startswith("~"):
            self.asked.add("HOME")
        return expand_user(path, self._environ)

    def _substitute(self, text: str, nesting: int) -> str:
        if nesting > _MAX_NESTING:
            raise InterpolationError(f"variables are nested more than {_MAX_NESTING} deep")
        parts: list[str] = []
        at = 0
        while (found := _AFTER_DOLLAR.search(text, at)) is not None:
            parts.append(text[at : found.start()])
            at = found.end()
            if found["dollar"]:
                parts.append("$")
            elif found["name"]:
                parts.append(self._required(found["name"]))
            else:
                end = _closing_brace(text, at)
                parts.append(self._braced(text[at:end], nesting))
                at = end + 1
        parts.append(text[at:])
        return "".join(parts)

    def _braced(self, inner: str, nesting: int) -> str:
        found = _BRACED.fullmatch(inner)
        if found is None:
            shown = inner if len(inner) <= _SHOWN else inner[:_SHOWN] + "…"
            raise InterpolationError(
                f"${{{shown}}} is not a variable; write ${{NAME}}, ${{NAME:-default}}, "
                "${NAME:?message} or ${NAME:+instead}, and $$ for a dollar sign"
            )
        name, operator, word = found["name"], found["operator"], found["word"] or ""
        value = self._look_up(name)
        # With the colon, an empty value counts as unset (POSIX shell, parameter expansion).
        given = value is not None and (value != "" or not found["colon"])
        if operator == "-" and not given:
            return self._substitute(word, nesting + 1)
        if operator == "+":
            return self._substitute(word, nesting + 1) if given else ""
        if operator == "?" and not given:
            message = self._substitute(word, nesting + 1)
            raise InterpolationError(_missing(name, message))
        return self._required(name) if value is None else value

    def _required(self, name: str) -> str:
        value = self._look_up(name)
        if value is None:
            raise InterpolationError(
                f"variable {name} is not set; write ${{{name}:-DEFAULT}} to give a default"
            )
        return value

    def _look_up(self, name: str) -> str | None:
        self.asked.add(name)
        value = self._environ.get(name)
        if value is None:
            return None
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InterpolationError(f"the value of variable {name} is not UTF-8") from None
        self._characters += len(value)
        if self._characters > _MAX_CHARACTERS:
            raise InterpolationError("the variables of this profile bring more than 1 MiB of text")
        return value


def _missing(name: str, message: str) -> str:
    said = f": {message}" if message else ""
    return f"required variable {name} is missing a value{said}"


def _closing_brace(text: str, start: int) -> int:
    """The index of the brace that closes the one right before `start`."""
    depth = 1
    for brace in _BRACE.finditer(text, start):
        depth += 1 if brace[0] == "${" else -1
        if depth == 0:
            return brace.start()
    raise InterpolationError(f"the brace of {text[start - 2 :][:40]!r} is never closed")
