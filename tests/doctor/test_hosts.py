"""What doctor says of the way to a host, with real servers."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import threading
from pathlib import Path

import pytest

from tests.doctor.walks import all_ok, dropping, failure, local, named, results, step, walk
from tests.support.certificates import Authority
from tests.support.here import here
from tests.support.hostile import HostileServer, Peer, ScriptedServer
from tests.support.keys import write_key
from tests.support.ports import free_port
from tests.support.services import EchoService
from tests.support.sshd import OpenSSHServer
from tunnelctl.doctor import hosts, sentences
from tunnelctl.doctor.report import Result
from tunnelctl.doctor.walk import examine
from tunnelctl.errors import Code, Failure
from tunnelctl.spec.host import Host, SessionType, StrictHostKeyChecking
from tunnelctl.spec.profile import Profile
from tunnelctl.spec.secret import SecretRef, SecretSource
from tunnelctl.ssh.packets.transport import SshTransport
from tunnelctl.ssh.turns import AT_ONE_ADDRESS

MILESTONES = ["names", "connection", "version", "key-exchange", "host-key", "authentication"]


def test_every_step_of_a_good_way_is_told_in_order(sshd: OpenSSHServer) -> None:
    report = walk(sshd.host())
    all_ok(report)
    assert [each.step for each in report.steps] == ["profile", "daemon", "keys", *MILESTONES]
    assert step(report, "connection").message == f"127.0.0.1:{sshd.port}"
    assert "OpenSSH" in step(report, "version").message
    assert "strict key exchange" in step(report, "key-exchange").message
    assert "SHA256:" in step(report, "host-key").message
    assert str(sshd.identity) in step(report, "authentication").message


def test_a_server_without_strict_key_exchange_is_a_warning() -> None:
    """As OpenSSH before 9.6: the rest of the way is walked, and the exit code is 0."""

    class Old(SshTransport):
        def __init__(self, sock: socket.socket) -> None:
            super().__init__(sock)
            self.advertise_strict_kex = False

    def stay(peer: Peer) -> None:
        while peer.receive():
            pass

    with ScriptedServer(stay, make=Old) as server:
        report = walk(server.host_with(name="server"))
    found = step(report, "key-exchange")
    assert found.result is Result.WARNING
    assert found.message.endswith(", no strict key exchange")
    assert found.hint == sentences.no_strict_key_exchange()
    assert step(report, "authentication").result is Result.OK
    assert report.exit_code == 0


def test_a_name_without_an_address() -> None:
    report = walk(Host("server", "nowhere.invalid", identity_file=("none",)))
    found = failure(report, "names", "server", Code.NAME_NOT_FOUND)
    assert "getent hosts nowhere.invalid" in found.hint
    assert report.exit_code == 69
    skipped = [name for name, result in results(report).items() if result == "skipped"]
    assert skipped == MILESTONES[1:]


def test_a_refusal_and_a_dropped_packet_are_told_apart() -> None:
    closed = walk(Host("server", "127.0.0.1", free_port()))
    assert "sshd" not in failure(closed, "connection", "server", Code.CONNECTION_REFUSED).hint
    assert step(closed, "names").result is Result.OK
    with dropping() as port:
        dropped = walk(Host("server", "127.0.0.1", port, connect_timeout=0.5))
    found = failure(dropped, "connection", "server", Code.TIMED_OUT)
    assert "not even a refusal" in found.hint
    assert 0.4 < found.seconds < 10  # on a busy machine; the default would be 15


def test_a_silent_program_has_a_bound_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "AT_A_TERMINAL", 1.0)
    told: list[Failure] = []
    words = ("sh", "-c", "sleep 100; true")
    host = Host(
        "server", "127.0.0.1", proxy_command=words, identity_file=("none",), connect_timeout=0.3
    )
    found = failure(walk(host, on_silence=told.append), "version", "server", Code.TIMED_OUT)
    assert "proxy_command sh: no output for 1 s" in found.message
    assert "run the proxy_command of server by hand" in found.hint
    assert "tunnelctl restart dev/server" in found.hint
    assert "proxy_command sh: no output for 0." in told[0].message
    assert told[0].message.endswith("s (limit 1 s)")


def test_what_is_no_ssh_server_connects_and_has_no_version() -> None:
    def web(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with HostileServer(web) as server:
        report = walk(named(server.host, "server"))
    found = failure(report, "version", "server", Code.HANDSHAKE_FAILED)
    assert "HTTP/1.1 400" in found.message
    assert step(report, "connection").result is Result.OK


def test_no_common_algorithm_is_a_failed_key_exchange(tmp_path: Path) -> None:
    server = OpenSSHServer(tmp_path / "old", config=["Ciphers aes128-cbc"])
    server.start()
    try:
        report = walk(server.host())
    finally:
        server.stop()
    found = failure(report, "key-exchange", "server", Code.INCOMPATIBLE_PEER)
    assert "aes128-cbc" in found.message
    assert step(report, "version").result is Result.OK


def test_an_unknown_host_key_is_shown_with_the_command_that_trusts_it(
    sshd: OpenSSHServer, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    report = walk(sshd.host(user_known_hosts_file=(str(empty),)))
    found = failure(report, "host-key", "server", Code.HOST_KEY_UNKNOWN)
    assert f"tunnelctl trust 127.0.0.1:{sshd.port} --fingerprint SHA256:" in found.hint
    assert report.exit_code == 77
    assert not empty.exists()


def test_a_key_that_is_known_under_another_name_is_pointed_at(
    sshd: OpenSSHServer, tmp_path: Path
) -> None:
    known = tmp_path / "known"
    known.write_text(f"bastion.example.com {sshd.host_keys[0]}\n")
    report = walk(sshd.host(user_known_hosts_file=(str(known),)))
    hint = failure(report, "host-key", "server", Code.HOST_KEY_UNKNOWN).hint
    assert f"bastion.example.com ({known}:1)" in hint
    assert "host_key_alias" in hint


def test_a_changed_host_key(sshd: OpenSSHServer) -> None:
    sshd.rotate_host_key()
    before = sshd.known_hosts.read_text()
    report = walk(sshd.host())
    assert "ssh-keygen -R" in failure(report, "host-key", "server", Code.HOST_KEY_CHANGED).hint
    assert sshd.known_hosts.read_text() == before


def test_accept_new_is_walked_to_the_end_and_records_nothing(
    sshd: OpenSSHServer, tmp_path: Path
) -> None:
    new = {
        "user_known_hosts_file": (str(tmp_path / "empty"),),
        "strict_host_key_checking": StrictHostKeyChecking.ACCEPT_NEW,
    }
    hop = sshd.host(**new, name="hop")
    with EchoService() as echo:
        report = walk(sshd.host(**new, proxy_jump=(hop,)), local(echo.port))
    assert report.exit_code == 0
    assert step(report, "host-key").result is Result.WARNING
    assert step(report, "host-key", "hop").result is Result.WARNING
    assert step(report, "target", "local").result is Result.OK
    assert not (tmp_path / "empty").exists()


def test_a_key_that_the_server_does_not_know(sshd: OpenSSHServer, tmp_path: Path) -> None:
    write_key(tmp_path / "other")
    report = walk(sshd.host(identity_file=(str(tmp_path / "other"),)))
    found = failure(report, "authentication", "server", Code.AUTH_FAILED)
    assert f"ssh-copy-id -i {tmp_path / 'other'}" in found.hint
    assert step(report, "keys").result is Result.OK
    nameless = walk(sshd.host(identity_file=(str(tmp_path / "other"),), user=None))
    assert "the profile names no user" in step(nameless, "authentication").hint


def test_an_agent_that_is_not_there_and_a_server_that_takes_passwords(tmp_path: Path) -> None:
    server = OpenSSHServer(tmp_path / "asks", config=["PasswordAuthentication yes"])
    server.start()
    gone = str(tmp_path / "gone")
    try:
        host = server.host(identity_file=(), identities_only=False, identity_agent=gone)
        found = failure(walk(host), "authentication", "server", Code.AGENT_UNAVAILABLE)
    finally:
        server.stop()
    assert f"no ssh-agent at {gone}" in found.message
    assert "tunnelctl answer dev/server" in found.hint


def test_more_keys_than_the_server_lets_be_tried(tmp_path: Path) -> None:
    server = OpenSSHServer(tmp_path / "strict", config=["MaxAuthTries 1"])
    server.start()
    try:
        # A newer sshd counts a key that it does not know less than once.
        others = tuple(str(tmp_path / f"key{number}") for number in range(12))
        for path in others:
            write_key(Path(path))
        report = walk(server.host(identity_file=(*others, str(server.identity))))
    finally:
        server.stop()
    found = failure(report, "authentication", "server", Code.AUTH_FAILED)
    assert "too many" in found.message
    assert "identity_file" in found.hint


def test_keys_that_cannot_be_used_are_told_before_the_server_is_asked(
    sshd: OpenSSHServer, tmp_path: Path
) -> None:
    missing = walk(sshd.host(identity_file=(str(tmp_path / "none"),)))
    failure(missing, "keys", "server", Code.KEY_UNREADABLE)
    sshd.identity.chmod(0o644)
    opened = walk(sshd.host())
    found = step(opened, "keys")
    assert found.result is Result.WARNING
    assert found.hint == f"chmod 600 {sshd.identity}"
    assert step(opened, "authentication").code is Code.KEY_UNREADABLE


def test_no_key_at_all_says_which_were_looked_for(
    sshd: OpenSSHServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    bare = sshd.host(identity_file=(), identities_only=False)
    found = step(walk(bare), "keys")
    assert found.result is Result.WARNING
    assert "SSH_AUTH_SOCK names no ssh-agent" in found.message
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "nobody"))
    assert "the ssh-agent does not answer" in step(walk(bare), "keys").message


def test_a_passphrase_that_a_person_has_to_type(sshd: OpenSSHServer, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    public = write_key(locked, passphrase="a secret of its own")
    sshd.authorized_keys.write_text(public + "\n")
    report = walk(sshd.host(identity_file=(str(locked),)))
    found = failure(report, "authentication", "server", Code.NEEDS_INPUT)
    assert f"passphrase for key '{locked}'" in found.message
    assert found.hint == "tunnelctl answer dev/server"


@pytest.mark.parametrize(
    ("validity", "said"), [("+1d:+2d", "it is valid from"), ("-2d:-1d", "it expired at")]
)
def test_a_certificate_of_another_time_makes_one_look_at_the_clocks(
    tmp_path: Path, validity: str, said: str
) -> None:
    authority = Authority(tmp_path / "ca")
    server = OpenSSHServer(
        tmp_path / "sshd",
        config=(
            f"TrustedUserCAKeys {authority.public}",
            f"HostCertificate {tmp_path / 'sshd' / 'host_ed25519-cert.pub'}",
        ),
    )
    authority.sign(server.identity, "-V", validity, principals=server.user, host=False)
    authority.sign(tmp_path / "sshd" / "host_ed25519", "-V", validity)
    server.authorized_keys.write_text("")
    server.start()
    try:
        keys = walk(server.host())
        server.known_hosts.write_text(f"@cert-authority * {authority.line}\n")
        host_key = walk(server.host())
    finally:
        server.stop()
    mine = step(keys, "keys")
    theirs = failure(host_key, "host-key", "server", Code.HOST_KEY_UNKNOWN)
    for found in (mine, theirs):
        assert said in found.message
        assert "compare the clocks of this machine and of server; on both: date -u" in found.hint
    failure(keys, "authentication", "server", Code.AUTH_FAILED)


def test_a_session_that_is_wanted_and_may_not_be(sshd: OpenSSHServer) -> None:
    wanting = sshd.host(session_type=SessionType.DEFAULT)
    with EchoService() as echo:
        report = walk(wanting, local(echo.port))
        all_ok(report)
        assert report.steps[-1].step == "session"
        assert "session" not in results(walk(sshd.host(session_type=SessionType.AUTO)))
        sshd.reconfigure("MaxSessions 0")
        report = walk(wanting, local(echo.port))
    found = step(report, "session")
    assert found.result is Result.WARNING
    assert "MaxSessions" in found.hint
    assert step(report, "target", "local").result is Result.OK  # which is no session
    assert report.exit_code == 0


def test_secrets_are_looked_for_and_not_shown(sshd: OpenSSHServer) -> None:
    reference = SecretRef(SecretSource.ENV, ("DOCTOR_SECRET",))
    host = sshd.host(password=reference)
    missing = walk(host)
    assert "DOCTOR_SECRET" in failure(missing, "secrets", "server", Code.SECRET_UNAVAILABLE).hint
    there = walk(host, DOCTOR_SECRET="hunter2")
    assert step(there, "secrets").result is Result.OK
    assert "hunter2" not in str(there.as_json())


def test_the_hop_that_fails_is_the_one_that_is_told(sshd: OpenSSHServer) -> None:
    hop = sshd.host(name="hop")
    behind = Host("server", "127.0.0.1", free_port(), proxy_jump=(hop,))
    report = walk(behind)
    assert set(results(report, "hop").values()) == {"ok"}
    failure(report, "connection", "server", Code.CONNECTION_REFUSED)
    assert "names" not in results(report)  # the hop looks it up
    lost = walk(dataclasses.replace(behind, proxy_jump=(named(hop, "hop", port=free_port()),)))
    failure(lost, "connection", "hop", Code.CONNECTION_REFUSED)
    expected = dict.fromkeys(MILESTONES[1:], "skipped")
    assert {n: r for n, r in results(lost).items() if n in MILESTONES} == expected


def test_a_hop_of_two_hosts_is_told_once(sshd: OpenSSHServer) -> None:
    hop = sshd.host(name="hop")
    hosts = tuple(sshd.host(name=name, proxy_jump=(hop,)) for name in ("one", "two"))
    report = examine(Profile("dev", "dev.yaml", hosts, ()), here(), None)
    all_ok(report)
    assert [each.step for each in report.steps if each.subject == "hop"] == ["keys", *MILESTONES]


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    host = Host("server", "server", proxy_command=(str(tmp_path / "none"), "%h"))
    found = failure(walk(host), "connection", "server", Code.CONFIG_INVALID)
    assert str(tmp_path / "none") in found.message


def test_a_fallback_is_walked_too_and_carries_the_forwards(sshd: OpenSSHServer) -> None:
    gone = Host("server", "127.0.0.1", free_port(), fallback=(sshd.host(name="spare"),))
    with EchoService() as echo:
        report = walk(gone, local(echo.port))
    failure(report, "connection", "server", Code.CONNECTION_REFUSED)
    assert step(report, "authentication", "spare").result is Result.OK
    assert step(report, "target", "local").result is Result.OK


def test_hosts_are_walked_side_by_side() -> None:
    """The server leaves them once all have come: one after the other, the first would time out."""
    all_have = threading.Barrier(AT_ONE_ADDRESS)

    def leave(connection: socket.socket) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            all_have.wait(20)

    with HostileServer(leave) as server:
        hosts = tuple(
            named(server.host, f"h{n}", connect_timeout=20.0) for n in range(AT_ONE_ADDRESS)
        )
        report = examine(Profile("dev", "dev.yaml", hosts, ()), here(), None)
    assert [each.code for each in report.steps if each.code] == [
        Code.HANDSHAKE_FAILED
    ] * AT_ONE_ADDRESS


def test_an_embedded_server_is_walked_like_any_other() -> None:
    report = walk(Host("server", "server", embedded=True), local(1))
    assert step(report, "authentication").result is Result.OK
    assert "by a throw-away key (ssh-ed25519" in step(report, "authentication").message
    failure(report, "target", "local", Code.TARGET_REFUSED)


def test_nobody_stays_logged_in(sshd: OpenSSHServer) -> None:
    all_ok(walk(sshd.host(proxy_jump=(sshd.host(name="hop"),))))
    sshd.restart()  # fails where a session of sshd lives on
    all_ok(walk(sshd.host()))
