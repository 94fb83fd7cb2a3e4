"""What doctor says of forwards: by what a real sshd allows, and by what answers."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.doctor.walks import (
    all_ok,
    dropping,
    failure,
    local,
    remote,
    results,
    step,
    to_six,
    walk,
)
from tests.support.ports import free_port
from tests.support.services import EchoService, ResetService
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually
from tunnelctl.doctor import this_machine
from tunnelctl.doctor.report import Report, Result
from tunnelctl.errors import Code
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.spec.forward import Forward, Probe, ProbeType
from tunnelctl.state.documents.snapshot import (
    DaemonStatus,
    ErrorStatus,
    ForwardState,
    ForwardStatus,
    HostState,
    HostStatus,
    ProfileState,
    ProfileStatus,
    Status,
    Wanted,
)


@contextlib.contextmanager
def six_only() -> Iterator[int]:
    """A service on ::1, and on no other address."""
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as service:
        yield service.getsockname()[1]


def walk_with(sshd: OpenSSHServer, config: str, *forwards: Forward) -> Report:
    """The report with a line more in the server's configuration."""
    sshd.reconfigure(config)
    return walk(sshd.host(), *forwards)


def test_forwards_that_work_and_what_they_leave_on_the_server(sshd: OpenSSHServer) -> None:
    port = free_port()
    with EchoService() as echo:
        report = walk(sshd.host(), local(echo.port), remote(echo.port, port))
        all_ok(report)
        eventually(lambda: echo.open == 0, "nobody is connected to the service")
    assert list(results(report, "local")) == ["listener", "permission", "target"]
    assert list(results(report, "remote")) == ["permission", "target"]
    with socket.create_server(("127.0.0.1", port)):  # the server listens no more
        pass


def test_socks_asks_whether_the_server_connects_at_all(sshd: OpenSSHServer) -> None:
    all_ok(walk(sshd.host(), local(None)))
    report = walk_with(sshd, "AllowTcpForwarding no", local(None))
    assert step(report, "permission", "local").result is Result.WARNING


@pytest.mark.parametrize(
    "config", ["AllowTcpForwarding no", "PermitOpen 127.0.0.1:1", "DisableForwarding yes"]
)
def test_a_server_that_does_not_connect(sshd: OpenSSHServer, config: str) -> None:
    with EchoService() as echo:
        report = walk_with(sshd, config, local(echo.port))
    found = failure(report, "permission", "local", Code.FORWARD_DENIED)
    assert f"sshd -T -C user={sshd.user}" in found.hint
    assert config.split()[0] in found.hint or config.split()[0].lower() in found.hint
    assert step(report, "target", "local").result is Result.SKIPPED
    assert report.exit_code == 76


@pytest.mark.parametrize("config", ["AllowTcpForwarding local", "PermitListen 127.0.0.1:1"])
def test_a_server_that_does_not_listen(sshd: OpenSSHServer, config: str) -> None:
    with EchoService() as echo:
        report = walk_with(sshd, config, remote(echo.port, free_port()))
    found = failure(report, "permission", "remote", Code.FORWARD_DENIED)
    assert config.split()[0].lower() in found.hint.lower()
    assert step(report, "target", "remote").result is Result.OK  # which the server cannot spoil


def test_a_server_that_listens_wider_than_it_was_asked_to(sshd: OpenSSHServer) -> None:
    with EchoService() as echo:
        report = walk_with(sshd, "GatewayPorts yes", remote(echo.port, free_port()))
    found = step(report, "permission", "remote")
    assert found.result is Result.WARNING
    assert "GatewayPorts yes" in found.hint
    assert report.exit_code == 0


def test_a_port_that_somebody_else_has_on_the_server(sshd: OpenSSHServer) -> None:
    with EchoService() as echo, EchoService() as other:
        report = walk(sshd.host(), remote(echo.port, other.port))
    found = failure(report, "permission", "remote", Code.PORT_IN_USE)
    assert found.hint.endswith(f"on server: ss -ltnp 'sport = :{other.port}'")
    assert report.exit_code == 76


