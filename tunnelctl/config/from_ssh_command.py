"""A command line of ssh(1) or autossh(1), as a profile.

Owns which options there are, which of them a profile has words for, and which say what is so here
anyhow. What is left is noted by name. Never runs anything.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tunnelctl.config.from_ssh_config import add_forwards
from tunnelctl.config.imported import Imported
from tunnelctl.config.sshconfig import Question, SshConfig, local_user
from tunnelctl.config.sshkeywords import FORWARDING, RELEVANT
from tunnelctl.config.sshlines import Line, SshConfigError, quoted, statement
from tunnelctl.config.sshreader import Asked, Options, options_for
from tunnelctl.config.sshvalues import Found, found
from tunnelctl.config.ways import Jump, parse_jump
from tunnelctl.errors import Code, Failure
from tunnelctl.spec.environment import home

_WITH_ARGUMENT = frozenset("bceilmopBDEFIJLOQRSWw")
# Options that are keywords of ssh_config(5), too. No blank can part the words of the last three.
_KEYWORDS = {
    "b": "bindaddress",
    "i": "identityfile",
    "l": "user",
    "p": "port",
    "c": "ciphers",
    "m": "macs",
}
_FAMILIES = {"4": "inet", "6": "inet6"}
_RAW_KEYWORDS = {"J": "proxyjump"}
_FORWARDS = {"L": "localforward", "R": "remoteforward", "D": "dynamicforward"}
# What a tunnel does anyhow: no command, no terminal, no agent or X11 on the server, no prompts.
_ANYHOW = frozenset("NfTnqvxakt")
_WHY = {
    "C": "nothing is compressed, so that no secret can be guessed from a packet's length",
    "M": "every profile has a connection of its own",
    "S": "every profile has a connection of its own",
    "W": "standard input and output are not forwarded",
    "w": "network devices are not forwarded",
}
# Values that say what is so here anyhow; `*` is every value.
_NO = ("no", "false", "none")
_HARMLESS = {
    "batchmode": ("*",),
    "loglevel": ("*",),
    "requesttty": ("*",),
    "sessiontype": ("none",),
    "stdinnull": ("*",),
    "forkafterauthentication": ("*",),
    "tcpkeepalive": ("*",),
    "controlmaster": _NO,
    "controlpath": _NO,
    "controlpersist": _NO,
    "permitlocalcommand": _NO,
    "forwardagent": _NO,
    "forwardx11": _NO,
    "compression": _NO,
    "checkhostip": ("*",),
    "visualhostkey": _NO,
    "proxyusefdpass": _NO,
    "canonicalizehostname": _NO,
    "proxyjump": _NO,
    "proxycommand": _NO,
    "identityfile": _NO,
    "exitonforwardfailure": ("yes", "true"),
    "clearallforwardings": _NO,
}
_ALWAYS_CHECKED = "host keys are always checked; see tunnelctl trust"
_WRITTEN = {
    "stricthostkeychecking": "StrictHostKeyChecking",
    "userknownhostsfile": "UserKnownHostsFile",
}
_NOWHERE = ("none", os.devnull)
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
# Programs that only run the one behind them, and say nothing of the tunnel.
_ONLY_RUN = ("command", "env", "exec", "nohup", "setsid", "time")
# What a message may not repeat: the value of a variable, and the password of sshpass(1).
_SECRET = re.compile(r"""(^\s*\w+=|\ssshpass\s(?:.*\s)??-p\s*)('[^']*'|"[^"]*"|\S+)""")


@dataclass
class _Command:
    """What one command line says."""

    lines: list[Line] = field(default_factory=list)
    config: str | None = None
    destination: str | None = None
    notes: list[str] = field(default_factory=list)
    password: dict[str, str] | None = None  # where it is, as a profile says it

    def say(self, keyword: str, value: str, where: str) -> None:
        self.lines.append(Line(where, 0, keyword, value))

    @property
    def name(self) -> str:
        return self.destination or ""


def import_ssh_command(
    commands: Sequence[str],
    environ: Mapping[str, str],
    *,
    permit: Sequence[str] = (),
) -> Imported:
    """The forwards of command lines as a shell takes them; one text may hold several lines.

    Raises:
        Failure: usage; one is no command line of ssh, or says what ssh would refuse.
    """
    imported = Imported()
    for text in commands:
        for line in text.replace("\\\n", " ").splitlines():
            try:
                words = shlex.split(line, comments=True)
                if words:
                    _add(imported, _parsed(words), environ, permit)
            except (SshConfigError, ValueError) as error:
                shown = _SECRET.sub(r"\1***", f" {line}").strip()
                raise Failure(Code.USAGE, f"{shown}: {error}") from None
    return imported


