"""The dashboard between a browser and the daemon: the command, what it passes on, what it tells."""

from __future__ import annotations

import os
import signal
import socket
import stat
from pathlib import Path
from unittest import mock

from tests.dashboard.board import Board, dashboard
from tests.support.ports import free_port
from tests.support.profiles import EMBEDDED
from tests.support.waiting import eventually
from tests.support.world import World
from tunnelctl import __version__


def test_it_passes_questions_on(board: Board) -> None:
    status = board.ask("GET", "/v1/status").json
    assert status["profiles"][0]["name"] == "dev"
    lines = board.ask("GET", "/v1/logs?profile=dev&lines=5").json["lines"]
    assert 0 < len(lines) <= 5
    problem = board.ask("POST", "/v1/profiles/nobody/restart", {})
    assert problem.headers["content-type"].startswith("application/problem+json")
    assert (problem.status, problem.json["code"]) == (404, "profile-not-found")
    assert board.ask("HEAD", "/v1/events").status == 405


def test_orders_do_what_commands_do(board: Board) -> None:
    with board.events("/v1/events") as events:
        source = board.ask("GET", "/v1/status").json["profiles"][0]["source"]
        down = board.ask("POST", "/v1/profiles/dev/down", {}, Origin=board.origin)
        assert down.json["profile"]["wanted"] == "down"
        assert any(event["state"] == "stopped" for _, event in events), "streams come as they are"
    order = {"file": source}
    assert board.ask("POST", "/v1/profiles/dev/up", order, Origin=board.origin).status == 200
    eventually(lambda: board.world.status()["profiles"][0]["state"] == "up", "it is up again")


def test_the_view_comes_at_once_and_at_each_change(board: Board) -> None:
    with board.events() as events:
        kind, about = next(events)
        assert (kind, about["answers"], about["version"]) == ("daemon", True, __version__)
        kind, view = next(events)
        assert (kind, view["profiles"][0]["condition"]) == ("view", "up")
        source = view["profiles"][0]["source"]
        board.ask("POST", "/v1/profiles/dev/down", {})
        lines: list[str] = []
        is_stopped = False
        while not (lines and is_stopped):
            kind, told = next(events)
            if kind == "log":
                lines.append(told["message"])
            elif kind == "view":
                is_stopped = told["profiles"][0]["condition"] == "stopped"
        assert any("take down dev" in line for line in lines), lines
        board.ask("POST", "/v1/profiles/dev/up", {"file": source})
        while told.get("profiles", [{}])[0].get("condition") != "up":
            kind, told = next(events)


def test_the_view_once_has_curves_and_processes(board: Board) -> None:
    view = board.ask("GET", "/v1/view").json
    assert view["hosts"][0]["place"] == "dev/demo"
    assert "curve_in" in view["hosts"][0]


def test_a_forward_without_a_profile(board: Board) -> None:
    """The command that the page shows is the command that is run."""
    order = {"forwards": [["-L", "0:127.0.0.1:9"]], "host": "nobody@127.0.0.1:1"}
    bad = {
        "host": {**order, "host": "-oProxyCommand=touch evil"},
        "option": {**order, "forwards": [["-o", "ProxyCommand=touch evil"]]},
        "spec": {**order, "forwards": [["-L", "-oProxyCommand=touch evil"]]},
        "more": {**order, "more": 1},
    }
    for name, refused in bad.items():
        assert board.ask("POST", "/v1/adhoc", refused).status == 400, name
    answer = board.ask("POST", "/v1/adhoc", {**order, "host": "bad host"}).json
    assert answer["command"] == "tunnelctl up -d -L 0:127.0.0.1:9 'bad host'"
    assert answer["exit_code"] == 2
    assert answer["said"]


def test_a_profile_comes_up_in_the_environment_of_the_dashboard(shared_world: World) -> None:
    """As by `tunnelctl up`, typed where the dashboard was started."""
    labelled = EMBEDDED.replace("via: demo", 'via: demo, labels: {of: "${NAMED}"}')
    file = shared_world.profile("named", labelled)
    with mock.patch.dict(shared_world.environ, {"NAMED": "anna"}), dashboard(shared_world) as board:
        board.log_in()
        up = board.ask("POST", "/v1/profiles/named/up", {"file": str(file)}, Origin=board.origin)
        assert up.json["profile"]["forwards"][0]["labels"] == {"of": "anna"}
    shared_world.ok("down", "named")


def test_it_says_that_the_daemon_went_away_and_came_back(world: World) -> None:
    world.profile("dev", "version: 1\nhosts:\n  demo: {embedded: true}\n")
    world.ok("up", "dev", "-d")
    with dashboard(world) as board:
        board.log_in()
        with board.events() as events:
            next(events)
            world.kill_daemon()
            about = next(told for kind, told in events if kind == "daemon")
            assert not about["answers"]
            assert "daemon" in about["message"]
            assert board.ask("GET", "/v1/status").status == 503
            world.ok("up", "dev", "-d")
            about = next(told for kind, told in events if kind == "daemon" and told["answers"])
            assert about["version"] == __version__


def test_without_a_daemon(world: World) -> None:
    done = world.run("dashboard")
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr == world.run("ps").stderr


def test_a_port_that_is_taken(shared_world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = shared_world.run("dashboard", "--port", str(port))
    assert done.returncode == 73
    assert f"127.0.0.1:{port}: it is in use by pid {os.getpid()}" in done.stderr
    assert done.stdout == ""


def test_a_port_of_a_forward(shared_world: World) -> None:
    port = str(shared_world.forward("dev", "hello")["listen"]).rpartition(":")[2]
    done = shared_world.run("dashboard", "--port", port)
    assert done.returncode == 73
    assert f"127.0.0.1:{port}: the forward dev/hello does" in done.stderr


def test_a_port_that_was_chosen(shared_world: World) -> None:
    port = free_port()
    with dashboard(shared_world, "--port", str(port)) as board:
        assert board.port == port


def test_sigterm_ends_it(shared_world: World) -> None:
    with dashboard(shared_world) as board:
        board.process.send_signal(signal.SIGTERM)
        assert board.process.wait(20) == 0


def test_the_browser_is_given_a_file(shared_world: World, tmp_path: Path) -> None:
    """Other users can read the arguments of a program: the token is in none of them."""
    seen = tmp_path / "seen"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf "%s" "$1" > {seen}.new && mv {seen}.new {seen}\n')
    browser.chmod(0o755)
    shared_world.environ["BROWSER"] = f"{browser} %s"
    process = shared_world.start("dashboard")
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        eventually(seen.exists, "the browser was started")
        file = Path(seen.read_text().removeprefix("file://"))
        assert url.partition("?")[2] not in seen.read_text()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert url in file.read_text()
    finally:
        del shared_world.environ["BROWSER"]
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20) == ("", "")
    assert not file.exists()