def test_a_local_port_that_is_taken_names_who_has_it(sshd: OpenSSHServer) -> None:
    with EchoService() as echo:
        report = walk(sshd.host(), local(echo.port, echo.port))
    found = failure(report, "listener", "local", Code.PORT_IN_USE)
    assert f"pid {os.getpid()} " in found.message
    assert report.exit_code == 73


def test_a_port_that_our_own_daemon_holds_is_fine(sshd: OpenSSHServer) -> None:
    with EchoService() as echo:
        forwards = (local(echo.port, echo.port), remote(echo.port, echo.port))
        report = walk(sshd.host(), *forwards, status=held(echo.port))
    all_ok(report)
    assert "daemon" in step(report, "listener", "local").message
    assert "running tunnel" in step(report, "permission", "remote").message


def held(port: int, *hosts: HostStatus, **changes: Any) -> Status:
    """A daemon's word that both forwards are up; `changes` are those of the profile and `remote`
    the changes of that forward."""
    listen, target = f"127.0.0.1:{port}", f"127.0.0.1:{port}"
    up = ForwardStatus("local", "local", listen, target, "server", ForwardState.UP, bound=True)
    there = replace(replace(up, name="remote", type="remote"), **changes.pop("remote", {}))
    profile = ProfileStatus("dev", "dev.yaml", Wanted.UP, ProfileState.UP, hosts=hosts)
    profile = replace(profile, forwards=(up, there), **changes)
    return Status(DaemonStatus(1, "", ""), (profile,))


def test_what_the_daemon_complains_of_is_told(sshd: OpenSSHServer) -> None:
    error = ErrorStatus("auth-failed", "server: refused", "ssh-copy-id")
    host = HostStatus("server", HostState.BACKOFF, last_error=error)
    status = held(1, host, state=ProfileState.DEGRADED)
    found = step(walk(sshd.host(), status=status), "daemon", "dev")
    assert found.result is Result.WARNING
    assert "degraded: server: refused" in found.message
    assert "SSH_AUTH_SOCK included: tunnelctl restart dev" in found.hint


@pytest.mark.parametrize(
    "state", [ProfileState.FAILED, ProfileState.UP]
)  # up: the forward is not required
def test_a_forward_that_the_daemon_gave_up_is_a_failure(
    sshd: OpenSSHServer, state: ProfileState
) -> None:
    error = ErrorStatus("port-in-use", "remote: /s is in use", "rm /s")
    there = {"state": ForwardState.FAILED, "bound": False, "last_error": error}
    status = held(1, state=state, remote=there)
    report = walk(sshd.host(), remote(sshd.port, listen=Endpoint(path="/s")), status=status)
    (found,) = [each for each in report.steps if each.result is Result.FAILED]
    assert (found.step, found.code, found.hint) == ("daemon", Code.PORT_IN_USE, "rm /s")
    assert "remote: /s is in use" in found.message
    assert report.exit_code == 76  # it is the server's


def test_a_socket_file_is_looked_at_and_left_alone(sshd: OpenSSHServer, tmp_path: Path) -> None:
    path = tmp_path / "door"
    forward = local(sshd.port, listen=Endpoint(path=str(path)))
    all_ok(walk(sshd.host(), forward))
    assert not path.exists()
    with socket.socket(socket.AF_UNIX) as holder:
        holder.bind(str(path))
        inode = path.stat().st_ino
        holder.listen()
        failure(walk(sshd.host(), forward), "listener", "local", Code.PORT_IN_USE)
    all_ok(walk(sshd.host(), forward))  # nobody listens on it any more
    assert path.stat().st_ino == inode
    path.unlink()
    path.write_text("mine")
    failure(walk(sshd.host(), forward), "listener", "local", Code.PORT_IN_USE)
    assert path.read_text() == "mine"


def test_a_socket_file_on_the_server_is_not_asked_for(sshd: OpenSSHServer, tmp_path: Path) -> None:
    there = Endpoint(path=str(tmp_path / "there"))
    with EchoService() as echo:
        report = walk(sshd.host(), remote(echo.port, listen=there))
    assert step(report, "permission", "remote").result is Result.SKIPPED
    assert not (tmp_path / "there").exists()


