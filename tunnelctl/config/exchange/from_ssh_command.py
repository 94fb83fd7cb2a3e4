"""Converts a command line of ssh(1) or autossh(1) to a profile.

Owns the conversion of its ssh_config lines to hosts and forwards, and of a text to such a command
line: shell syntax, and programs before ssh that only run it. Must never run anything.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

from tunnelctl.config import sentences
from tunnelctl.config.exchange.from_ssh_config import add_forwards, are_cleared
from tunnelctl.config.exchange.imported import ANY_TARGET, Imported
from tunnelctl.config.exchange.ssh_command import NO_FILE, SshCommand, parse
from tunnelctl.config.exchange.ssh_options import is_already_so
from tunnelctl.config.openssh.keywords import FORWARDING, FORWARDS, RELEVANT
from tunnelctl.config.openssh.lines import TOKEN, ConfigLine, SshConfigError
from tunnelctl.config.openssh.lookup import Lookup, SshConfig, local_user
from tunnelctl.config.openssh.reader import Asked, Options, options_for
from tunnelctl.config.openssh.values import HostSettings, found
from tunnelctl.config.profile.keys import SSH_KEYWORDS
from tunnelctl.config.values.forward_specs import with_paths
from tunnelctl.home.paths import current_folder
from tunnelctl.spec.environment import expand_user, home

_ALWAYS_CHECKED = "host keys are always checked; see tunnelctl trust"
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_HOME = re.compile(r"(\$HOME|\$\{HOME\})(?=/)")
# Programs that only run the one after them, and have no effect on the tunnel.
_ONLY_RUN = ("command", "env", "exec", "nohup", "setsid", "time")
# Text that a message must not quote: values of variables, and the password of sshpass(1).
_SECRET = re.compile(r"""(^\s*\w+=|\ssshpass\s(?:.*\s)??-p\s*)('[^']*'|"[^"]*"|\S+)""")


def import_ssh_command(
    commands: Sequence[str],
    environ: Mapping[str, str],
    *,
    permit: Sequence[str] = (),
) -> Imported:
    """The forwards of command lines in shell syntax; one text may have several lines.

    Raises:
        Failure: usage; one is no command line of ssh, or says what ssh would refuse.
    """
    imported = Imported()
    for text in commands:
        for line in text.replace("\\\n", " ").splitlines():
            try:
                words = [_by_shell(word, environ) for word in shlex.split(line, comments=True)]
                if words:
                    _import(imported, words, environ, permit)
            except (SshConfigError, ValueError) as error:
                shown = _SECRET.sub(r"\1***", f" {line}").strip()
                raise sentences.ssh_command_invalid(shown, str(error)) from None
    return imported


def carry(
    imported: Imported,
    command: SshCommand,
    environ: Mapping[str, str],
    *,
    keys: Mapping[str, Any] | None = None,
    also: Mapping[str, tuple[str, ...]] | None = None,
    permit: Sequence[str] = (),
) -> None:
    """Add the forwards of a command line and those of `also`, with its host, which also gets
    `keys`.

    What cannot be converted is added to the command's `wishes` and `unmet`; a forward that no
    profile can have becomes a note.

    Raises:
        SshConfigError, ValueError: ssh would refuse what it says.
    """
    asked = Asked(command.name, local_user())
    everything = ConfigLine("the command line", 0, "include", "", (tuple(command.lines),))
    options = options_for(asked, (everything,))
    if options["hostname"][0] == asked.name.lower():
        del options["hostname"]
    forwarding = {key: value for key, value in options.items() if key in FORWARDING}
    for keyword in forwarding.keys() & set(FORWARDS):
        forwarding[keyword] = tuple(_written_out(command, forwarding[keyword]))
    forwarding = {**(also or {}), **forwarding}
    reaching = _reaching(command, asked, options, environ)
    settings, _ = found(asked, reaching, environ, SSH_KEYWORDS)
    written = {**_host_keys(settings, str(home(environ))), **(keys or {})}
    if command.config is not None:
        away = command.config.lower() in NO_FILE
        written["ssh_config"] = False if away else command.config
    if are_cleared(forwarding):
        imported.host(asked.name, written)
        command.wishes.append("ClearAllForwardings yes: nothing is forwarded")
        return
    optional = command.value("exitonforwardfailure") in ("no", "false")
    add_forwards(
        imported,
        forwarding,
        lambda: imported.host(asked.name, written),
        permit=permit,
        more={"required": False} if optional else None,
    )
    permits_any = forwarding.get("permitremoteopen") == (ANY_TARGET,)
    if permits_any and any("remote_dynamic" in rule for rule in imported.forwards.values()):
        command.wishes.append(
            f"PermitRemoteOpen any: SOCKS clients on {asked.name} can reach all that this machine "
            "reaches, and its loopback"
        )


def configured_forwards(command: SshCommand, environ: Mapping[str, str]) -> Options:
    """The forwards of ssh_config for the host of a command line, which ssh would open too.

    Raises:
        SshConfigError: ssh_config cannot be used.
    """
    source: bool | str = True if command.config is None else command.config
    if isinstance(source, str) and source.lower() in NO_FILE:
        source = False
    return SshConfig(environ, set(), SSH_KEYWORDS).forwarding(Lookup(command.name, source))


def _written_out(command: SshCommand, texts: Sequence[str]) -> Iterator[str]:
    """Those without tokens in a path, which would need everything known about the host."""
    for text in texts:
        try:
            yield with_paths(text, _without_tokens)
        except ValueError as error:
            command.unmet.append(str(error))


