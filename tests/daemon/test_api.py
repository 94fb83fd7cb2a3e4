"""The control API as a program meets it, well and ill meant."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Any, TextIO

import pytest

from tests.daemon.conftest import Answer, Api
from tests.support.processes import is_running
from tests.support.services import connect
from tests.support.steady import steady
from tests.support.waiting import eventually
from tests.support.world import World
from tunnelctl import __version__, is_compiled
from tunnelctl.daemon.api.routes import _STREAMS
from tunnelctl.home.paths import Paths
from tunnelctl.net.peers import peer_uid
from tunnelctl.spec.environment import MOST_BYTES


def problem(answer: Answer, status: int, code: str) -> None:
    """The answer is that problem (RFC 9457)."""
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    document = answer.json
    assert document["status"] == status
    assert document["code"] == code
    assert document["title"]
    assert "hint" in document


def test_questions(api: Api) -> None:
    assert api.ask("GET", "/healthz").json["status"] == "ok"
    version = api.ask("GET", "/v1/version")
    assert version.json["version"] == __version__
    assert version.json["compiled"] is is_compiled()
    assert version.headers["Server"] == f"tunnelctl/{__version__}"
    status = api.ask("GET", "/v1/status").json
    assert status["api_version"] == 1
    assert status["daemon"]["version"] == __version__
    assert is_running(status["daemon"]["pid"])
    (profile,) = status["profiles"]
    assert (profile["name"], profile["wanted"], profile["state"]) == ("dev", "up", "up")


def test_a_profile_that_is_down_is_not_restarted(api: Api) -> None:
    assert api.ask("POST", "/v1/profiles/dev/down").status == 200
    answer = api.ask("POST", "/v1/profiles/dev/restart")
    problem(answer, 409, "not-up")
    assert answer.json["hint"] == "tunnelctl up dev"
    status = api.ask("GET", "/v1/status").json
    assert status["profiles"][0]["state"] == "stopped", "nothing was started"


def test_ps_prints_the_status_document_as_it_is(api: Api, embedded: World) -> None:
    asked = api.ask("GET", "/v1/status").json
    shown = json.loads(embedded.ok("ps", "-a", "--json"))
    for document in (asked, shown):
        document["profiles"] = [steady(profile) for profile in document["profiles"]]
    assert shown == asked


def test_orders_by_name_alone(api: Api) -> None:
    """A profile that the daemon can find needs no file in the body, and no body."""
    answer = api.ask("POST", "/v1/profiles/other/up")
    assert answer.status == 200, answer.body
    assert answer.json["profile"]["name"] == "other"
    eventually(
        lambda: api.ask("GET", "/v1/status").json["profiles"][1]["state"] == "up", "other is up"
    )
    assert api.ask("POST", "/v1/profiles/other/restart").status == 200
    down = api.ask("POST", "/v1/profiles/other/down", {"timeout": 0})
    assert down.json["profile"]["state"] == "stopped"
    states = [profile["state"] for profile in api.ask("GET", "/v1/status").json["profiles"]]
    assert states == ["up", "stopped"]


def test_what_comes_up_for_a_command_that_has_gone_goes_down(api: Api, embedded: World) -> None:
    """An attached `up` that is interrupted before its order was answered leaves nothing up."""
    port = int(embedded.ok("port", "dev/hello").rpartition(":")[2])
    with api.connect() as watcher, api.connect() as down, connect(port) as client:
        events = _events(api, watcher)
        eventually(
            lambda: embedded.forward("dev", "hello")["connections"]["open"] == 1, "it is open"
        )
        down.sendall(_post("/v1/profiles/dev/down", {"timeout": 3600}))
        _await_state(events, "stopping")
        with api.connect() as command, api.connect() as order:
            lease = "0123456789abcdef"
            _events(api, command, f"?lease={lease}").close()
            order.sendall(_post("/v1/profiles/dev/up", {"lease": lease}))
            again = {"names": ["dev"], "dry_run": True}
            eventually(
                lambda: api.ask("POST", "/v1/reload", again).status == 200, "the order is taken"
            )
        eventually(lambda: api.ask("GET", "/v1/version").json["attached"] == 0, "it has gone")
        client.close()  # nothing is left to drain: the order is next
        _await_state(events, "starting")
        eventually(lambda: embedded.status()["profiles"][0]["state"] == "stopped", "it is down")
        events.close()


def test_events_are_server_sent(api: Api) -> None:
    with api.connect() as reader:
        reader.sendall(b"GET /v1/events HTTP/1.0\r\n\r\n")
        stream = reader.makefile("r")
        head = [stream.readline().strip() for _ in range(3)]
        assert head[0].endswith("200 OK")
        api.ask("POST", "/v1/profiles/dev/down", {"timeout": 0})
        told = (line for line in stream if line.startswith("data:"))
        events = (json.loads(line.removeprefix("data:")) for line in told)
        event = next(event for event in events if event["kind"] != "health")  # of its own time
        stream.close()
    assert event["kind"] == "profile"
    assert (event["profile"], event["state"]) == ("dev", "stopping")


def test_what_is_not_there_is_a_problem(shared_api: Api) -> None:
    for method, target, status, code in (
        ("GET", "/v1/nothing", 404, "not-found"),
        ("DELETE", "/v1/status", 405, "method-not-allowed"),
        ("GET", "/v1/profiles/dev/up", 405, "method-not-allowed"),
        ("POST", "/v1/profiles/unknown/up", 404, "profile-not-found"),
        ("POST", "/v1/profiles/unknown/down", 404, "profile-not-found"),
        ("POST", "/v1/profiles/unknown/restart", 404, "profile-not-found"),
        ("POST", "/v1/profiles/..%2f..%2fetc/up", 404, "profile-not-found"),
        ("GET", "/v1/events?lease=x", 400, "usage"),
        ("GET", "/v1/connections?profile=unknown", 404, "profile-not-found"),
        ("GET", "/v1/connections?forward=unknown", 404, "profile-not-found"),
        ("GET", "/v1/history?profile=unknown", 404, "profile-not-found"),
        ("GET", "/v1/requests/unknown/web", 404, "profile-not-found"),
    ):
        problem(shared_api.ask(method, target), status, code)


def test_a_profile_may_be_asked_for_before_it_is_known(shared_api: Api) -> None:
    """As by `up`."""
    assert shared_api.ask("GET", "/v1/status?profile=unknown").json["profiles"] == []
    assert shared_api.ask("GET", "/v1/logs?profile=unknown").json["lines"] == []
    with shared_api.connect() as reader, reader.makefile("rb") as stream:
        reader.sendall(b"GET /v1/events?profile=unknown HTTP/1.0\r\n\r\n")
        assert stream.readline().endswith(b" 200 OK\r\n")


def test_a_wrong_body_changes_nothing(shared_api: Api) -> None:
    for body in (
        {"file": "relative.yaml"},
        {"file": 7},
        {"file": "/nul\0byte"},
        {"environment": ["x"]},
        {"environment": {"A": 1}},
        {"lease": "short"},
        {"unknown": 1},
        ["no object"],
    ):
        problem(shared_api.ask("POST", "/v1/profiles/other/up", body), 400, "usage")
    for raw in (b"{", b"\xff\xfe", b"[" * 50_000, b"NaN,"):
        problem(shared_api.ask("POST", "/v1/profiles/other/up", raw=raw), 400, "usage")
    for timeout in (-1, "10", None, 1e9):
        problem(shared_api.ask("POST", "/v1/profiles/dev/down", {"timeout": timeout}), 400, "usage")
    (profile,) = shared_api.ask("GET", "/v1/status").json["profiles"]
    assert (profile["name"], profile["state"]) == ("dev", "up")


def test_a_body_that_is_too_large(shared_api: Api) -> None:
    large = b'"' + b"x" * (MOST_BYTES + 70_000) + b'"'
    answer = shared_api.ask("POST", "/v1/profiles/other/up", raw=large)
    problem(answer, 413, "request-entity-too-large")


def test_a_wrong_profile_says_everything_and_changes_nothing(api: Api, embedded: World) -> None:
    embedded.profile("dev", "version: 1\nhosts:\n  demo: {prot: 22}\nforwards: {x: {local: y}}\n")
    answer = api.ask("POST", "/v1/profiles/dev/up")
    problem(answer, 422, "config-invalid")
    assert len(answer.json["mistakes"]) > 1
    assert any("dev.yaml:3:10: hosts.demo.prot" in text for text in answer.json["mistakes"])
    assert api.ask("GET", "/v1/status").json["profiles"][0]["state"] == "up"


def test_profiles_are_checked_and_nothing_is_changed(api: Api, embedded: World) -> None:
    good, other = embedded.configs / "dev.yaml", embedded.profile("other", "version: 1\nnope: 1\n")
    third = embedded.profile("third", "version: 1\nhosts: []\n")
    answer = api.ask("POST", "/v1/check", {"profiles": [{"file": str(good), "name": "called"}]})
    (checked,) = answer.json["profiles"]
    assert (checked["file"], checked["name"]) == (str(good), "called")
    assert checked["required"]
    files = [{"file": str(file)} for file in (good, other, third)]
    answer = api.ask("POST", "/v1/check", {"profiles": files})
    problem(answer, 422, "config-invalid")
    for file in (other, third):
        assert any(text.startswith(f"{file}:2:") for text in answer.json["mistakes"])
    wrong: tuple[dict[str, Any], ...] = (
        {},
        {"profiles": []},
        {"profiles": ["x"]},
        {"profiles": [{"name": "x"}]},
        {"profiles": [{"file": str(good), "name": 7}]},
        {"profiles": [{"file": str(good), "nome": "x"}]},
    )
    for body in wrong:
        problem(api.ask("POST", "/v1/check", body), 400, "usage")
    (profile,) = api.ask("GET", "/v1/status").json["profiles"]
    assert (profile["name"], profile["state"]) == ("dev", "up")


def test_shutdown_ends_it_and_leaves_no_socket(api: Api, paths: Paths) -> None:
    pid = api.ask("GET", "/v1/version").json["pid"]
    assert api.ask("POST", "/v1/shutdown").status == 202
    eventually(lambda: not is_running(pid), "the daemon ends", 10)
    assert not paths.socket.exists()


def test_silent_clients_do_not_keep_others_out(shared_api: Api) -> None:
    with contextlib.ExitStack() as stack:
        for number in range(200):
            sock = stack.enter_context(shared_api.connect())
            if number % 2:
                sock.sendall(b"GET /v1/status HT")  # half a request
            if not number % 40:
                began = time.monotonic()
                assert shared_api.ask("GET", "/healthz").status == 200
                assert time.monotonic() - began < 4  # a silent one is cut after 5 s


def test_a_silent_client_is_cut(shared_api: Api) -> None:
    with shared_api.connect() as sock:
        sock.sendall(b"POST /v1/profiles/dev/down HTTP/1.1\r\nHost: x\r\nContent-Le")
        assert _ended(sock)
    with shared_api.connect() as sock:
        sock.sendall(b"POST /v1/shutdown HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
        with contextlib.suppress(ConnectionError):
            assert b" 408 " in sock.recv(4096)
    assert shared_api.ask("GET", "/v1/status").json["profiles"][0]["state"] == "up"


def test_an_endless_line_is_refused(shared_api: Api) -> None:
    with shared_api.connect() as sock, contextlib.suppress(ConnectionError):
        for _ in range(1000):
            sock.sendall(b"x" * 65536)
        assert _ended(sock)
    assert shared_api.ask("GET", "/healthz").status == 200


def test_readers_that_never_read_do_not_stop_it(api: Api) -> None:
    with contextlib.ExitStack() as stack:
        streams = []
        for _ in range(_STREAMS + 6):
            sock = stack.enter_context(api.connect())
            sock.sendall(b"GET /v1/events HTTP/1.0\r\n\r\n")
            streams.append(sock.recv(4096).split(b" ")[1])
        # Some places are kept for questions.
        assert streams.count(b"200") == _STREAMS
        assert streams.count(b"503") == 6
        for _ in range(5):
            assert api.ask("POST", "/v1/profiles/dev/restart").status == 200
            assert api.ask("GET", "/v1/status").status == 200


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_not_served(api: Api, embedded: World) -> None:
    """Even one who can reach the socket, which its directory prevents."""
    for directory in (embedded.home, api.path.parent.parent, api.path.parent):
        directory.chmod(0o711)
    api.path.chmod(0o666)
    assert _as_nobody(lambda: _status_line(api)) == b""
    assert api.ask("GET", "/healthz").status == 200


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_client_says_nothing_to_another_users_socket(world: World, paths: Paths) -> None:
    world.profile("dev", "version: 1\nhosts: {demo: {embedded: true}}\nforwards: {}\n")
    paths.runtime_dir.mkdir(mode=0o700)
    listener = socket.socket(socket.AF_UNIX)
    with listener:
        listener.bind(str(paths.socket))
        # The kernel remembers who called listen.
        _as_nobody(lambda: _listen(listener))
        listener.settimeout(20)
        done = world.run("ps")
        assert done.returncode == 3
        assert "another user" in done.stderr
        connection, _ = listener.accept()
        with connection:
            assert peer_uid(connection) == 0
            assert connection.recv(1) == b""
        for words in (["--all"], ["dev"]):
            done = world.run("down", *words)
            assert done.returncode == 3, "what it holds is still up"
            assert "another user" in done.stderr
            listener.accept()[0].close()


@pytest.mark.parametrize(
    "target",
    [
        *(f"GET /v1/{name}?bogus=1" for name in ("version", "status", "events", "connections")),
        "GET /v1/history?bogus=1",
        "GET /v1/fleet?bogus=1",
        "GET /v1/status?lease=0123456789abcdef&lease=0123456789abcdef",
        "GET /v1/connections?process=yes",
        "GET /v1/connections?profile=a&profile=b",
        "GET /v1/events?silent=yes",
        "GET /v1/events?orders=2",
        "POST /v1/reload?dry_run=1",
        "POST /v1/profiles/dev/down?timeout=0",
        "POST /v1/connections/1/close?force=1",
        "POST /v1/fleet/dev/hand-over?bogus=1",
    ],
)
def test_a_query_that_means_nothing_is_refused(shared_api: Api, target: str) -> None:
    method, path = target.split(" ")
    problem(shared_api.ask(method, path), 400, "usage")


def test_what_is_no_request_is_a_problem(shared_api: Api) -> None:
    with shared_api.connect() as sock:
        sock.sendall(b"GET /secret\x01 HTTP/1.1\r\n\r\n")
        with sock.makefile("rb") as stream:
            answer = stream.read()
    assert answer.startswith(b"HTTP/1.0 400 ")
    assert b"application/problem+json" in answer
    assert f"Server: tunnelctl/{__version__}".encode() in answer
    assert b"secret" not in answer


def _post(target: str, body: object) -> bytes:
    """A request as bytes, for whoever does not wait for the answer."""
    text = json.dumps(body).encode()
    return b"POST %b HTTP/1.0\r\nContent-Length: %d\r\n\r\n%b" % (target.encode(), len(text), text)


def _events(api: Api, reader: socket.socket, query: str = "") -> TextIO:
    """The stream of events, which has begun."""
    reader.sendall(f"GET /v1/events{query} HTTP/1.0\r\n\r\n".encode())
    stream = reader.makefile("r")
    assert stream.readline().strip().endswith("200 OK")
    return stream


def _await_state(events: TextIO, state: str) -> None:
    """Read until a profile is in that state."""
    for line in events:
        if line.startswith("data:"):
            event = json.loads(line.removeprefix("data:"))
            if (event["kind"], event["state"]) == ("profile", state):
                return
    raise AssertionError(f"the events ended without {state}")


def _listen(listener: socket.socket) -> bytes:
    listener.listen()
    return b""


def _status_line(api: Api) -> bytes:
    with api.connect() as sock:
        try:
            sock.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            return sock.recv(100)
        except ConnectionError:
            return b""


def _as_nobody(work: Callable[[], bytes]) -> bytes:
    """What `work` gives in a child process of the user nobody."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(20)
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            os.write(write_end, work())
            code = 0
        finally:
            os._exit(code)
    os.close(write_end)
    with open(read_end, "rb") as pipe:
        said = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    return said


def _ended(sock: socket.socket) -> bool:
    try:
        while sock.recv(4096):
            pass
    except ConnectionError:
        pass
    return True
