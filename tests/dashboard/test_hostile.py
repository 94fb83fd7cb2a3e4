"""What other pages, other names and rude clients can do: nothing."""

from __future__ import annotations

import contextlib
import resource
import socket
from collections.abc import Iterator

import pytest

from tests.dashboard.board import Board, dashboard
from tests.support.world import World
from tunnelctl.daemon.api.server import _SPEAK_WITHIN

ORDER = "/v1/profiles/dev/down"


def test_a_name_that_was_bound_to_this_address(board: Board) -> None:
    """DNS rebinding: the browser believes that it talks to the attacker's site."""
    port = board.port
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.2:{port}"):
        answer = board.ask("GET", "/v1/status", Host=host)
        assert answer.status == 421, host
    with board.connect() as sock:
        sock.sendall(
            f"GET http://evil.example/v1/status HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            f"Cookie: {board.cookie}\r\n\r\n".encode()
        )
        assert b" 421 " in sock.recv(100)
    assert board.ask("GET", "/v1/status", Host=None).status == 400, "HTTP/1.1 needs one"
    for host in (f"localhost:{port}", f"[::1]:{port}", f"LocalHost:{port}"):
        assert board.ask("GET", "/v1/version", Host=host).status == 200, host


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
    ],
)
def test_an_order_of_another_site(board: Board, headers: dict[str, str]) -> None:
    """With the cookie, which a browser sends to every port of 127.0.0.1."""
    assert board.ask("POST", ORDER, {}, **headers).status == 403
    assert board.ask("GET", "/v1/status", **headers).status == 403, "nor can it listen"
    (profile,) = board.world.status()["profiles"]
    assert profile["wanted"] == "up"


def test_a_preflight_allows_nothing(board: Board) -> None:
    answer = board.ask(
        "OPTIONS",
        ORDER,
        cookie="",
        Origin="http://evil.example",
        Access_Control_Request_Method="POST",
    )
    assert answer.status in (401, 403)
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_the_page_itself_may_order(board: Board) -> None:
    headers = {"Origin": board.origin, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}
    assert board.ask("POST", "/v1/reload", {"dry_run": True}, **headers).status == 200


def test_every_answer_is_marked(board: Board) -> None:
    """No page can frame it or read it, nothing is kept, and only its own scripts run."""
    for target in ("/", "/static/app.js", "/v1/status", "/v1/nothing", "/static/none"):
        answer = board.ask("GET", target)
        policy = dict(
            rule.split(" ", 1) for rule in answer.headers["content-security-policy"].split("; ")
        )
        assert policy["default-src"] == "'self'"
        assert policy["frame-ancestors"] == "'none'"
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in answer.headers
    assert (
        "frame-ancestors 'none'"
        in board.ask("GET", "/", cookie="").headers["content-security-policy"]
    )


@pytest.mark.parametrize(
    "head",
    [
        b"GET /<script>alert(1)</script>\x01 HTTP/1.1\r\n\r\n",
        b"<script>alert(1)</script>\r\n\r\n",
        b"GET / HTTP/1.1\r\n<script>alert(1)</script>\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\nX: <script>" + b"x" * 20_000 + b"\r\n\r\n",
        b"GET /" + b"<script>" * 2000 + b" HTTP/1.1\r\nHost: h\r\n\r\n",
    ],
)
def test_what_is_no_request_is_not_repeated(board: Board, head: bytes) -> None:
    with board.connect() as sock:
        sock.sendall(head)
        answer = _read(sock)
    assert answer.startswith(b"HTTP/1.0 400 ")
    assert b"script" not in answer
    text = answer.lower()
    assert b"content-type: application/problem+json" in text
    assert b"content-security-policy: default-src 'self'" in text
    assert b"x-content-type-options: nosniff" in text
    assert b"python" not in text


def test_no_file_but_those_of_the_page(board: Board) -> None:
    for name in ("../login.py", "..%2flogin.py", "%2e%2e/login.py", "/etc/passwd", "vendor", ""):
        assert board.ask("GET", f"/static/{name}").status == 404, name


def test_a_header_of_ten_megabytes(board: Board) -> None:
    with board.connect() as sock:
        with contextlib.suppress(ConnectionError):  # it is cut while it sends
            sock.sendall(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{board.port}\r\nX: ".encode())
            for _ in range(160):
                sock.sendall(b"x" * 65536)
        answer = _read(sock)
        assert answer == b"" or b" 400 " in answer, answer[:100]
    assert board.ask("GET", "/v1/version").status == 200


def test_a_body_that_is_too_large(board: Board) -> None:
    with board.connect() as sock, contextlib.suppress(ConnectionError):
        sock.sendall(
            f"POST /v1/reload HTTP/1.1\r\nHost: 127.0.0.1:{board.port}\r\n"
            f"Cookie: {board.cookie}\r\nContent-Length: {64 << 20}\r\n\r\n".encode()
        )
        for _ in range(64):
            sock.sendall(b" " * (1 << 16))
        assert b" 413 " in sock.recv(100)
    assert board.ask("GET", "/v1/version").status == 200


def test_five_hundred_idle_connections(board: Board) -> None:
    with _idle(board, 500, b""):
        assert board.ask("GET", "/v1/version").status == 200


def test_slow_loris(board: Board) -> None:
    """Requests that never end are cut, and keep nobody out meanwhile."""
    with _idle(board, 200, b"GET / HTTP/1.1\r\nHost: 127.") as sockets:
        assert board.ask("GET", "/v1/version").status == 200
        last = sockets[-1]
        last.settimeout(3 * _SPEAK_WITHIN)
        assert _read(last) == b"", "it was cut"


def test_read_only(shared_world: World) -> None:
    with dashboard(shared_world, "--read-only") as board:
        board.log_in()
        for target in (
            ORDER,
            "/v1/reload",
            "/v1/shutdown",
            "/v1/adhoc",
            "/v1/profiles/dev/answers",
        ):
            answer = board.ask("POST", target, {}, Origin=board.origin)
            assert answer.status == 403, target
            assert "--read-only" in answer.json["detail"]
        listening = board.ask("GET", "/v1/events?answer=dev")
        assert listening.status == 403, "its hosts would try again"
        assert board.ask("GET", "/v1/status").json["profiles"][0]["wanted"] == "up"


@contextlib.contextmanager
def _idle(board: Board, count: int, sent: bytes) -> Iterator[list[socket.socket]]:
    """So many connections that sent this and nothing else."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 2 * count + 100)), hard))
    sockets = [board.connect() for _ in range(count)]
    try:
        for sock in sockets:
            with contextlib.suppress(ConnectionError):  # cut already, for a later one
                sock.sendall(sent)
        yield sockets
    finally:
        for sock in sockets:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _read(sock: socket.socket) -> bytes:
    """Everything up to the end, or until it is reset."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while chunk := sock.recv(65536):
            received += chunk
    return received