def _without_tokens(path: str) -> str:
    if TOKEN.search(path.replace("%%", "")):
        raise ValueError(f"{path!r}: it has tokens or variables of ssh; write them out")
    return path.replace("%%", "%")


def _import(
    imported: Imported, words: list[str], environ: Mapping[str, str], permit: Sequence[str]
) -> None:
    keys: dict[str, Any] = {}
    command = _command(imported, words, keys)
    if command.destination is None:
        raise ValueError("it names no host")
    before = len(imported.forwards) + len(imported.notes)
    configured = configured_forwards(command, environ)
    also = {key: value for key, value in configured.items() if key not in FORWARDS}
    carry(imported, command, environ, keys=keys, also=also, permit=permit)
    for note in (*command.wishes, *command.unmet):
        imported.note(note)
    if command.remote:
        imported.note(f"{' '.join(command.remote)}: no command is run on the server")
    if configured.keys() & FORWARDS:
        name = command.name
        imported.note(f"{name}: ssh_config forwards for it, too; see tunnelctl import ssh-config")
    if before == len(imported.forwards) + len(imported.notes):
        imported.note(f"{command.name}: the command has no -L, -R or -D")


def _reaching(
    command: SshCommand, asked: Asked, options: Options, environ: Mapping[str, str]
) -> Options:
    """The options for the way to the host, without those that a profile cannot express."""
    kept: Options = {}
    for keyword, values in options.items():
        if keyword not in RELEVANT:
            continue
        text = " ".join(values)
        if keyword == "userknownhostsfile" and any(value in NO_FILE for value in values):
            command.wishes.append(f"UserKnownHostsFile {text}: {_ALWAYS_CHECKED}")
            continue
        if keyword == "pkcs11provider":
            command.unmet.append(f"{text}: keys of a token come from an agent: ssh-add -s {text}")
            continue
        if keyword == "stricthostkeychecking" and text in ("false", "ask"):
            command.wishes.append(f"StrictHostKeyChecking {text}: {_ALWAYS_CHECKED}")
            continue
        if keyword == "rekeylimit" and text.split()[1] != "0":
            command.wishes.append(
                f"{keyword} {text}: new keys are made after bytes, not after a time"
            )
        alone, _ = found(asked, {keyword: values}, environ, SSH_KEYWORDS)
        if alone == HostSettings() and not is_already_so(keyword, text):
            command.wishes.append(f"{keyword} {text} has no counterpart here")
        kept[keyword] = values
    return kept


def _host_keys(settings: HostSettings, user_home: str) -> dict[str, Any]:
    """The keys of a host in the file."""
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
            keys[name] = _below_home(value, user_home) if name == "identity_agent" else value
    if "identity_file" in keys:  # which alone would imply identities_only, unlike -i of ssh
        keys.setdefault("identities_only", False)
    if settings.jumps:
        keys["proxy_jump"] = [str(jump) for jump in settings.jumps]
    if settings.command:
        keys["proxy_command"] = list(settings.command)
    return keys


def _below_home(path: str, user_home: str) -> str:
    below = path.removeprefix(f"{user_home}/")
    return path if below == path else f"~/{below}"


# --- a text for a shell --------------------------------------------------------------------


def _by_shell(word: str, environ: Mapping[str, str]) -> str:
    """A path in a home directory, as a shell passes it to ssh: `~/x`, `~bob/x`, `$HOME/x`."""
    if word.startswith("$"):
        return _HOME.sub(str(home(environ)), word, count=1)
    try:
        return expand_user(word, environ) if "/" in word else word
    except ValueError:  # a shell leaves it unchanged too
        return word


def _command(imported: Imported, words: list[str], keys: dict[str, Any]) -> SshCommand:
    """The command line of ssh in `words`; `keys` gets the settings of programs before it."""
    rest = list(words)
    if rest[-1] == "&":
        rest.pop()
    program = _program(imported, rest, keys)
    if program not in ("ssh", "autossh"):
        raise ValueError("it is no command line of ssh or autossh")
    return parse(rest, str(current_folder()), autossh=program == "autossh")


def _program(imported: Imported, rest: list[str], keys: dict[str, Any]) -> str:
    """The program after variables and programs that only run it; `rest` is what follows."""
    while rest:
        word = rest.pop(0)
        name = os.path.basename(word)
        if _ASSIGNMENT.match(word):
            variable = word.partition("=")[0]
            # The number of retries, which has no meaning here.
            if not variable.startswith("AUTOSSH_"):
                imported.note(f"{variable}=: a profile sets no variables")
        elif name == "sudo":
            imported.note("sudo: the daemon runs as you; root has one of its own")
        elif name == "sshpass":
            _take_password(imported, rest, keys)
        elif name not in _ONLY_RUN:
            return name
    return ""


def _take_password(imported: Imported, rest: list[str], keys: dict[str, Any]) -> None:
    """The options of sshpass(1), which end at the program that it runs."""
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        letter, argument = option[1:2], option[2:]
        if letter in tuple("pfdP") and not argument:
            argument = rest.pop(0) if rest else ""
        if letter == "f":
            keys["password"] = {"file": os.path.abspath(argument)}
        elif letter == "e":
            keys["password"] = {"env": argument or "SSHPASS"}
        elif letter in tuple("pd"):
            imported.note(
                f"sshpass -{letter}: a profile holds no password; see password in docs/profile.md"
            )
