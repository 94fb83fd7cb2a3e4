"""What a program gains by changing its import: against OpenSSH's server."""

from __future__ import annotations

import logging
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest

from tests.support.certificates import Authority
from tests.support.clients import ask
from tests.support.keys import KeyKind, write_key
from tests.support.services import ReplyAfterEndService
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually
from tunnelctl.sshtunnel import (
    BaseSSHTunnelForwarderError,
    HandlerSSHTunnelForwarderError,
    SSHTunnelForwarder,
    open_tunnel,
)


@pytest.fixture
def service() -> Iterator[ReplyAfterEndService]:
    with ReplyAfterEndService(lambda asked: b"seen " + asked) as running:
        yield running


def _arguments(sshd: OpenSSHServer, port: int, **more: Any) -> dict[str, Any]:
    host = sshd.host()
    return {
        "ssh_address_or_host": (host.hostname, host.port),
        "ssh_username": host.user,
        "ssh_pkey": host.identity_file[0],
        "ssh_host_key": _pin(sshd),
        "ssh_config_file": None,
        "host_pkey_directories": [],
        "allow_agent": False,
        "remote_bind_address": ("127.0.0.1", port),
        "logger": logging.getLogger("test"),
        **more,
    }


@pytest.mark.parametrize("kind", list(KeyKind))
def test_a_certificate_that_was_loaded_with_the_key(
    sshd: OpenSSHServer, service: ReplyAfterEndService, tmp_path: Path, kind: KeyKind
) -> None:
    """`key.load_certificate(...)`: the server knows the authority alone."""
    path, authority = tmp_path / "key", Authority(tmp_path / "authority")
    write_key(path, kind)
    certificate = authority.sign(path, principals=sshd.user, host=False)
    line = f'cert-authority,principals="{sshd.user}" {authority.line}\n'
    sshd.authorized_keys.write_text(line)
    key = paramiko.PKey.from_path(path)
    if key.public_blob is None:
        key.load_certificate(str(certificate))
    with open_tunnel(**_arguments(sshd, service.port, ssh_pkey=key)) as tunnel:
        assert ask(tunnel.local_bind_port, b"it") == b"seen it"


def _pin(sshd: OpenSSHServer) -> str:
    """The server's key as the package's documentation has it: its base64."""
    return sshd.known_hosts.read_text().splitlines()[0].split()[2]


def test_a_tunnel_listens_on_loopback_and_half_closes(
    sshd: OpenSSHServer, service: ReplyAfterEndService
) -> None:
    with open_tunnel(**_arguments(sshd, service.port)) as tunnel:
        assert tunnel.local_bind_host == "127.0.0.1"
        assert ask(tunnel.local_bind_port, b"it") == b"seen it"
        assert tunnel.is_active
    assert not tunnel.is_active


def test_a_program_reads_back_the_address_that_a_name_stands_for(sshd: OpenSSHServer) -> None:
    arguments = _arguments(sshd, 9, local_bind_address=("localhost", 0))
    with open_tunnel(**arguments) as tunnel:
        assert tunnel.local_bind_host == "127.0.0.1"


