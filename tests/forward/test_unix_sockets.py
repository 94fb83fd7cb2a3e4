"""Unix sockets on either side of local and remote forwards (OpenSSH's streamlocal extensions)."""

from __future__ import annotations

import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.clients import exchange, receive_exactly
from tests.support.services import EchoService, Received, Stream, connect, receive
from tests.support.sshd import OpenSSHServer
from tests.support.threads import in_thread
from tests.support.tunnel import Tunnel, rule, tunnel_to
from tests.support.unix_sockets import connected, echo_at
from tests.support.waiting import eventually_async
from tunnelctl.errors import Code, Failure
from tunnelctl.spec.endpoint import LOOPBACK, Endpoint
from tunnelctl.spec.forward import Side

BOTH_SIDES = pytest.mark.parametrize("side", list(Side))


async def carries(where: Endpoint) -> None:
    """Bytes pass both ways, whole, and their end in order."""
    stream = Stream(3_000_000, seed=8)
    with connected(where) as connection:
        back = in_thread(receive, connection)
        sent = await in_thread(stream.send, connection)
        connection.shutdown(socket.SHUT_WR)
        assert await back == Received(stream.size, sent, "fin")


@BOTH_SIDES
@pytest.mark.parametrize("unix_target", [False, True])
@pytest.mark.parametrize("unix_listener", [False, True])
async def test_every_pair_of_endpoints(
    sshd: OpenSSHServer, tmp_path: Path, side: Side, unix_listener: bool, unix_target: bool
) -> None:
    listen = Endpoint(path=str(tmp_path / "listen")) if unix_listener else Endpoint(LOOPBACK, 0)
    with echo_at(tmp_path / "target") as unix, EchoService() as echo:
        target = unix if unix_target else Endpoint(LOOPBACK, echo.port)
        async with tunnel_to(sshd.host()) as tunnel:
            listening = await tunnel.add(rule(side, 0, target, listen=listen))
            assert listening.is_unix == unix_listener
            for _ in range(2):
                await carries(listening)
            counters = tunnel.forward().counters
            await eventually_async(lambda: counters.open == 0, "both are over")
            assert (counters.total, counters.failed, tunnel.failures) == (2, 0, [])


# The file


async def listen_on(tunnel: Tunnel, path: Path, target: int = 9) -> Endpoint:
    """A local forward that listens on a path."""
    return await tunnel.add(rule(Side.HERE, 0, target, listen=Endpoint(path=str(path))))


