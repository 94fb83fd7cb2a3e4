"""The names of hosts in ssh_config and known_hosts.

Owns the completion of host names. Quick to import and to run: runs no program, and does not read
settings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import pairwise

from tunnelctl.config.openssh.lines import ConfigLine, SshConfigError, every_line, read
from tunnelctl.config.openssh.reader import host_matches
from tunnelctl.spec.environment import home

SYSTEM_FILE = "/etc/ssh/ssh_config"
_READ_MAX = 1 << 20  # bytes of known_hosts
_PATTERN = frozenset("*?!")


class Aliases:
    """The names in Host lines (and Match host)."""

    def __init__(self, lines: Iterable[ConfigLine]) -> None:
        self._patterns = list(_patterns(lines))

    @cached_property
    def names(self) -> Mapping[str, None]:
        """Those without a wildcard, in the order of the file."""
        return dict.fromkeys(p for line in self._patterns for p in line if not set(p) & _PATTERN)

    def has_pattern_for(self, name: str) -> bool:
        """Whether a line with a pattern other than `*` applies to `name`."""
        return any(
            host_matches(name, patterns) and any(set(p) - set("*?") for p in patterns)
            for patterns in self._patterns
        )


def names_for(environ: Mapping[str, str]) -> Iterator[str]:
    """The hosts that a user may mean: aliases first, then earlier destinations. A file that cannot
    be read has none."""
    folder = home(environ) / ".ssh"
    for path, is_user in ((str(folder / "config"), True), (SYSTEM_FILE, False)):
        try:
            yield from Aliases(every_line(read([(path, is_user)], environ))).names
        except SshConfigError:
            continue
    try:
        with (folder / "known_hosts").open(encoding="utf-8", errors="replace") as file:
            text = file.read(_READ_MAX)
    except OSError:
        return
    for line in text.splitlines():
        yield from _known(line)


def _known(line: str) -> Iterator[str]:
    """The names of a line of known_hosts (sshd(8)) that are neither hashed nor patterns."""
    first = line.partition(" ")[0]
    if not first.startswith(("#", "@", "|")):
        for name in first.split(","):
            if not set(name) & _PATTERN:
                host, bracket, port = name.removeprefix("[").partition("]")
                yield f"{host}{port}" if bracket and ":" not in host else name


def _patterns(lines: Iterable[ConfigLine]) -> Iterator[list[str]]:
    for line in lines:
        try:
            words = line.words() if line.keyword in ("host", "match") else []
        except SshConfigError:
            continue  # reported where it matters
        if line.keyword == "host":
            yield words
        for criterion, value in pairwise(words):
            if line.keyword == "match" and criterion.lower() in ("host", "originalhost"):
                yield value.split(",")