def test_a_taken_port_is_named_and_the_other_tunnels_serve(
    sshd: OpenSSHServer, service: ReplyAfterEndService, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        taken = holder.getsockname()
        with pytest.raises(HandlerSSHTunnelForwarderError, match=f"{taken[1]}.*in use"):
            open_tunnel(**_arguments(sshd, service.port, local_bind_address=taken)).start()
        arguments = _arguments(sshd, service.port, local_bind_addresses=[taken, ("127.0.0.1", 0)])
        target = arguments.pop("remote_bind_address")
        with open_tunnel(**arguments, remote_bind_addresses=[target, target]) as tunnel:
            assert ask(tunnel.local_bind_port, b"it") == b"seen it"
            assert f"{taken[1]}" in caplog.text


def test_it_reconnects_behind_the_same_port(
    sshd: OpenSSHServer, service: ReplyAfterEndService
) -> None:
    with SSHTunnelForwarder(**_arguments(sshd, service.port)) as tunnel:
        port = tunnel.local_bind_port
        sshd.kill()
        eventually(lambda: not tunnel.is_active, "the loss is seen")
        assert tunnel.local_bind_port == port
        sshd.start()
        assert ask(port, b"again") == b"seen again"
        assert tunnel.is_active


def test_the_checkup_asks_the_target(sshd: OpenSSHServer, service: ReplyAfterEndService) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = unused.getsockname()[1]
        arguments = _arguments(sshd, 0, skip_tunnel_checkup=False, remote_bind_address=None)
        arguments["remote_bind_addresses"] = [("127.0.0.1", service.port), ("127.0.0.1", nobody)]
        with open_tunnel(**arguments) as tunnel:
            assert list(tunnel.tunnel_is_up.values()) == [True, False]
            assert list(tunnel.tunnel_bindings) == [("127.0.0.1", service.port)]


@pytest.mark.parametrize("kind", [paramiko.RSAKey, paramiko.ECDSAKey, paramiko.Ed25519Key])
def test_a_key_that_the_program_loaded(
    sshd: OpenSSHServer, service: ReplyAfterEndService, kind: Any, tmp_path: Path
) -> None:
    path = tmp_path / "key"
    _generate(path, kind)
    key = kind.from_private_key_file(str(path))
    with sshd.authorized_keys.open("a") as authorized:
        authorized.write(f"{key.get_name()} {key.get_base64()}\n")
    with open_tunnel(**_arguments(sshd, service.port, ssh_pkey=key)) as tunnel:
        assert ask(tunnel.local_bind_port, b"it") == b"seen it"


def test_an_unknown_host_key_is_refused(
    sshd: OpenSSHServer,
    service: ReplyAfterEndService,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    arguments = _arguments(sshd, service.port, ssh_host_key=None)
    with pytest.raises(BaseSSHTunnelForwarderError, match="tunnelctl trust"):
        open_tunnel(**arguments).start()


def test_another_host_key_is_refused(sshd: OpenSSHServer, service: ReplyAfterEndService) -> None:
    arguments = _arguments(sshd, service.port, ssh_host_key=paramiko.RSAKey.generate(2048))
    with pytest.raises(BaseSSHTunnelForwarderError, match="SHA256"):
        open_tunnel(**arguments).start()


def test_a_refused_password_is_no_matter_of_a_profile(sshd: OpenSSHServer) -> None:
    sshd.reconfigure("PasswordAuthentication yes")
    arguments = _arguments(sshd, 9, ssh_pkey=None, ssh_password="a secret")
    with pytest.raises(BaseSSHTunnelForwarderError, match="refused the login") as refused:
        open_tunnel(**arguments).start()
    assert "hosts." not in str(refused.value)


def test_no_password_is_shown(sshd: OpenSSHServer) -> None:
    tunnel = open_tunnel(**_arguments(sshd, 9, ssh_password="a secret"))
    assert "a secret" not in str(tunnel) + repr(tunnel)


def test_an_alias_of_ssh_config_and_the_hop_before_it(
    sshd: OpenSSHServer, service: ReplyAfterEndService, tmp_path: Path
) -> None:
    host = sshd.host()
    config = tmp_path / "config"
    config.write_text(
        f"Host work\n  ProxyJump gate\nHost work gate\n  HostName {host.hostname}\n"
        f"  Port {host.port}\n  User {host.user}\n  IdentityFile {host.identity_file[0]}\n"
        f"  UserKnownHostsFile {sshd.known_hosts}\n"
    )
    config.chmod(0o600)
    with SSHTunnelForwarder(
        "work",
        str(config),
        allow_agent=False,
        host_pkey_directories=[],
        remote_bind_address=("127.0.0.1", service.port),
    ) as tunnel:
        assert ask(tunnel.local_bind_port, b"it") == b"seen it"


def _generate(path: Path, kind: Any) -> None:
    name = {paramiko.RSAKey: "rsa", paramiko.ECDSAKey: "ecdsa", paramiko.Ed25519Key: "ed25519"}
    command = ["ssh-keygen", "-q", "-t", name[kind], "-N", "", "-f", str(path)]
    subprocess.run(command, check=True)