async def test_the_file_is_ours_alone_and_goes_with_the_forward(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with tunnel_to(None) as tunnel:
        await listen_on(tunnel, path)
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        await tunnel.forward().close(0)
        assert not path.exists()


async def test_a_stale_socket_is_replaced(sshd: OpenSSHServer, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            where = await listen_on(tunnel, path, echo.port)
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            await carries(where)


@pytest.mark.parametrize("full", [False, True])
async def test_a_living_socket_is_never_taken(tmp_path: Path, full: bool) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as living, socket.socket(socket.AF_UNIX) as client:
        living.bind(str(path))
        living.listen(0 if full else 5)
        if full:  # so that another has to wait
            client.connect(str(path))
        async with tunnel_to(None) as tunnel:
            with pytest.raises(Failure) as caught:
                await listen_on(tunnel, path)
        assert caught.value.code is Code.PORT_IN_USE
        assert str(path) in caught.value.message
        if not full:
            client.connect(str(path))
        living.accept()[0].close()


@pytest.mark.parametrize("kind", ["file", "directory", "link", "datagrams"])
async def test_what_is_no_socket_of_ours_is_never_taken(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
        if kind == "file":
            path.write_text("precious")
        elif kind == "directory":
            path.mkdir()
        elif kind == "link":
            (tmp_path / "elsewhere").write_text("precious")
            path.symlink_to(tmp_path / "elsewhere")
        else:
            datagrams.bind(str(path))
        before = path.lstat()
        async with tunnel_to(None) as tunnel:
            with pytest.raises(Failure) as caught:
                await listen_on(tunnel, path)
        assert caught.value.code is Code.PORT_IN_USE
        after = path.lstat()
        assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)


async def test_what_took_our_place_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with tunnel_to(None) as tunnel:
        await listen_on(tunnel, path)
        path.unlink()
        path.write_text("somebody else's")
        await tunnel.forward().close(0)
    assert path.read_text() == "somebody else's"


def _file(path: Path) -> None:
    path.write_text("mine")


def _folder(path: Path) -> None:
    path.mkdir()


def _link(path: Path) -> None:
    path.symlink_to("nowhere")


def _nothing(path: Path) -> None:
    assert not path.exists()


@pytest.mark.parametrize(
    ("name", "put", "code", "retryable", "said"),
    [
        ("no/such/s", _nothing, Code.NAME_NOT_FOUND, True, "there is no folder {0}/no/such (mkdir"),
        ("file/s", _nothing, Code.NAME_NOT_FOUND, True, "there is no folder {0}/file (mkdir -p"),
        ("s", _file, Code.PORT_IN_USE, True, "{0}/s is a file, not a socket (move it away"),
        ("s", _folder, Code.PORT_IN_USE, True, "{0}/s is a folder, not a socket (move it"),
        ("s", _link, Code.PORT_IN_USE, True, "{0}/s is a link, not a socket (move it"),
        ("a" * 120, _nothing, Code.PERMISSION_DENIED, False, "too long (a path has at most 107"),
    ],
)
async def test_a_path_that_cannot_be_says_why_and_what_helps(
    tmp_path: Path, name: str, put: Callable[[Path], None], code: Code, retryable: bool, said: str
) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / name
    put(path)
    async with tunnel_to(None) as tunnel:
        with pytest.raises(Failure) as caught:
            await listen_on(tunnel, path)
    found = caught.value
    assert (found.code, found.retryable, found.exit_code) == (code, retryable, 73)
    assert said.format(tmp_path) in str(found)
    assert str(path) in found.message
    assert "stop" not in found.hint


# Beyond the server


async def test_a_path_that_is_taken_there_is_a_denied_forward(
    sshd: OpenSSHServer, tmp_path: Path
) -> None:
    path = tmp_path / "s"
    with echo_at(path), EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            wanted = rule(Side.THERE, 0, echo.port, listen=Endpoint(path=str(path)))
            with pytest.raises(Failure) as caught:
                await tunnel.add(wanted)
            assert caught.value.code is Code.FORWARD_DENIED
            assert str(path) in caught.value.message
            assert "StreamLocalBindUnlink" in caught.value.hint
            # Others on the link go on.
            port = await tunnel.remote(echo.port)
            with connect(port) as connection:
                assert await in_thread(exchange, connection, b"hello") == b"hello"


async def test_several_paths_on_one_link_reach_their_own_targets(
    sshd: OpenSSHServer, tmp_path: Path
) -> None:
    with echo_at(tmp_path / "unix") as unix, EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            paths = [Endpoint(path=str(tmp_path / name)) for name in ("one", "two")]
            targets = [unix, Endpoint(LOOPBACK, echo.port)]
            for path, target in zip(paths, targets, strict=True):
                await tunnel.add(rule(Side.THERE, 0, target, listen=path))
            for path in paths:
                await carries(path)
            assert echo.accepted == 1
            await tunnel.forward(0).close(0)
            await eventually_async(lambda: is_refused(paths[0]), "nobody listens there")
            await carries(paths[1])


def is_refused(where: Endpoint) -> bool:
    """Whether nobody listens: sshd leaves the file of a listener behind."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(where.path)
        except (ConnectionRefusedError, FileNotFoundError):
            return True
    return False


async def test_a_socket_that_nobody_listens_on_is_a_refused_target(
    sshd: OpenSSHServer, tmp_path: Path
) -> None:
    nobody = Endpoint(path=str(tmp_path / "nobody"))
    async with tunnel_to(sshd.host()) as tunnel:
        for side in Side:
            where = await tunnel.add(rule(side, 0, nobody))
            with connected(where) as connection:
                assert (await in_thread(receive, connection)).size == 0
            failure = tunnel.failures[-1]
            assert failure.code in (Code.TARGET_REFUSED, Code.TARGET_UNREACHABLE)
            assert nobody.path in failure.message


@pytest.mark.parametrize("line", ["AllowStreamLocalForwarding no", "DisableForwarding yes"])
async def test_a_server_that_forbids_unix_sockets_says_so(
    sshd: OpenSSHServer, tmp_path: Path, line: str
) -> None:
    sshd.reconfigure(line)
    with echo_at(tmp_path / "target") as target:
        async with tunnel_to(sshd.host()) as tunnel:
            where = await tunnel.add(rule(Side.HERE, 0, target))
            with connected(where) as connection:
                assert (await in_thread(receive, connection)).end == "reset"
            # sshd has the same words for a socket that nobody listens on.
            assert tunnel.failures[-1].code is Code.TARGET_UNREACHABLE
            assert "AllowStreamLocalForwarding" in tunnel.failures[-1].hint
            listen = Endpoint(path=str(tmp_path / "listen"))
            with pytest.raises(Failure) as caught:
                await tunnel.add(rule(Side.THERE, 0, target, listen=listen))
            assert caught.value.code is Code.FORWARD_DENIED
            assert "AllowStreamLocalForwarding" in caught.value.hint


async def test_a_lost_link_ends_a_unix_client(sshd: OpenSSHServer, tmp_path: Path) -> None:
    """test_unix_sockets_cut.py has what it sees then."""
    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            where = await listen_on(tunnel, tmp_path / "s", echo.port)
            with connected(where) as connection:
                connection.sendall(b"hello")
                assert await in_thread(receive_exactly, connection, 5) == b"hello"
                sshd.kill_sessions()
                assert (await in_thread(receive, connection)).end == "reset"
            await eventually_async(lambda: tunnel.forward().counters.open == 0, "it is over")
