"""Generates tests/docs/failures.txt: every failure that the `sentences` modules make, once.

    python -m tools.make_failures

Run in the project's folder. With this file one person can read all sentences, and a diff shows
every change. The arguments are samples chosen by annotation: a new type, or a text parameter with a
new name, needs a row in the tables below.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import typing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import tunnelctl
from tunnelctl.errors import Code, Fact, Failure, Hint
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.spec.forward import Forward, Side
from tunnelctl.spec.host import Host, Proxy, ProxyKind
from tunnelctl.spec.secret import SecretRef, SecretSource

PAGE = Path(__file__).resolve().parents[1] / "tests" / "docs" / "failures.txt"

_HOST = Host(
    "bastion",
    "bastion.example.com",
    bind_address="192.0.2.9",
    known_hosts_command=("/usr/bin/known-keys", "%H"),
    password=SecretRef(SecretSource.ENV, ("SECRET",)),
)
_ADDRESS = Endpoint("127.0.0.1", 5432)
_KEY = "ssh-ed25519 SHA256:0123456789abcdef"
# Samples for text parameters, by name.
_TEXTS = {
    "address": "192.0.2.1",
    "allowed_by": "GatewayPorts clientspecified in sshd_config there",
    "better": "another name",
    "bound_to": "/run/other.sock",
    "called": "the known_hosts file",
    "chain": "INPUT",
    "certificate": "/home/bob/.ssh/id_ed25519-cert.pub",
    "command": "ssh -v bob@bastion.example.com",
    "count": "2",
    "daemon_version": "1.0.0",
    "destination": "bob@bastion.example.com:2222",
    "doing": "authenticating",
    "endpoint": "https://10.0.0.1:2379",
    "exception": "MemoryError",
    "file": "/home/bob/.ssh/known_hosts",
    "first": "user",
    "fingerprint": "SHA256:0123456789abcdef",
    "folder": "/home/bob/.local/state",
    "forward": "db",
    "given": "db.internal",
    "holder": "m2",
    "hint": "sshd_config there decides (AllowTcpForwarding)",
    "hop": "",
    "host": "bastion",
    "hostname": "db.internal",
    "how": "exited with status 1",
    "install": "pip install 'tunnelctl[keyring]'",
    "kept_as": "wanted.json.unused",
    "key": "proxy_command",
    "kind": "cipher",
    "known": f"{_KEY} in known_hosts:3",
    "listen": "127.0.0.1:5432",
    "machine": "m2",
    "message": "the server refused the login",
    "method": "password",
    "mistake": "dev.yaml:3:5: hosts.bastion.port: not a port: 70000",
    "name": "aes256-ctr",
    "number": "17",
    "note": "",
    "option": "Ciphers",
    "options": "allowtcpforwarding|permitopen",
    "order": "systemctl --user enable --now tunnelctl.service",
    "other": "dev/d-b",
    "our_version": "1.1.0",
    "ours": "aes128-gcm@openssh.com",
    "owner": "other/db",
    "part": "dev/db",
    "path": "/home/bob/secret",
    "pattern": "gate.example.com",
    "place": "known_hosts:3",
    "prefix": "/tunnelctl/web/",
    "profile": "dev",
    "program": "sh",
    "purpose": "password",
    "prompt": "Verification code",
    "provider": "/usr/lib/opensc-pkcs11.so",
    "replaced_by": "/srv/other/configs/dev.yaml",
    "request": "tcpip-forward",
    "rule": "tcp dport 5432 drop",
    "role": "standby (on m2)",
    "said": "go away",
    "second": "password",
    "server": "OpenSSH_9.2p1",
    "service": "tunnels",
    "settings": "ssh-command",
    "shown": _KEY,
    "shows": "ssh-keygen -L -f /home/bob/.ssh/id_ed25519-cert.pub",
    "source": "/srv/other/configs/dev.yaml",
    "ssh": "ssh bob@bastion.example.com",
    "step": "permission",
    "state": "connecting",
    "subject": "bastion (bob@bastion.example.com:22)",
    "target": "127.0.0.1:3000",
    "text": "list index out of range",
    "theirs": "3des-cbc",
    "there": "allow the cipher aes256-ctr on the server",
    "title": "bastion (bastion.example.com:22)",
    "tried": "; tried the password",
    "user": "bob",
    "value": "a name",
    "variable": "TUNNELCTL_SOCKET",
    "via": "bastion",
    "what": "the server closed the connection",
    "where": "192.0.2.7:22",
    "why": "Permission denied",
    "word": "D_B",
}
_PATHS = {
    "above": Path("/run/user/1000"),
    "directory": Path("/run/user/1000/tunnelctl"),
    "elsewhere": Path("/home/bob/.local/state/tunnelctl/control.sock"),
    "here": Path("/home/bob/configs/dev.yaml"),
    "lock": Path("/run/user/1000/tunnelctl/control.sock.lock"),
    "log": Path("/home/bob/.local/state/tunnelctl/daemon.log"),
    "new": Path("/home/bob/.ssh/id_ed25519.pem"),
    "place": Path("/run/user/1000/tunnelctl/control.sock.lock"),
    "public": Path("/home/bob/.ssh/id_ed25519.pub"),
    "socket": Path("/run/user/1000/tunnelctl/control.sock"),
    "source": Path("/srv/other/configs/dev.yaml"),
    "wanted_file": Path("/home/bob/.local/state/tunnelctl/wanted.json"),
    "unit": Path("/home/bob/.config/systemd/user/tunnelctl.service"),
}
# Samples for one function, where that of the name would mislead.
_OF_FUNCTION = {
    ("no_qr_package", "install"): "pip install 'tunnelctl[qr]'",
    ("no_textual_package", "install"): "pip install 'tunnelctl[top]'",
    ("path_not_a_socket", "path"): "/run/user/1000/db.sock",
    ("path_not_a_socket", "what"): "a folder",
    ("refused_by_click", "message"): "Could not open file 'dev.yaml': No such file or directory",
    ("top_needs_a_terminal", "why"): "TERM is dumb",
    ("not_an_argument", "name"): "host",
    ("reads_as_an_option", "name"): "host",
    ("contains_nul", "key"): "file",
    ("not_a_boolean", "key"): "dry_run",
    ("not_a_flag", "key"): "follow",
    ("not_a_whole_number", "key"): "lines",
    ("required", "key"): "lease",
    ("unknown_key", "key"): "dryrun",
    ("unknown_key", "where"): "body",
    ("wrong_usage", "message"): "No such option: --detatch. Did you mean --detach?",
    ("wrong_usage", "command"): "tunnelctl up",
}
_WHOLE: dict[str, int] = {
    "mode": 0o644,
    "bits": 1024,
    "least": 2048,
    "port": 80,
    "owner_id": 1000,
    "status": 502,
}


def _samples() -> dict[Any, Any]:
    """Samples for all other types."""
    from tunnelctl.net.addresses import PortHolder
    from tunnelctl.ssh.software import Software

    failure = Failure(Code.TIMED_OUT, "no answer within 15 s", subject="bastion")
    return {
        Code: Code.UNREACHABLE,
        Endpoint: _ADDRESS,
        Exception: ValueError("not what we know"),
        Failure: failure,
        Failure | None: failure,
        Forward: Forward("db", Side.HERE, _ADDRESS, Endpoint("db.internal", 5432), via="bastion"),
        Hint: Hint("to do it", "tunnelctl ps"),
        PortHolder | None: PortHolder("pid 911 (postgres)"),
        Host: _HOST,
        Path: Path("/home/bob/.ssh/id_ed25519"),
        Proxy: Proxy(ProxyKind.SOCKS5, "proxy.example", 1080),
        SecretRef: SecretRef(SecretSource.ENV, ("SECRET",)),
        Software: Software("OpenSSH_9.2p1"),
        Sequence[Fact]: (),
        Sequence[Failure]: (failure, failure.but(subject="gateway")),
        Sequence[Path]: (Path("/home/bob/.config/tunnelctl"), Path("/etc/tunnelctl")),
        Sequence[Hint]: (Hint("check it"),),
        Sequence[str | Fact]: (),
        Sequence[str]: ("one", "two"),
        bool: True,
        float: 30.0,
    }


def modules() -> Iterator[ModuleType]:
    """Every module whose name ends in `sentences`, by name."""
    for found in sorted(
        pkgutil.walk_packages(tunnelctl.__path__, "tunnelctl."), key=lambda f: f.name
    ):
        if found.name.endswith("sentences"):
            yield importlib.import_module(found.name)


def functions(module: ModuleType) -> Iterator[Callable[..., Failure | Hint | str]]:
    """Its public functions that return sentences, in the order of the file."""
    for name, function in vars(module).items():
        is_its_own = inspect.isfunction(function) and function.__module__ == module.__name__
        if is_its_own and not name.startswith("_") and name not in ("label", "excerpt"):
            yield function


def made(function: Callable[..., Failure | Hint | str]) -> Failure | Hint | str:
    """The result for the samples.

    Raises:
        KeyError: there is no sample for a parameter.
    """
    hints, samples = typing.get_type_hints(function), _samples()
    arguments: dict[str, Any] = {}
    for name in inspect.signature(function).parameters:
        kind = hints[name]
        if (special := _OF_FUNCTION.get((function.__name__, name))) is not None:
            arguments[name] = special
        elif kind is str:
            arguments[name] = _TEXTS[name]
        elif kind is int:
            arguments[name] = _WHOLE.get(name, 3)
        elif name == "words":
            arguments[name] = ["bastion", "--fingerprint", "SHA256:0123456789abcdef"]
        elif name in _PATHS:
            arguments[name] = _PATHS[name]
        elif kind == Hint | str:
            arguments[name] = samples[Hint]
        else:
            arguments[name] = samples[kind]
    return function(**arguments)


def _lines(made_of_it: Failure | Hint | str) -> Iterator[str]:
    if isinstance(made_of_it, Failure):
        yield f"{made_of_it.code}: {made_of_it.message}"
        yield from (f"    → {hint}" for hint in made_of_it.hints)
    elif isinstance(made_of_it, Hint):
        yield f"→ {made_of_it}"
    else:
        yield made_of_it


def page() -> str:
    """The content of the file."""
    lines = ["Made by `python -m tools.make_failures`; a test holds it to the code.", ""]
    for module in modules():
        lines += [module.__name__, ""]
        for function in functions(module):
            lines.append(f"  {function.__name__}")
            lines += [f"    {line}" for line in _lines(made(function))]
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page())
