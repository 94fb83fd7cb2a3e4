"""The unit files for systemd and launchd.

Pure: text in, text out. Each file has a mark with the digest of its other lines, so that an edited
file is recognized. A unit must never contain a secret.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import field
from enum import StrEnum
from pathlib import Path

from tunnelctl import __version__
from tunnelctl.home.paths import CONFIG_DIR_VARIABLE, SOCKET_VARIABLE, xdg_dir
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.environment import home

NAME = "tunnelctl"
LABEL = "tunnelctl.daemon"  # launchd's name for it
# Variables that a service does not inherit from the installing shell, but must share with it.
_PASSED_ON = (CONFIG_DIR_VARIABLE, SOCKET_VARIABLE, "XDG_CONFIG_HOME", "XDG_STATE_HOME")
_MARK = re.compile(r"^.*\btunnelctl-service sha256:([0-9a-f]{64}).*\n", re.MULTILINE)
# Temporary failures are retried; an invalid profile, a wrong key or wrong usage is not.
_NO_RESTART = (2, 66, 77, 78)


class UnitManager(StrEnum):
    """The manager that starts the service."""

    SYSTEMD = "systemd"
    LAUNCHD = "launchd"


@dataclass(frozen=True, slots=True)
class Service:
    """The command to start, and its user. `system` means at boot, as `account`; otherwise at login.

    `socket` is where the daemon listens, `environment` its variables.
    """

    command: tuple[str, ...]
    system: bool
    socket: Path
    log: Path
    account: str = "root"
    environment: Mapping[str, str] = field(default_factory=dict)


def environment_of(environ: Mapping[str, str], cwd: Path, *, system: bool) -> dict[str, str]:
    """The variables that the service needs to find the same files as commands."""
    if system:
        return {SOCKET_VARIABLE: f"/run/{NAME}/control.sock", "XDG_STATE_HOME": "/var/lib"}
    kept = {name: environ[name] for name in _PASSED_ON if environ.get(name)}
    relative = {CONFIG_DIR_VARIABLE, SOCKET_VARIABLE} & kept.keys()
    return {**kept, **{name: str(cwd / kept[name]) for name in relative}}


def files(manager: UnitManager, service: Service, environ: Mapping[str, str]) -> dict[Path, str]:
    """The text of every file, by its path."""
    if manager is UnitManager.LAUNCHD:
        folder = (
            Path("/Library/LaunchDaemons")
            if service.system
            else home(environ) / "Library/LaunchAgents"
        )
        return {folder / f"{LABEL}.plist": _plist(service)}
    folder = (
        Path("/etc/systemd/system")
        if service.system
        else xdg_dir(environ, "XDG_CONFIG_HOME", ".config") / "systemd/user"
    )
    return {
        folder / f"{NAME}.service": _marked(_service_unit(service), "# {}"),
        folder / f"{NAME}.socket": _marked(_socket_unit(service), "# {}"),
    }


def is_as_written(text: str) -> bool:
    """Whether a file has our mark, and is unchanged."""
    mark = _MARK.search(text)
    return mark is not None and mark[1] == _digest(_MARK.sub("", text, count=1))


def _marked(text: str, comment: str, below: int = 0) -> str:
    """The text with a mark after so many lines."""
    mark = (
        f"Written by tunnelctl {__version__}. tunnelctl-service sha256:{_digest(text)}; "
        "changed by hand it is yours, and left alone."
    )
    lines = text.splitlines(keepends=True)
    return "".join([*lines[:below], f"{comment.format(mark)}\n", *lines[below:]])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _service_unit(service: Service) -> str:
    in_fleet = "--fleet" in service.command
    where = ["[Install]", f"WantedBy={'multi-user' if service.system else 'default'}.target"]
    lines = [
        "[Unit]",
        "Description=tunnelctl, keeps SSH tunnels up",
        f"Requires={NAME}.socket",
        f"After={NAME}.socket network.target",
        "",
        "[Service]",
        "Type=notify",
        f"ExecStart={_words(service.command)}",
        "ExecReload=/bin/kill -HUP $MAINPID",
        # Notified only while the daemon's loop makes progress.
        *(["# The daemon shortens it to less than the margin of its lease."] if in_fleet else []),
        "WatchdogSec=30",
        "TimeoutStopSec=15",
        "Restart=on-failure",
        "RestartSec=2",
        f"RestartPreventExitStatus={' '.join(map(str, _NO_RESTART))}",
        *(f"Environment={_word(f'{n}={v}')}" for n, v in service.environment.items()),
        f"RuntimeDirectory={NAME}",
        "RuntimeDirectoryMode=0700",
        "RuntimeDirectoryPreserve=yes",
        "UMask=0077",
        "",
        "# A profile that says {credential: NAME} reads it from here; `systemctl edit` adds lines:",
        "# LoadCredential=NAME:/path/to/a/file/of/mode/0600",
        "",
        *_hardening(service),
        "",
        *where,
    ]
    return "\n".join(lines) + "\n"


def _hardening(service: Service) -> list[str]:
    """Restrictions to what the daemon does."""
    lines = [
        "NoNewPrivileges=yes",
        "LockPersonality=yes",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
        "RestrictNamespaces=yes",
        "RestrictRealtime=yes",
        "RestrictSUIDSGID=yes",
        "SystemCallArchitectures=native",
        "SystemCallFilter=@system-service",
        "SystemCallErrorNumber=EPERM",
    ]
    if not service.system:
        # A user's manager may not set up the others, and an agent's socket is in /tmp.
        return lines
    account = [] if service.account == "root" else [f"User={service.account}"]
    return [
        *account,
        f"StateDirectory={NAME}",
        "StateDirectoryMode=0700",
        "LimitNOFILE=524288",
        "MemoryMax=1G",
        *lines,
        # Its only privilege beyond its account is to listen below 1024.
        "AmbientCapabilities=CAP_NET_BIND_SERVICE",
        "CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
        "PrivateDevices=yes",
        "PrivateTmp=yes",
        "ProtectClock=yes",
        "ProtectControlGroups=yes",
        "ProtectHome=read-only",
        "ProtectHostname=yes",
        "ProtectKernelLogs=yes",
        "ProtectKernelModules=yes",
        "ProtectKernelTunables=yes",
        "# A forward that listens on a unix socket elsewhere needs ReadWritePaths= for its folder.",
        "ProtectSystem=strict",
    ]


def _socket_unit(service: Service) -> str:
    account = [f"SocketUser={service.account}"] if service.system else []
    lines = [
        "[Unit]",
        "Description=tunnelctl's control socket",
        "",
        "[Socket]",
        f"ListenStream={_escaped(str(service.socket))}",
        "SocketMode=0600",
        "DirectoryMode=0700",
        *account,
        "",
        "[Install]",
        "WantedBy=sockets.target",
    ]
    return "\n".join(lines) + "\n"


def _words(words: Sequence[str]) -> str:
    """A command line (systemd.service(5), COMMAND LINES), in which `$` begins a variable too."""
    return " ".join(_word(word).replace("$", "$$") for word in words)


def _word(word: str) -> str:
    """One word (systemd.syntax(7), QUOTING)."""
    escaped = _escaped(word).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"' if re.search(r"[\s\\\"';]", word) or not word else escaped


def _escaped(text: str) -> str:
    """`%` begins a specifier (systemd.unit(5)) everywhere."""
    return text.replace("%", "%%")


def _plist(service: Service) -> str:
    import plistlib  # only for launchd

    content: dict[str, object] = {
        "Label": LABEL,
        "ProgramArguments": list(service.command),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ExitTimeOut": 15,
        "ProcessType": "Background",
        "Umask": 0o077,
        "EnvironmentVariables": dict(service.environment),
        "StandardErrorPath": str(service.log),
    }
    if service.system and service.account != "root":
        content["UserName"] = service.account
    # An XML declaration must come first.
    return _marked(plistlib.dumps(content).decode(), "<!-- {} -->", below=1)
