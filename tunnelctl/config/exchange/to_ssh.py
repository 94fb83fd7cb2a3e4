"""Converts a profile to OpenSSH: command lines, or Host blocks of an ssh_config.

Owns the matching options, and the notes about what ssh cannot express. Must never write a line that
allows more than the profile does.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import replace

from tunnelctl.config import sentences
from tunnelctl.config.openssh.values import word
from tunnelctl.config.profile.keys import FORWARD_KEYS, HOST_KEYS
from tunnelctl.config.values.forward_specs import (
    ForwardSpec,
    dynamic_spec,
    end_text,
    in_family,
    local_spec,
    remote_spec,
    spec_of,
)
from tunnelctl.config.values.reach import Jump
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.forward import Forward, OnUnhealthy, Side
from tunnelctl.spec.host import (
    USERS_SHELL,
    Host,
    ProxyKind,
    Reconnect,
)
from tunnelctl.spec.permit import Permit
from tunnelctl.spec.profile import Profile

_READ = {"-L": local_spec, "-R": remote_spec, "-D": dynamic_spec}
_KEYWORD = {"-L": "LocalForward", "-R": "RemoteForward", "-D": "DynamicForward"}
_NC = {ProxyKind.SOCKS5: "5", ProxyKind.HTTP: "connect"}
_OUTAGE = (
    "ssh ends when its link does: have autossh or a service manager start it again "
    "(reconnect, while_down)"
)
_PORT = 22

# A keyword of ssh_config(5) and its value, as one line of a file.
Setting = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Exported:
    """Lines to use, and notes about what they lack, one sentence each."""

    lines: tuple[str, ...]
    notes: tuple[str, ...]


def as_commands(profile: Profile) -> Exported:
    """One `ssh -N …` for each host that carries a forward, in shell syntax.

    Raises:
        Failure: config-invalid; there is nothing that ssh could do.
    """
    notes: list[str] = []
    lines = [_command(host, rules, notes) for host, rules in _carriers(profile, notes)]
    return _exported(profile, lines, notes)


def as_blocks(profile: Profile) -> Exported:
    """A Host block for each host, including its hops.

    Raises:
        Failure: config-invalid; there is nothing that ssh could do.
    """
    notes: list[str] = []
    blocks = _Blocks()
    for host, rules in _carriers(profile, notes):
        blocks.add(host, rules, notes)
    return _exported(profile, list(blocks.lines()), notes)


def _exported(profile: Profile, lines: list[str], notes: list[str]) -> Exported:
    if not lines:
        raise sentences.nothing_for_ssh(profile.name, notes)
    return Exported(tuple(lines), (*dict.fromkeys(notes), _OUTAGE))


def _carriers(
    profile: Profile, notes: list[str]
) -> Iterator[tuple[Host, list[tuple[Forward, ForwardSpec]]]]:
    """The hosts with forwards that ssh can express, and these forwards."""
    for host in profile.hosts:
        rules = profile.forwards_via(host.name)
        if host.embedded:
            notes.append(f"{host.name}: embedded: true is a server inside of tunnelctl")
            continue
        left = [(rule, spec) for rule in rules if (spec := _spec(rule, notes)) is not None]
        if left:
            yield host, left


def _spec(rule: Forward, notes: list[str]) -> ForwardSpec | None:
    spec = spec_of(rule)
    if spec.side is Side.HERE and not spec.listen.is_unix and not spec.listen.port:
        notes.append(f"{rule.name}: ssh -L and -D take no port 0; choose one")
        return None
    try:
        same = _READ[spec.option](str(spec)) == spec
    except ValueError:
        same = False
    if not same or "${" in str(spec):
        notes.append(f"{rule.name}: ssh's syntax has no way to write {spec}")
        return None
    default = Forward(rule.name, rule.side, rule.listen, rule.target, rule.via)
    for name, key in FORWARD_KEYS.items():
        if key.omitted and getattr(rule, name) != getattr(default, name):
            notes.append(f"{rule.name}: {name} is left out: {key.omitted}")
    if not rule.probe.unasked and rule.on_unhealthy is OnUnhealthy.REPORT and rule.target:
        notes.append(f"{rule.name}: probe is left out: ssh asks no target")
    return spec


def _settings(host: Host, notes: list[str]) -> list[Setting]:
    """All settings of a host except name, user, port and the way to it."""
    default = Host(host.name, host.hostname)
    settings: list[Setting] = []
    for name, key in HOST_KEYS.items():
        value = getattr(host, name, None)  # the spec has no ssh_config
        is_given = value != getattr(default, name, None)
        if key.ssh is not None and key.ssh.write is not None and (is_given or key.ssh.always):
            settings += [(key.ssh.name, line) for line in key.ssh.write(value)]
        elif key.omitted and is_given:
            notes.append(f"{host.name}: {name} is left out: {key.omitted}")
    if host.reconnect.give_up_after != Reconnect().give_up_after:
        notes.append(f"{host.name}: give_up_after is left out: ssh tries once")
    return settings


def _forward_settings(
    host: Host, rules: list[tuple[Forward, ForwardSpec]], notes: list[str]
) -> list[Setting]:
    """Settings for all forwards of a host."""
    required = {rule.required for rule, _ in rules}
    settings = [("ExitOnForwardFailure", "yes" if True in required else "no")]
    if len(required) > 1:
        notes.append(f"{host.name}: for ssh every forward is required, or none")
    notes += [note for rule, spec in rules if (note := _narrowed(host, rule, spec))]
    permits = {rule.name: rule.permit for rule, spec in rules if spec.key == "remote_dynamic"}
    if permits:
        if len(set(permits.values())) > 1:
            names = ", ".join(permits)
            notes.append(f"{host.name}: for ssh the permit of {names} is one: all may reach all")
        lines = dict.fromkeys(line for permit in permits.values() for line in permit)
        written = [word for line in lines if (word := _permitted(host, line, notes))]
        settings.append(("PermitRemoteOpen", " ".join(written) or "none"))
    return settings


def _narrowed(host: Host, rule: Forward, spec: ForwardSpec) -> str | None:
    """The addresses that a local listener loses: AddressFamily of ssh applies to listeners too."""
    if spec.side is Side.THERE:
        return None
    try:
        listen = in_family(spec.listen, host.address_family)
    except ValueError as error:
        return f"{rule.name}: ssh will not listen on {error}"
    if listen == spec.listen:
        return None
    return f"{rule.name}: ssh listens only on {listen}: AddressFamily applies to listeners too"


def _permitted(host: Host, permit: Permit, notes: list[str]) -> str | None:
    port = "*" if permit.port is None else str(permit.port)
    network = permit.network
    if network is not None and network.num_addresses == 1:
        return str(Jump(str(network.network_address))) + f":{port}"
    if network is not None or permit.name.startswith("*."):
        notes.append(
            f"{host.name}: permit {permit.name or network}:{port} is left out: "
            "ssh permits single hosts alone"
        )
        return None
    return f"{permit.name}:{port}"


def _command(host: Host, rules: list[tuple[Forward, ForwardSpec]], notes: list[str]) -> str:
    words = ["ssh", "-N"]
    for keyword, value in _forward_settings(host, rules, notes):
        words += ["-o", f"{keyword}={value}"]
    for _, spec in rules:
        words += [spec.option, _forward_text(spec, ":")]
    return shlex.join([*words, *_way(host, notes), *_reaching(host, notes)])


def _reaching(host: Host, notes: list[str]) -> list[str]:
    """Options and the destination."""
    words: list[str] = []
    for keyword, value in _settings(host, notes):
        words += ["-o", f"{keyword}={value}"]
    if host.port != _PORT:
        words += ["-p", str(host.port)]
    user = f"{host.user}@" if host.user else ""
    return [*words, f"{user}{host.hostname}"]


def _way(host: Host, notes: list[str]) -> list[str]:
    """-J if the hops need no options of their own, else the equivalent ProxyCommand."""
    hops = host.proxy_jump
    if hops and all(_is_plain(hop) for hop in hops):
        names = [str(Jump(h.hostname, h.user, None if h.port == _PORT else h.port)) for h in hops]
        return ["-J", ",".join(names)]
    command = _through(hops, notes) if hops else _proxy_command(host, notes)
    return ["-o", f"ProxyCommand={command}"] if command else []


def _through(hops: tuple[Host, ...], notes: list[str]) -> str:
    """A command that ends at the last hop, as a value of ProxyCommand."""
    *before, last = hops
    own = replace(last, proxy_jump=tuple(before)) if before else last
    command = shlex.join(["ssh", *_way(own, notes), "-W"]).replace("%", "%%")
    rest = shlex.join(_reaching(last, notes)).replace("%", "%%")
    return f"{command} '[%h]:%p' {rest}"


def _is_plain(hop: Host) -> bool:
    plain = Host(hop.name, hop.hostname, hop.port, hop.user)
    return _settings(hop, []) == _settings(plain, []) and not (
        hop.proxy_jump or hop.proxy_command or hop.proxy
    )


def _proxy_command(host: Host, notes: list[str]) -> str:
    """The value of ProxyCommand, or nothing."""
    if host.proxy_command:
        words = host.proxy_command
        # ssh runs every line with this shell, and puts `exec` before it.
        is_line = len(words) == 3 and words[:2] == (USERS_SHELL, "-c")
        return words[2].removeprefix("exec ") if is_line else shlex.join(words)
    if host.proxy is None:
        return ""
    if host.proxy.user is not None:
        notes.append(f"{host.name}: the proxy's user and password are left out: nc asks for them")
    notes.append(f"{host.name}: proxy becomes a ProxyCommand, which needs OpenBSD's nc")
    address = str(Jump(host.proxy.hostname, port=host.proxy.port))
    return f"{shlex.join(['nc', '-X', _NC[host.proxy.kind], '-x', address])} %h %p"


class _Blocks:
    """Host blocks by name, each once."""

    def __init__(self) -> None:
        self._blocks: dict[str, list[str]] = {}

    def add(self, host: Host, rules: list[tuple[Forward, ForwardSpec]], notes: list[str]) -> None:
        """Add a block for a host that carries forwards."""
        settings = [*self._reaching(host, notes), *_forward_settings(host, rules, notes)]
        settings += [(_KEYWORD[s.option], _forward_text(s, " ")) for _, s in rules]
        self._name(host.name, settings)

    def lines(self) -> Iterator[str]:
        """All blocks, in the form of a file."""
        for name, lines in self._blocks.items():
            yield f"Host {name}"
            yield from (f"    {line}" for line in lines)

    def _reaching(self, host: Host, notes: list[str]) -> list[Setting]:
        settings: list[Setting] = [("HostName", host.hostname.replace("%", "%%"))]
        if host.port != _PORT:
            settings.append(("Port", str(host.port)))
        if host.user:
            settings.append(("User", word(host.user)))
        if host.proxy_jump:
            hops = [self._name(hop.name, self._reaching(hop, notes)) for hop in host.proxy_jump]
            settings.append(("ProxyJump", ",".join(str(Jump(name)) for name in hops)))
        command = _proxy_command(host, notes)
        if command:
            settings.append(("ProxyCommand", command))
        return settings + _settings(host, notes)

    def _name(self, name: str, settings: list[Setting]) -> str:
        """Add a block of that name, with a number if another block has it."""
        lines = [f"{keyword} {value}" for keyword, value in settings]
        unique, number = name, 2
        while self._blocks.setdefault(unique, lines) != lines:
            unique, number = f"{name}-{number}", number + 1
        return unique


def _forward_text(spec: ForwardSpec, between: str) -> str:
    """A forward with an explicit address: that of a bare port depends on GatewayPorts."""
    ends = (spec.listen,) if spec.target is None else (spec.listen, spec.target)
    texts = [end_text(end).replace("%", "%%") if end.is_unix else str(end) for end in ends]
    return between.join(word(t) if between == " " else t for t in texts)
