"""`tunnelctl.open`: what it gives, how it ends, and what it raises."""

from __future__ import annotations

import logging
import pickle
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import tunnelctl
from tests.support.clients import ask, exchange
from tests.support.keys import write_key
from tests.support.ports import free_port, is_listening
from tests.support.services import EchoService, SinkService, connect
from tests.support.silent import mute_listener
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually
from tests.support.world import tunnel_text
from tunnelctl.errors import Code

_GET = b"GET / HTTP/1.0\r\n\r\n"


def test_it_serves_until_the_end_of_the_block(hello: Path) -> None:
    with tunnelctl.open(file=hello) as tunnels:
        address = tunnels["hello"]
        assert (address.host, str(address)) == ("127.0.0.1", f"127.0.0.1:{address.port}")
        assert ask(address.port, _GET).endswith(b"Hello, World!\n")
        assert (tunnels.name, list(tunnels), "hello" in tunnels) == ("hello", ["hello"], True)
        with pytest.raises(KeyError, match="hello has no forward 'db'; it has hello"):
            tunnels["db"]
    assert not is_listening(address.port)
    with pytest.raises(tunnelctl.Failure, match="the tunnels of hello are closed"):
        tunnels["hello"]
    tunnels.close()


def test_a_profile_is_found_by_its_name(hello: Path) -> None:
    environ = {"TUNNELCTL_CONFIG_DIR": str(hello.parent)}
    with tunnelctl.open("hello", environ=environ) as tunnels:
        status = tunnels.status()
    assert (status["name"], status["state"], status["source"]) == ("hello", "up", str(hello))
    assert status["forwards"][0]["health"] in ("healthy", "unknown")
    assert status["hosts"][0]["state"] == "up"


def test_the_words_of_ssh_are_a_profile(sshd: OpenSSHServer) -> None:
    local = free_port()
    with EchoService() as service:
        options = ["-p", str(sshd.port), "-i", str(sshd.identity), "-F", "none"]
        known = ["-o", f"UserKnownHostsFile={sshd.known_hosts}"]
        forwards = [*options, *known, "-L", f"127.0.0.1:{local}:127.0.0.1:{service.port}"]
        with tunnelctl.open(forwards=forwards, host=f"{sshd.user}@127.0.0.1") as tunnels:
            (name,) = tunnels
            assert tunnels[name].port == local
            assert ask(local, b"it") == b"it"


def test_a_lost_server_is_reached_again_behind_the_same_port(
    sshd: OpenSSHServer, echo: Path
) -> None:
    with tunnelctl.open(file=echo) as tunnels:
        port = tunnels["echo"].port
        sshd.kill()
        eventually(lambda: tunnels.status()["state"] != "up", "the loss is seen")
        assert tunnels["echo"].port == port
        sshd.start()
        assert ask(port, b"again") == b"again"
        assert tunnels.status()["hosts"][0]["reconnects"] == 1


def test_what_was_written_before_the_end_arrives(sshd: OpenSSHServer, tmp_path: Path) -> None:
    """A program that closed its socket thinks that its bytes are on their way."""
    with SinkService() as service:
        file = tmp_path / "sink.yaml"
        target = f'local: 0, to: "127.0.0.1:{service.port}"'
        file.write_text(tunnel_text(sshd.host_yaml(), sink=target))
        with tunnelctl.open(file=file) as tunnels, connect(tunnels["sink"].port) as client:
            client.sendall(b"x" * 1_000_000)
            client.close()
        received = service.received()
        assert (received.size, received.end) == (1_000_000, "fin")


def test_a_connection_that_stays_open_is_reset_at_the_end(echo: Path) -> None:
    with (
        tunnelctl.open(file=echo, drain=0.0) as tunnels,
        connect(tunnels["echo"].port) as client,
    ):
        assert exchange(client, b"it") == b"it"
        tunnels.close()
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_several_at_once_and_within_each_other(hello: Path) -> None:
    with tunnelctl.open(file=hello) as outer, tunnelctl.open("other", file=hello) as inner:
        assert (outer.name, inner.name) == ("hello", "other")
        assert outer["hello"].port != inner["hello"].port
        inner.close()
        assert ask(outer["hello"].port, _GET).endswith(b"Hello, World!\n")


def test_threads_each_open_their_own(hello: Path) -> None:
    served: list[bytes] = []

    def work() -> None:
        with tunnelctl.open(file=hello) as tunnels:
            served.append(ask(tunnels["hello"].port, _GET))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.endswith(b"Hello, World!\n") for answer in served] == [True] * 4


