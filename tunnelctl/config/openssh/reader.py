"""Our own reader of ssh_config(5), for machines without OpenSSH's client.

Owns which block applies to a name, and which value of a keyword wins (OpenSSH's readconf.c is the
reference; syntax and values are in lines.py and keywords.py). Returns what `ssh -G` would print,
for the keywords that have a meaning here, and refuses what ssh refuses: a file with an unknown
line, in whatever block. Must never run a program: what only a program or a lookup could decide is
refused in one sentence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import field

from tunnelctl.config.openssh.keywords import ADD_UP, KEYWORDS, KNOWN, RAW, REST_OF_LINE, check_hops
from tunnelctl.config.openssh.lines import ConfigLine, SshConfigError, lowercase
from tunnelctl.errors import printable
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.ssh_patterns import matches_pattern

# The result for one name: by keyword in lower case, as `ssh -G` prints it.
Options = dict[str, tuple[str, ...]]

_WITHOUT_ARGUMENT = ("all", "canonical", "final")
_DECIDED = (*_WITHOUT_ARGUMENT, "host", "originalhost", "user", "localuser")
_UNDECIDED = ("exec", "localnetwork", "version", "tagged", "command", "sessiontype")
_MAY_BE_EMPTY = ("tagged", "command")


@dataclass(frozen=True, slots=True)
class Asked:
    """The name to look up, the settings of the profile for it, and the user."""

    name: str
    local_user: str
    given: Mapping[str, str] = field(default_factory=dict)  # hostname, user, port, proxyjump


def host_matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a Host line applies to `name`: one of its patterns matches, and none with a `!`."""
    if any(p.startswith("!") and matches_pattern(name, p[1:]) for p in patterns):
        return False
    return any(not p.startswith("!") and matches_pattern(name, p) for p in patterns)


def options_for(asked: Asked, lines: Sequence[ConfigLine]) -> Options:
    """The settings of a name in the files; the first value of a keyword wins, as in OpenSSH.

    Raises:
        SshConfigError: a line that OpenSSH refuses, or where only a program could tell what
            applies.
    """
    first = _Pass(asked, asked.name, {})
    first.run(lines)
    if not first.wants_final:
        return _printed(first.result())
    found = first.result()
    hostname = found["hostname"][0]
    found["hostname"] = (hostname.replace("%", "%%"),)
    final = _Pass(asked, hostname, found, is_final=True)
    final.run(lines)
    return _printed(final.result())


def _printed(found: Options) -> Options:
    """With both parts of RekeyLimit in one value, as `ssh -G` prints it."""
    if limit := found.get("rekeylimit"):
        found["rekeylimit"] = (" ".join((*limit, "0")[:2]),)
    return found


