"""Every way in which a login fails: its code, and nothing left behind, however often it comes.

The check for what stays behind is the fixture `no_leaks`, which holds for every test; here each
class of failure comes often; with TUNNELCTL_LEAK_TRIES=50 a leak of one in fifty shows as well.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ssh.clients import REFERENCE, Person, fails, log_in, logged_in, no_secret, secret
from tests.ssh.questioner import Questioner, Round, Rules
from tests.support.agent import RunningAgent
from tests.support.certificates import Authority
from tests.support.chaos import ChaosProxy, Direction
from tests.support.hostile import HostileServer
from tests.support.keys import write_key
from tests.support.leaks import TRIES, holdings
from tests.support.sshd import OpenSSHServer, require_sshd, sshd_version
from tests.support.waiting import eventually
from tunnelctl.errors import Code, Failure
from tunnelctl.spec.host import Host
from tunnelctl.spec.secret import SecretRef
from tunnelctl.ssh.keys import agent as agent_module
from tunnelctl.ssh.questions import Ask

pytestmark = pytest.mark.usefixtures("own_world")


def often(
    code: Code,
    host: Host,
    resolve_secret: Callable[[SecretRef], str] = no_secret,
    ask: Ask | None = None,
) -> Failure:
    """Many times the same failure; what is held afterwards is what was held after the first."""
    failure = fails(code, host, resolve_secret, ask=ask)
    before = holdings()
    for _ in range(TRIES):
        failure = fails(code, host, resolve_secret, ask=ask)
    eventually(lambda: not holdings().beyond(before), "all is given back")
    return failure


def test_an_unknown_host_key(sshd: OpenSSHServer, tmp_path: Path) -> None:
    often(Code.HOST_KEY_UNKNOWN, sshd.host(user_known_hosts_file=(str(tmp_path / "none"),)))


def test_an_unknown_host_key_that_somebody_refuses(sshd: OpenSSHServer, tmp_path: Path) -> None:
    host = sshd.host(user_known_hosts_file=(str(tmp_path / "none"),))
    often(Code.HOST_KEY_UNKNOWN, host, ask=lambda question: "no")


def test_a_changed_host_key(sshd: OpenSSHServer) -> None:
    sshd.rotate_host_key()
    often(Code.HOST_KEY_CHANGED, sshd.host())


def test_a_certificate_of_a_stranger(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path / "ca"), Authority(tmp_path / "other")
    server = OpenSSHServer(tmp_path / "sshd")
    certificate = other.sign(server.directory / "host_ed25519")
    server.known_hosts.write_text(f"@cert-authority * {authority.line}\n")
    server.reconfigure(f"HostCertificate {certificate}")
    try:
        often(Code.HOST_KEY_UNKNOWN, server.host())
    finally:
        server.stop()


def test_a_key_that_is_refused(sshd: OpenSSHServer, tmp_path: Path) -> None:
    write_key(tmp_path / "key")
    often(Code.AUTH_FAILED, sshd.host(identity_file=(str(tmp_path / "key"),)))


def test_a_key_that_cannot_be_read(sshd: OpenSSHServer, tmp_path: Path) -> None:
    often(Code.KEY_UNREADABLE, sshd.host(identity_file=(str(tmp_path / "missing"),)))


def test_a_passphrase_that_is_wrong(sshd: OpenSSHServer, tmp_path: Path) -> None:
    # The file of the passphrase is fast to open, the check of it takes its time: fewer tries.
    key = tmp_path / "key"
    sshd.authorized_keys.write_text(write_key(key, passphrase="another") + "\n")
    host = sshd.host(identity_file=(str(key),), passphrase=REFERENCE)
    for _ in range(10):
        fails(Code.KEY_UNREADABLE, host, secret)


def test_a_secret_that_cannot_be_had() -> None:
    def gone(reference: SecretRef) -> str:
        raise Failure(Code.SECRET_UNAVAILABLE, f"{reference} is not set")

    with Questioner(Rules()) as server:
        often(Code.SECRET_UNAVAILABLE, server.host(password=REFERENCE), gone)


def test_an_answer_that_nobody_gives() -> None:
    rules = Rules(steps=("keyboard-interactive",), rounds=(Round((("Code: ", False),), ("1",)),))
    with Questioner(rules) as server:
        often(Code.NEEDS_INPUT, server.host(), ask=Person(*[None] * (TRIES + 1)))


def test_a_server_with_nothing_in_common(sshd: OpenSSHServer) -> None:
    sshd.reconfigure("Ciphers aes256-cbc")
    often(Code.INCOMPATIBLE_PEER, sshd.host())


def test_too_many_keys_of_an_agent(sshd: OpenSSHServer, no_leaks: None, tmp_path: Path) -> None:
    sshd.reconfigure("MaxAuthTries 2")
    agent = RunningAgent(tmp_path / "agent")
    try:
        for number in range(5):
            write_key(tmp_path / f"key{number}")
            agent.add(tmp_path / f"key{number}")
        host = sshd.host(identity_file=(), identities_only=False, identity_agent=str(agent.path))
        failure = often(Code.AUTH_FAILED, host)
    finally:
        agent.stop()
    if sshd_version(require_sshd()) >= (10, 6):  # it counts signatures, and lets a client ask on
        assert failure.message.count("agent key ") == 5
    else:
        assert "too many keys (2)" in failure.message
        assert "identities_only" in failure.hint


@pytest.mark.parametrize("answer", [b"", b"\0\0\0\1\5", b"\xff" * 4, b"\0\0\0\5\x0c\0\0\0\7"])
def test_an_agent_that_makes_no_sense(sshd: OpenSSHServer, tmp_path: Path, answer: bytes) -> None:
    with _SillyAgent(tmp_path / "agent", answer) as path:
        host = sshd.host(identity_file=(), identity_agent=str(path), identities_only=False)
        failure = often(Code.AGENT_UNAVAILABLE, host)
        assert "ssh-agent" in failure.message
        with logged_in(sshd.host(identity_agent=str(path))) as transport:
            assert transport.is_authenticated()


def test_an_agent_that_is_killed_between_the_list_and_the_signature(
    sshd: OpenSSHServer, no_leaks: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = RunningAgent(tmp_path / "agent")
    agent.add(sshd.identity)
    sign = agent_module.Agent.sign

    def killed(self: agent_module.Agent, blob: bytes, data: bytes, algorithm: str) -> bytes:
        agent.stop()
        return sign(self, blob, data, algorithm)

    monkeypatch.setattr(agent_module.Agent, "sign", killed)
    host = sshd.host(identity_file=(), identities_only=False, identity_agent=str(agent.path))
    failure = fails(Code.AGENT_UNAVAILABLE, host)
    assert "ssh-agent" in failure.message
    assert failure.retryable
    assert failure.spaced


class _SillyAgent:
    """Says the same to everybody, and hangs up."""

    def __init__(self, path: Path, answer: bytes) -> None:
        self._path = path
        self._answer = answer
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Path:
        self._thread.start()
        return self._path

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(5)
                connection.sendall(self._answer)


# The network goes away


def bytes_of_a_login(sshd: OpenSSHServer, direction: Direction) -> int:
    """How many bytes a login takes, with what sshd says behind it (all its host keys)."""
    with ChaosProxy(sshd.port) as proxy:
        with logged_in(_by(proxy, sshd)):
            pass
        return proxy.bytes(direction)


def _by(proxy: ChaosProxy, sshd: OpenSSHServer) -> Host:
    return sshd.host(port=proxy.port, host_key_alias=f"[127.0.0.1]:{sshd.port}")


class CutAfter:
    """Passes a connection on to sshd, and resets or ends it after so many bytes one way."""

    def __init__(self, target: int, direction: Direction, count: int, *, reset: bool) -> None:
        self._target = target
        self._direction = direction
        self._count = count
        self._reset = reset

    def __call__(self, client: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self._target)) as server:
            ways = {Direction.UP: (client, server), Direction.DOWN: (server, client)}
            threads = [
                threading.Thread(target=self._pump, args=(direction, *ways[direction]))
                for direction in Direction
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    def _pump(self, direction: Direction, source: socket.socket, sink: socket.socket) -> None:
        left = self._count if direction is self._direction else None
        try:
            while data := source.recv(65_536):
                if left is not None:
                    data = data[:left]
                    left -= len(data)
                sink.sendall(data)
                if left == 0:
                    break
        except OSError:
            pass
        for sock in (source, sink):
            if self._reset and left == 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0" + bytes(4))
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("reset", [False, True])
def test_a_cut_at_any_byte_is_never_a_refusal(
    sshd: OpenSSHServer, direction: Direction, reset: bool
) -> None:
    """A lost connection may come back: it must not be taken for a word of the server."""
    whole = bytes_of_a_login(sshd, direction)
    step = whole // 40
    cuts = []
    for count in (1, *range(step, whole, step)):
        script = CutAfter(sshd.port, direction, count, reset=reset)
        with HostileServer(script) as proxy:
            host = sshd.host(port=proxy.host.port, host_key_alias=f"[127.0.0.1]:{sshd.port}")
            try:
                log_in(host).close()
            except Failure as failure:
                cuts.append((count, failure))
            else:
                break  # the bytes from here on are those that come behind a login
    assert len(cuts) > 30
    for count, cut in cuts:
        assert cut.code is Code.HANDSHAKE_FAILED, (count, cut)
        assert cut.retryable, (count, cut)


@pytest.mark.parametrize("direction", list(Direction))
def test_silence_at_any_byte_ends_at_the_deadline(
    sshd: OpenSSHServer, direction: Direction
) -> None:
    whole = bytes_of_a_login(sshd, direction)
    for part in range(1, 6):  # of seven: the last of them may be what comes behind the login
        failure = _silent_after(sshd, direction, whole * part // 7)
        assert failure.retryable, (part, failure)


def _silent_after(sshd: OpenSSHServer, direction: Direction, count: int) -> Failure:
    over = threading.Event()

    def script(client: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", sshd.port)) as server:
            ways = {Direction.UP: (client, server), Direction.DOWN: (server, client)}
            threads = [
                threading.Thread(
                    target=_pass_on, args=(*ways[d], count if d is direction else None)
                )
                for d in Direction
            ]
            for thread in threads:
                thread.start()
            over.wait(20)
            for sock in (client, server):
                with contextlib.suppress(OSError):  # that end has cut the connection itself
                    sock.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()

    with HostileServer(script) as proxy:
        host = sshd.host(port=proxy.host.port, host_key_alias=f"[127.0.0.1]:{sshd.port}")
        try:
            return fails(Code.TIMED_OUT, host, seconds=1.0)
        finally:
            over.set()


def _pass_on(source: socket.socket, sink: socket.socket, count: int | None) -> None:
    """Pass on so many bytes, or all; what comes after them is read and lost."""
    try:
        while data := source.recv(65_536):
            passed = data if count is None else data[:count]
            count = None if count is None else count - len(passed)
            sink.sendall(passed)
    except OSError:
        return