def test_an_error_in_the_block_closes_them(hello: Path) -> None:
    with pytest.raises(ZeroDivisionError), tunnelctl.open(file=hello) as tunnels:  # noqa: PT012 - the port is asked for inside
        port = tunnels["hello"].port
        _ = 1 / 0
    assert not is_listening(port)


def _threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


@pytest.fixture
def silent(tmp_path: Path, no_leaks: None) -> Iterator[Path]:
    """The file of a profile whose server accepts and says nothing."""
    with mute_listener() as (address, port):
        file = tmp_path / "silent.yaml"
        host = f"{{hostname: {address}, port: {port}, user: me}}"
        file.write_text(tunnel_text(host, db="local: 0, to: 5432"))
        yield file


def test_an_interrupt_while_it_opens_leaves_nothing(silent: Path) -> None:
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        eventually(lambda: "tunnelctl: silent" in _threads(), "it is opening")
        signal.pthread_kill(main, signal.SIGINT)

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        tunnelctl.open(file=silent)
    interrupter.join()
    assert "tunnelctl: silent" not in _threads()


def test_what_is_not_ready_in_time_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    file = tmp_path / "dev.yaml"
    nobody = free_port()
    host = f"{{hostname: 127.0.0.1, port: {nobody}, user: me}}"
    file.write_text(tunnel_text(host, db="local: 0, to: 5432"))
    with pytest.raises(tunnelctl.Failure) as raised:
        tunnelctl.open(file=file, timeout=0.5)
    failure = raised.value
    assert failure.code == "not-ready"
    assert failure.message.startswith("dev is not ready after 0.5 s: server: ")
    assert f"127.0.0.1:{nobody}" in failure.message
    assert failure.hint == "timeout= waits longer"


def test_an_unknown_host_key_is_raised_at_once(sshd: OpenSSHServer, tmp_path: Path) -> None:
    failure = _refused(sshd.host_yaml(user_known_hosts_file="none"), tmp_path)
    assert failure.code == "host-key-unknown"
    assert "add host_key: SHA256:" in failure.hint


def test_a_refused_key_is_raised_at_once(sshd: OpenSSHServer, tmp_path: Path) -> None:
    write_key(tmp_path / "other")
    failure = _refused(sshd.host_yaml(identity_file=str(tmp_path / "other")), tmp_path)
    assert failure.code == "auth-failed"
    assert failure.message.startswith("dev/server: ")


def _refused(host: str, folder: Path) -> tunnelctl.Failure:
    file = folder / "dev.yaml"
    file.write_text(tunnel_text(host, db="local: 0, to: 5432"))
    with pytest.raises(tunnelctl.Failure) as raised:
        tunnelctl.open(file=file, timeout=60.0)
    return raised.value


def test_a_question_is_raised_with_what_is_asked_and_how_to_answer(
    sshd: OpenSSHServer, tmp_path: Path
) -> None:
    locked = tmp_path / "locked"

    line = write_key(locked, passphrase="not this one")
    sshd.authorized_keys.write_text(f"{line}\n")
    failure = _refused(sshd.host_yaml(identity_file=str(locked)), tmp_path)
    assert failure.code == "needs-input"
    assert "passphrase" in failure.message
    assert "passphrase: {env: NAME}" in failure.hint
    assert "tunnelctl answer" not in failure.hint