class _Pass:
    """One pass over all files. The second one (`Match final`) knows the real host name."""

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
        # Kept apart from the first pass, because they add up.
        self._lists: dict[str, list[str]] = {
            keyword: list(options.pop(keyword, ())) for keyword in ADD_UP
        }

    def run(self, lines: Sequence[ConfigLine]) -> None:
        for line in lines:
            for file in line.files:
                self._file(file, is_active=True, is_reachable=True)

    def result(self) -> Options:
        """The result, with the host name in any case."""
        found: Options = {**self.options, "hostname": (lowercase(self._hostname()),)}
        found.update({keyword: tuple(v) for keyword, v in self._lists.items() if v})
        return found

    def _hostname(self) -> str:
        """HostName with its tokens, which are checked when it is used."""
        if "hostname" not in self.options:
            return self._asked.name
        values = {"h": self._asked.name, "%": "%"}
        written = self.options["hostname"][0]
        try:
            return re.sub(r"%(.?)", lambda found: values[found[1]], written)
        except KeyError:
            message = f"HostName {printable(written)} has a token other than %h and %%"
            raise SshConfigError(message) from None

    def _file(self, lines: Sequence[ConfigLine], *, is_active: bool, is_reachable: bool) -> None:
        for line in lines:
            if line.keyword not in KNOWN:
                self._refuse_unknown(line)
            words = line.words()
            if line.keyword == "host":
                if not all(words):
                    raise line.error("host has an empty value")
                is_active = is_reachable and host_matches(self._host, words)
            elif line.keyword == "match":
                is_active = self._match(line, words, is_reachable) and is_reachable
            elif line.keyword == "include":
                for file in line.files:
                    self._file(file, is_active=is_active, is_reachable=is_active and is_reachable)
            elif line.keyword in KNOWN:
                self._set(line, words, is_active=is_active and is_reachable)

    def _refuse_unknown(self, line: ConfigLine) -> None:
        """Unless a pattern of IgnoreUnknown matches it, which applies from its line on."""
        ignored = self.options.get("ignoreunknown", ("",))[0]
        if not host_matches(line.keyword, lowercase(ignored).split(",")):
            word = printable(line.keyword)
            raise line.error(f"'{word}' is no keyword of ssh_config, and ssh refuses the file too")

    def _match(self, line: ConfigLine, words: Sequence[str], is_reachable: bool) -> bool:
        """Whether a Match line applies; an undecided criterion does not matter if others fail."""
        applies, undecided = True, ""
        for criterion, value, is_negated in _criteria(line, words):
            if criterion in _UNDECIDED:
                undecided = undecided or criterion
            else:
                applies &= self._criterion(criterion, value) is not is_negated
                self.wants_final |= criterion == "final" and not is_negated and not self._is_final
        if applies and undecided and is_reachable:
            raise line.error(
                f"Match {undecided} is not decided here; install OpenSSH's client, which can"
            )
        return applies

    def _criterion(self, criterion: str, patterns: str) -> bool:
        if criterion == "all":
            return True
        if criterion in ("canonical", "final"):
            return self._is_final
        if criterion in ("host", "originalhost"):
            subject = self._hostname() if criterion == "host" else self._asked.name
            return host_matches(lowercase(subject), lowercase(patterns).split(","))
        user = self._asked.local_user
        if criterion == "user":
            user = self.options.get("user", (user,))[0]
        return host_matches(user, patterns.split(","))

    def _set(self, line: ConfigLine, words: list[str], *, is_active: bool) -> None:
        """Check the value of a line, and use it if its block applies."""
        if line.keyword in RAW:
            if line.keyword == "proxyjump":
                _check_hops(line)
            if is_active and self._has_no_way(line.keyword):
                self.options[line.keyword] = (_rest(line),)
            return
        if line.keyword in REST_OF_LINE:
            if is_active:
                self.options.setdefault(line.keyword, (_rest(line),))
            return
        try:
            values = KEYWORDS[line.keyword](words)
        except (ValueError, KeyError, IndexError):
            value = printable(" ".join(words))
            raise line.error(f"'{value}' is not a value of {line.keyword}") from None
        if not is_active:
            return
        if line.keyword in ADD_UP:
            known = self._lists[line.keyword]
            known += [path for path in values if path not in known]
            return
        if _needs_a_look_up(line.keyword, values):
            raise line.error("a name is not looked up here; install OpenSSH's client, which can")
        if line.keyword == "refuseconnection":
            raise line.error(f"RefuseConnection: {printable(values[0])}")
        if line.keyword == "rekeylimit":
            before = self.options.get(line.keyword, ())
            self.options[line.keyword] = (*before, *values[len(before) :])
        elif values:
            self.options.setdefault(line.keyword, values)

    def _has_no_way(self, keyword: str) -> bool:
        """Whether a ProxyJump or ProxyCommand counts: the first one does; a ProxyJump of none
        leaves the other open."""
        jump = self.options.get("proxyjump")
        if keyword == "proxyjump":
            return jump is None and "proxycommand" not in self.options
        return "proxycommand" not in self.options and jump in (None, ("none",))


def _needs_a_look_up(keyword: str, value: Sequence[str]) -> bool:
    if keyword == "canonicalizehostname":
        return value != ("no",)
    return keyword == "canonicalizepermittedcnames" and lowercase(value[0]) != "none"


def _rest(line: ConfigLine) -> str:
    """The value of a keyword that takes the whole line; a hop also ends at a `#`."""
    rest = line.rest.lstrip(" \t\r\n=")
    if line.keyword == "proxyjump":
        is_none = lowercase(rest) == "none"
        return "none" if is_none else rest.partition("#")[0].rstrip(" \t\r\n\f\v")
    return rest


def _check_hops(line: ConfigLine) -> None:
    try:
        check_hops(_rest(line))
    except ValueError:
        raise line.error(f"'{printable(_rest(line))}' is not a value of proxyjump") from None


def _criteria(line: ConfigLine, words: Sequence[str]) -> list[tuple[str, str, bool]]:
    """Each criterion of a Match line with its value, and whether a `!` is before it.

    Raises:
        SshConfigError: what match_cfg_line of readconf.c refuses.
    """
    found: list[tuple[str, str, bool]] = []
    rest = iter(words)
    for word in rest:
        if word.startswith("#"):
            break
        criterion, joined, value = lowercase(word.removeprefix("!")).partition("=")
        if criterion == "all" and not joined:
            if len(found) > 1 or (next(rest, "#") or "#")[0] != "#":
                raise line.error("Match all stands alone, or after canonical or final")
            found.append((criterion, "", word.startswith("!")))
            return found
        if criterion not in (*_DECIDED, *_UNDECIDED) or (joined and criterion in _WITHOUT_ARGUMENT):
            raise line.error(f"'{printable(word)}' is no criterion of Match")
        if criterion not in _WITHOUT_ARGUMENT:
            value = word.partition("=")[2] if joined else next(rest, "#")
            if value.startswith("#") or (not value and criterion not in _MAY_BE_EMPTY):
                raise line.error(f"Match {criterion} has no value")
        found.append((criterion, value, word.startswith("!")))
    if not found:
        raise line.error("Match has no criterion")
    return found
