"""Who is let in: with the token once, with the cookie from then on, and only this user."""

from __future__ import annotations

from tests.dashboard.board import Board, dashboard
from tests.support.nobody import as_nobody, needs_root
from tests.support.world import World


def test_the_token_works_once_and_becomes_a_cookie(shared_world: World) -> None:
    with dashboard(shared_world) as fresh:
        assert fresh.ask("GET", "/").status == 401
        assert fresh.ask("GET", "/?token=wrong").status == 401
        first = fresh.log_in()
        assert (first.status, first.headers["location"]) == (303, "/")
        name, *attributes = first.headers["set-cookie"].split("; ")
        assert name.startswith(f"tunnelctl-{fresh.port}=")
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(attributes)
        assert fresh.ask("GET", "/").status == 200
        assert fresh.ask("GET", fresh.target, cookie="").status == 401, "used"
        assert fresh.ask("GET", fresh.target).status == 401, "for the same browser too"


def test_a_link_in_a_file_logs_in_too(shared_world: World) -> None:
    """A browser sends no Strict cookie to where another site's link is redirected."""
    with dashboard(shared_world) as fresh:
        answer = fresh.ask(
            "GET", fresh.target, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate"
        )
        assert (answer.status, answer.headers["refresh"]) == (200, "0; url=/")
        assert "set-cookie" in answer.headers


def test_no_cookie(board: Board) -> None:
    for target in ("/", "/static/app.js", "/v1/status", "/v1/view", "/v1/nothing"):
        assert board.ask("GET", target, cookie="").status == 401, target
    assert board.ask("POST", "/v1/profiles/dev/down", {}, cookie="").status == 401
    assert b"<h1>Not logged in" in board.ask("GET", "/", cookie="", Accept="text/html").body


def test_the_cookie_among_those_of_other_services(board: Board) -> None:
    """Cookies do not know ports: the browser sends those of every service on this machine."""
    name = board.cookie.partition("=")[0]
    many = f'a="{{"; {name}=theirs; {board.cookie}; b'
    assert board.ask("GET", "/v1/version", cookie=many).status == 200
    assert board.ask("GET", "/v1/version", cookie=f"{name}=theirs").status == 401
    assert board.ask("GET", "/v1/version", cookie=f"{name}=ä").status == 401


def test_the_cookie_of_another_dashboard(board: Board, shared_world: World) -> None:
    with dashboard(shared_world) as other:
        other.log_in()
        assert other.cookie.partition("=")[0] != board.cookie.partition("=")[0]
        value = other.cookie.partition("=")[2]
        ours = f"{board.cookie.partition('=')[0]}={value}"
        assert board.ask("GET", "/v1/status", cookie=other.cookie).status == 401
        assert board.ask("GET", "/v1/status", cookie=ours).status == 401


@needs_root
def test_another_user_of_the_machine(shared_world: World) -> None:
    """Not without a cookie, not with one that leaked, and not with the token, which stays good."""
    with dashboard(shared_world) as fresh:

        def without() -> list[int]:
            return [fresh.ask("GET", "/v1/status").status, fresh.ask("GET", fresh.target).status]

        assert as_nobody(without) == [401, 401]
        assert fresh.log_in().status == 303

        def with_the_cookie() -> list[int]:
            order = fresh.ask("POST", "/v1/profiles/dev/down", {})
            return [fresh.ask("GET", "/v1/status").status, order.status]

        assert as_nobody(with_the_cookie) == [403, 403]
        assert fresh.ask("GET", "/v1/status").status == 200