def test_a_port_that_is_taken_is_raised_at_once(echo: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        taken = holder.getsockname()[1]
        echo.write_text(echo.read_text().replace("local: 0", f"local: {taken}"))
        with pytest.raises(tunnelctl.Failure, match=f"{taken}.* in use") as raised:
            tunnelctl.open(file=echo, timeout=60.0)
    assert raised.value.code == "port-in-use"


def test_every_mistake_of_a_file_is_in_the_message(tmp_path: Path) -> None:
    file = tmp_path / "dev.yaml"
    file.write_text("version: 1\nforwards:\n  db: {lokal: 5432, to: 1, via: a}\n  b: {local: x}\n")
    with pytest.raises(tunnelctl.Failure) as raised:
        tunnelctl.open(file=file)
    assert raised.value.code == "config-invalid"
    assert f"{file}:3:8: forwards.db.lokal: unknown key" in raised.value.message
    assert f"{file}:4:" in raised.value.message
    again = pickle.loads(pickle.dumps(raised.value))
    assert (again.code, again.message) == (Code.CONFIG_INVALID, raised.value.message)


def test_a_profile_that_is_not_there(tmp_path: Path) -> None:
    for wrong in ({"profile": "nowhere"}, {"file": tmp_path / "nowhere.yaml"}):
        with pytest.raises(tunnelctl.Failure) as raised:
            tunnelctl.open(**wrong)
        assert raised.value.code == "profile-not-found"


def test_a_program_whose_folder_was_removed_opens_them(
    hello: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As that of a release which a newer one replaced."""
    folder = tmp_path / "release"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    with tunnelctl.open(file=hello) as tunnels:
        assert ask(tunnels["hello"].port, _GET).endswith(b"Hello, World!\n")
    with pytest.raises(tunnelctl.Failure) as raised:
        tunnelctl.open("nowhere", file="nowhere.yaml")
    assert raised.value.code == "profile-not-found"
    with pytest.raises(tunnelctl.Failure) as raised:
        tunnelctl.open("nowhere")
    assert raised.value.code == "profile-not-found"


def test_forwards_that_ssh_would_refuse() -> None:
    with pytest.raises(tunnelctl.Failure, match="-L") as raised:
        tunnelctl.open(forwards=["-L", "a:b:c:d:e"], host="bastion")
    assert raised.value.code == "usage"


def test_arguments_that_do_not_go_together() -> None:
    for profile, forwards, host in (
        (None, [], None),
        (None, ["-L", "1:a:1"], None),
        (None, [], "bastion"),
        ("dev", ["-L", "1:a:1"], "bastion"),
        (None, "-L 1:a:1", "bastion"),
    ):
        with pytest.raises(TypeError):
            tunnelctl.open(profile, forwards=forwards, host=host)


def test_a_path_in_place_of_the_name_is_told_to_be_a_file(hello: Path) -> None:
    with pytest.raises(TypeError, match="file="):
        tunnelctl.open(hello)  # type: ignore[arg-type]  # that is what is tested


def test_a_unix_socket_has_an_address_alone(hello: Path) -> None:
    path = hello.parent / "it.sock"
    hello.write_text(hello.read_text().replace("local: 0", f"local: {path}"))
    with tunnelctl.open(file=hello) as tunnels:
        assert tunnels["hello"].address == str(path)
        with pytest.raises(tunnelctl.Failure, match="is a unix socket"):
            _ = tunnels["hello"].port
        path.unlink()
        eventually(path.exists, "a socket file that somebody removed is made anew")
    assert not path.exists()


def test_a_forward_that_is_not_required_and_does_not_listen(hello: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        taken = holder.getsockname()[1]
        other = f'  web: {{local: {taken}, to: "hello:80", via: demo, required: false}}\n'
        hello.write_text(hello.read_text() + other)
        with tunnelctl.open(file=hello) as tunnels:
            assert ask(tunnels["hello"].port, _GET)
            eventually(lambda: tunnels.status()["forwards"][1]["state"] == "failed", "it is tried")
            with pytest.raises(tunnelctl.Failure, match=r"hello/web does not listen: .* in use"):
                tunnels["web"]


def test_another_thread_closes_them_while_they_open(silent: Path) -> None:
    from tunnelctl.api.request import OpenRequest
    from tunnelctl.api.tunnels import Tunnels

    tunnels = Tunnels(OpenRequest.of(None, silent, (), None, None), 60.0, 1.0)
    failures: list[tunnelctl.Failure] = []

    def work() -> None:
        try:
            tunnels.start()
        except tunnelctl.Failure as failure:
            failures.append(failure)

    thread = threading.Thread(target=work)
    thread.start()
    eventually(lambda: "tunnelctl: silent" in _threads(), "it is opening")
    tunnels.close()
    thread.join(10)
    assert [failure.code for failure in failures] == ["not-up"]


def test_a_handler_of_its_log_may_look_at_it(hello: Path) -> None:
    """It is called in the thread of the tunnels, which cannot wait for itself."""
    seen: list[tuple[str, str]] = []

    class Looks(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append((threading.current_thread().name, tunnels.status()["state"]))

    nobody = free_port()
    hello.write_text(
        f'{hello.read_text()}  no: {{local: 0, to: "127.0.0.1:{nobody}", via: demo}}\n'
    )
    logger, handler = logging.getLogger("tunnelctl"), Looks()
    with tunnelctl.open(file=hello) as tunnels:
        logger.addHandler(handler)
        try:
            with pytest.raises(ConnectionResetError):
                ask(tunnels["no"].port, b"it")
            eventually(lambda: seen, "the refused connection is logged")
        finally:
            logger.removeHandler(handler)
    assert seen[0] == ("tunnelctl: hello", "up")