def test_a_target_that_nobody_serves(sshd: OpenSSHServer) -> None:
    port = free_port()
    through = failure(walk(sshd.host(), local(port)), "target", "local", Code.TARGET_REFUSED)
    assert f"sport = :{port}" in through.hint
    back = failure(walk(sshd.host(), remote(port)), "target", "remote", Code.TARGET_REFUSED)
    assert f"nothing listens on port {port} here" in back.hint


def test_in_a_container_its_own_loopback_is_pointed_at(
    sshd: OpenSSHServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "containerenv"
    monkeypatch.setattr(this_machine, "_CONTAINER_MARKS", (mark,))
    port = free_port()
    outside = step(walk(sshd.host(), remote(port)), "target", "remote").hint
    assert f"publish its port if it runs in a container: -p 127.0.0.1:{port}:PORT" in outside
    mark.touch()
    inside = step(walk(sshd.host(), remote(port)), "target", "remote").hint
    assert "127.0.0.1 is this container's own loopback" in inside
    assert "host.docker.internal" in inside


def test_a_socket_of_the_server_that_may_be_forbidden_or_not_there(
    sshd: OpenSSHServer, tmp_path: Path
) -> None:
    report = walk(sshd.host(), local(Endpoint(path=str(tmp_path / "none"))))
    assert step(report, "permission", "local").result is Result.SKIPPED
    found = failure(report, "target", "local", Code.TARGET_UNREACHABLE)
    assert "grep -iE 'allowstreamlocalforwarding" in found.hint


def test_a_service_on_the_other_loopback_alone(sshd: OpenSSHServer) -> None:
    with six_only() as port:
        through = failure(walk(sshd.host(), local(port)), "target", "local", Code.TARGET_REFUSED)
        back = failure(walk(sshd.host(), remote(port)), "target", "remote", Code.TARGET_REFUSED)
        either = walk(sshd.host(), local(Endpoint("localhost", port)))
    for found in (through, back):
        assert f'should have to: "[::1]:{port}"' in found.hint
    # Where localhost is ::1 first, nothing is wrong.
    named = step(either, "target", "local")
    assert named.result is Result.OK or f'should have to: "[::1]:{port}"' in named.hint
    with EchoService() as echo:
        asked = to_six(echo.port)
        report = walk(sshd.host(), local(asked))
        assert f'"127.0.0.1:{echo.port}"' in step(report, "target", "local").hint
        report = walk(sshd.host(), remote(asked))
        assert f'"127.0.0.1:{echo.port}"' in step(report, "target", "remote").hint


def test_a_target_whose_packets_are_dropped(sshd: OpenSSHServer) -> None:
    with dropping() as port:
        report = walk(sshd.host(), local(port), remote(port))
    found = failure(report, "target", "local", Code.TARGET_UNREACHABLE)
    assert "not even a refusal" in found.hint
    assert step(report, "target", "remote").code is Code.TARGET_UNREACHABLE


def test_a_name_that_the_server_cannot_look_up(sshd: OpenSSHServer) -> None:
    report = walk(sshd.host(), local(Endpoint("nowhere.invalid", 80)))
    found = failure(report, "target", "local", Code.TARGET_UNREACHABLE)
    assert found.hint.endswith("on server: getent hosts nowhere.invalid")


def test_a_service_that_hangs_up_at_once_may_be_a_containers(sshd: OpenSSHServer) -> None:
    with ResetService() as service:
        report = walk(sshd.host(), remote(service.port))
    found = step(report, "target", "remote")
    assert found.result is Result.WARNING
    assert "0.0.0.0" in found.hint


def test_what_an_http_probe_wants_is_asked_for(sshd: OpenSSHServer) -> None:
    probe = Probe(ProbeType.HTTP)
    with EchoService() as echo:  # which is no web server
        report = walk(sshd.host(), local(echo.port, probe=probe))
        failure(report, "target", "local", Code.TARGET_REFUSED)
        report = walk(sshd.host(), remote(echo.port, probe=probe))
        failure(report, "target", "remote", Code.TARGET_REFUSED)