def _add(
    imported: Imported,
    command: _Command,
    environ: Mapping[str, str],
    permit: Sequence[str],
) -> None:
    for note in command.notes:
        imported.note(note)
    asked = Asked(command.name, local_user())
    everything = Line("the command line", 0, "include", "", (tuple(command.lines),))
    options = options_for(asked, (everything,))
    if options["hostname"][0] == asked.name.lower():
        del options["hostname"]
    forwarding = {key: value for key, value in options.items() if key in FORWARDING}
    reaching = _reaching(imported, asked, options, environ)
    settings, _ = found(asked, reaching, environ)
    keys = _host_keys(settings, str(home(environ)))
    if command.config is not None:
        away = command.config.lower() in _NOWHERE
        keys["ssh_config"] = False if away else os.path.abspath(command.config)
    if command.password is not None:
        keys["password"] = command.password
    said = {line.keyword: line.rest.lower() for line in reversed(command.lines)}
    if said.get("clearallforwardings") in ("yes", "true"):
        imported.note("ClearAllForwardings takes every forward of the command away")
        return
    optional = said.get("exitonforwardfailure") in ("no", "false")
    before = len(imported.forwards) + len(imported.notes)
    add_forwards(
        imported,
        forwarding,
        lambda: imported.host(asked.name, keys),
        permit=permit,
        more={"required": False} if optional else None,
    )
    source = keys.get("ssh_config", True)
    if SshConfig(environ, set()).forwarding(Question(asked.name, source)):
        imported.note(
            f"{asked.name}: ssh_config forwards for it, too; see tunnelctl import ssh-config"
        )
    if before == len(imported.forwards) + len(imported.notes):
        imported.note(f"{asked.name}: the command has no -L, -R or -D")


def _reaching(
    imported: Imported, asked: Asked, options: Options, environ: Mapping[str, str]
) -> Options:
    """What says how the host is reached, without what a profile has no words for."""
    kept: Options = {}
    for keyword, values in options.items():
        if keyword not in RELEVANT:
            continue
        text = " ".join(values)
        if keyword == "userknownhostsfile" and any(value in _NOWHERE for value in values):
            imported.note(f"{_WRITTEN[keyword]} {text}: {_ALWAYS_CHECKED}")
            continue
        if keyword == "pkcs11provider":
            imported.note(f"{text}: keys of a token come from an agent: ssh-add -s {text}")
            continue
        if keyword == "stricthostkeychecking" and text in ("false", "ask"):
            imported.note(f"{_WRITTEN[keyword]} {text}: {_ALWAYS_CHECKED}")
            continue
        if keyword == "rekeylimit" and text.split()[1] != "0":
            imported.note(f"{keyword} {text}: new keys are made after bytes, not after a time")
        alone, _ = found(asked, {keyword: values}, environ)
        if alone == Found() and not _is_harmless(keyword, text):
            imported.note(f"{keyword} {text} has no counterpart here")
        kept[keyword] = values
    return kept


def _host_keys(settings: Found, user_home: str) -> dict[str, Any]:
    """The keys of a host of the file."""
    keys: dict[str, Any] = {}
    for name, value in settings.fields.items():
        if name in ("connect_timeout", "server_alive_interval"):
            keys[name] = f"{value:g}s"
        elif name == "known_hosts_command":
            keys[name] = list(value)
        elif isinstance(value, tuple):
            keys[name] = [_below_home(one, user_home) for one in value]
        elif isinstance(value, StrEnum):
            keys[name] = str(value)
        else:
            is_path = name in ("identity_agent", "revoked_host_keys")
            keys[name] = _below_home(value, user_home) if is_path else value
    if "identity_file" in keys:  # which alone would imply it, unlike -i of ssh
        keys.setdefault("identities_only", False)
    if settings.jumps:
        keys["proxy_jump"] = [str(jump) for jump in settings.jumps]
    if settings.command:
        keys["proxy_command"] = list(settings.command)
    return keys


def _below_home(path: str, user_home: str) -> str:
    below = path.removeprefix(f"{user_home}/")
    return path if below == path else f"~/{below}"


def _parsed(words: Sequence[str]) -> _Command:
    command = _Command()
    rest = list(words)
    if rest[-1] == "&":
        rest.pop()
    program = _program(command, rest)
    if program not in ("ssh", "autossh"):
        raise ValueError("it is no command line of ssh or autossh")
    is_autossh = program == "autossh"
    for option, argument in _options(rest, "M" if is_autossh else ""):
        if is_autossh and option == "M":
            if argument.partition(":")[0] != "0":
                command.notes.append(
                    f"-M {argument}: server_alive_interval notices a silent server, no port does"
                )
        elif option:
            _take(command, option, argument)
        elif command.destination is None:
            _go_to(command, argument)
        else:
            command.notes.append(f"{argument}: no command is run on the server")
    if command.destination is None:
        raise ValueError("it names no host")
    return command


def _program(command: _Command, rest: list[str]) -> str:
    """The program that is meant, behind variables and programs that only run it; `rest` is what
    follows."""
    while rest:
        word = rest.pop(0)
        name = os.path.basename(word)
        if _ASSIGNMENT.match(word):
            variable = word.partition("=")[0]
            if not variable.startswith("AUTOSSH_"):  # how often it tries, which is no question here
                command.notes.append(f"{variable}=: a profile sets no variables")
        elif name == "sudo":
            command.notes.append("sudo: the daemon runs as you; root has one of its own")
        elif name == "sshpass":
            _take_password(command, rest)
        elif name not in _ONLY_RUN:
            return name
    return ""


def _take_password(command: _Command, rest: list[str]) -> None:
    """The options of sshpass(1), which end at the program that it runs."""
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        letter, argument = option[1:2], option[2:]
        if letter in tuple("pfdP") and not argument:
            argument = rest.pop(0) if rest else ""
        if letter == "f":
            command.password = {"file": os.path.abspath(argument)}
        elif letter == "e":
            command.password = {"env": argument or "SSHPASS"}
        elif letter in tuple("pd"):
            command.notes.append(
                f"sshpass -{letter}: a profile holds no password; see password in docs/profile.md"
            )


def _options(words: list[str], with_argument: str) -> Iterator[tuple[str, str]]:
    """Option and argument; ("", WORD) for the host, and for the command after it as one."""
    takes = _WITH_ARGUMENT | set(with_argument)
    rest, ended, host_seen = list(words), False, False
    while rest:
        word = rest.pop(0)
        ended = ended or word == "--"
        if word == "--":
            continue
        if ended or not word.startswith("-") or word == "-":
            if host_seen:
                yield "", " ".join([word, *rest])
                return
            host_seen = True
            yield "", word
            continue
        letters = word[1:]
        while letters:
            option, letters = letters[0], letters[1:]
            if option not in takes:
                yield option, ""
                continue
            if not letters and not rest:
                raise ValueError(f"-{option} needs an argument")
            yield option, letters or rest.pop(0)
            letters = ""


def _go_to(command: _Command, destination: str) -> None:
    jump = parse_jump(destination) if destination.startswith("ssh://") else _name(destination)
    command.destination = jump.name
    if jump.user is not None:
        command.say("user", quoted(jump.user), destination)
    if jump.port is not None:
        command.say("port", str(jump.port), destination)


def _name(destination: str) -> Jump:
    """`[user@]name`: outside a URI a colon is part of an IPv6 address."""
    user, at, name = destination.rpartition("@")
    bare = parse_jump(f"[{name}]" if ":" in name else name)
    return Jump(bare.name, user if at else None)


def _take(command: _Command, option: str, argument: str) -> None:
    """One option other than those of autossh."""
    if option == "o":
        _configure(command, argument)
    elif option == "F":
        command.config = argument
    elif option == "g":
        command.say("gatewayports", "yes", "-g")
    elif option in _FORWARDS:
        if " " in argument:
            command.notes.append(f"-{option} {argument}: a path with a blank is not carried over")
        else:
            command.say(_FORWARDS[option], quoted(argument), f"-{option}")
    elif option in _FAMILIES:
        command.say("addressfamily", _FAMILIES[option], f"-{option}")
    elif option in _RAW_KEYWORDS:
        command.say(_RAW_KEYWORDS[option], argument, f"-{option}")
    elif option in _KEYWORDS:
        command.say(_KEYWORDS[option], quoted(argument), f"-{option} {argument}")
    elif option not in _ANYHOW:
        why = _WHY.get(option, "it has no counterpart here")
        command.notes.append(f"{f'-{option} {argument}'.strip()}: {why}")


def _configure(command: _Command, text: str) -> None:
    line = statement(text, f"-o {text}")
    if line is None:
        raise ValueError(f"-o {text!r} is not KEYWORD=VALUE")
    known = line.keyword in RELEVANT or line.keyword in FORWARDING
    decides = line.keyword in ("exitonforwardfailure", "clearallforwardings")
    if known or decides:
        command.lines.append(line)
    elif not _is_harmless(line.keyword, line.rest):
        command.notes.append(f"-o {text}: it has no counterpart here")


def _is_harmless(keyword: str, value: str) -> bool:
    values = _HARMLESS.get(keyword, ())
    return "*" in values or value.strip().lower() in values
