"""What `top` shows of a view, and what its keys do, without a daemon."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from textual.events import Key
from textual.pilot import Pilot
from textual.widgets import Input

from tests.top import screens
from tests.top.screens import (
    FOLDER,
    LARGE,
    SCREENS,
    SMALL,
    STOPPED,
    Still,
    a_view,
    text_of,
    with_looks,
)
from tunnelctl import __version__
from tunnelctl.top.messages import Away, Crashed, NewView


@asynccontextmanager
async def running(size: tuple[int, int] = SMALL) -> AsyncIterator[tuple[Still, Pilot[None]]]:
    """A screen with a view."""
    app = Still()
    async with app.run_test(size=size) as pilot:
        app.post_message(NewView(a_view()))
        await pilot.pause()
        yield app, pilot


@pytest.mark.parametrize("name", SCREENS)
async def test_the_screens(name: str) -> None:
    assert await screens.shown(name) == (FOLDER / f"{name}.txt").read_text(), (
        "python -m tests.top.screens"
    )


async def test_the_picture_in_the_readme_is_what_top_shows() -> None:
    kept = screens.PICTURE.read_text(encoding="utf-8")
    assert with_looks(kept) == with_looks(await screens.picture()), "python -m tests.top.screens"
    assert "url(http" not in kept, "it needs nothing from elsewhere"


async def test_nothing_is_shown_as_up_when_the_daemon_is_away() -> None:
    assert await screens.away() == (FOLDER / "away-80x24.txt").read_text()


async def test_a_daemon_that_comes_back_is_shown_again() -> None:
    async with running() as (app, pilot):
        before = text_of(app)
        app.post_message(Away(STOPPED))
        app.post_message(NewView(a_view()))
        await pilot.pause()
        assert text_of(app) == before


async def test_the_cursor_stays_on_its_row_when_rows_move() -> None:
    async with running() as (app, pilot):
        await pilot.press("end", "up")  # dev/db
        view = a_view()
        app.post_message(NewView(view._replace(forwards=tuple(reversed(view.forwards)))))
        await pilot.pause()
        await pilot.press("enter")
        await pilot.pause()
        assert "dev/db  " in text_of(app)


async def test_many_rows_scroll_below_their_header() -> None:
    async with running((120, 24)) as (app, pilot):
        view = a_view()
        rows = tuple(view.forwards[2]._replace(name=f"f{number:04}") for number in range(1000))
        app.post_message(NewView(view._replace(forwards=rows, broken=())))
        await pilot.pause()
        await pilot.press("end")
        await pilot.pause()
        assert "f0999" in text_of(app)
        assert "NAME" in text_of(app)
        await pilot.press("home", "pagedown")
        await pilot.pause()
        lines = text_of(app).splitlines()
        header = next(at for at, line in enumerate(lines) if line.startswith("NAME"))
        rows_shown = [line for line in lines[header + 1 :] if line.startswith("dev")]
        assert "f0000" not in text_of(app)
        assert len(rows_shown) == len(lines) - header - 3, "the table fills the screen"


async def test_a_long_reason_hides_no_other_cause() -> None:
    async with running() as (app, pilot):
        view = a_view()
        cause = view.broken[0]
        broken = tuple(
            cause._replace(place=f"lab/h{number}", why="a long story " * 20) for number in range(4)
        )
        app.post_message(NewView(view._replace(broken=broken, daemon_version="9.0.0")))
        await pilot.pause()
        lines = text_of(app).splitlines()
        assert [line.partition(":")[0] for line in lines[2:8:2]] == ["lab/h0", "lab/h1", "lab/h2"]
        assert all(line.endswith("tunnelctl trust lab/lab") for line in lines[3:9:2])
        assert lines[8] == "… 1 more cause"
        assert lines[9].startswith("NAME")


async def test_escape_removes_the_filter() -> None:
    async with running() as (app, pilot):
        before = text_of(app)
        await pilot.press("slash", "w", "e", "b")
        await pilot.pause()
        assert "dev/db" not in text_of(app)
        await pilot.press("escape")
        await pilot.pause()
        assert text_of(app) == before


async def test_keys_that_arrive_together_with_the_slash_are_words() -> None:
    """A paste, or a slow line: `d` and `y` would take a profile down."""
    async with running() as (app, pilot):
        for character in "/dy":
            app.post_message(Key("slash" if character == "/" else character, character))
        await pilot.pause()
        assert len(app.screen_stack) == 1, "no question"
        assert app.query_one("#filter", Input).value == "dy"
        await pilot.press("slash")
        assert app.query_one("#filter", Input).value == "dy/"


async def test_the_log_follows_its_end_and_is_filtered() -> None:
    async with running() as (app, pilot):
        for number in (0, 1):
            app.post_message(screens.line_logged(number))
        await pilot.press("l")
        await pilot.pause()
        assert "host dev/bastion up" in text_of(app)
        for _ in range(30):
            app.post_message(screens.line_logged(1))
        await pilot.pause()
        assert "dev/bastion up" not in text_of(app), "older lines have scrolled away"
        await pilot.press("slash", *"bastion", "enter")
        await pilot.pause()
        assert "host dev/bastion up" in text_of(app)
        assert "backoff: edge" not in text_of(app)


async def test_only_y_confirms() -> None:
    async with running() as (app, pilot):
        for key in ("n", "escape", "q", "enter", "x"):
            await pilot.press("d", key)
            await pilot.pause()
            assert "is down" not in text_of(app)
            await pilot.press("n")
        await pilot.press("d", "y")
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert "the daemon is not running" in text_of(app), "the order failed, in one line"


async def test_a_restart_asks_only_if_clients_are_connected() -> None:
    async with running() as (app, pilot):
        await pilot.press("end", "r")  # dev/web, with two clients beside two of dev/db
        await pilot.pause()
        assert "Reconnect bastion of dev? 4 clients are connected. y/n" in text_of(app)
        await pilot.press("n", "home", "r")  # lab/shell, without
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert "y/n" not in text_of(app)
        assert "the daemon is not running" in text_of(app)


@pytest.mark.parametrize("size", [(20, 6), (200, 60), LARGE, (40, 10)])
async def test_it_fits_any_terminal(size: tuple[int, int]) -> None:
    async with running(size) as (app, pilot):
        for key in ("h", "c", "l", "f", "enter", "escape", "question_mark", "escape"):
            await pilot.press(key)
            await pilot.pause()
            lines = text_of(app).splitlines()
            assert len(lines) <= size[1]
            assert max(map(len, lines)) <= size[0]


async def test_a_thread_that_dies_ends_it() -> None:
    """Nothing would ever change on the screen."""
    app = Still()

    async def crash() -> None:
        async with app.run_test() as pilot:
            app.post_message(Crashed(ZeroDivisionError()))
            await pilot.pause()

    with pytest.raises(ZeroDivisionError):
        await crash()


async def test_a_daemon_of_another_version_is_said() -> None:
    async with running() as (app, pilot):
        app.post_message(NewView(a_view()._replace(daemon_version="9.0.0")))
        await pilot.pause()
        assert "the daemon is version 9.0.0, this is" in text_of(app)
        assert f"{__version__}; tunnelctl up PROFILE -d" in text_of(app)


async def test_what_others_say_is_no_markup() -> None:
    async with running((120, 24)) as (app, pilot):
        view = a_view()
        (cause, *_), (row, *_) = view.broken, view.forwards
        evil = view._replace(
            broken=(cause._replace(why="[bold]no[/bold] [@click=app.quit]x[/]"),),
            forwards=(row._replace(target="[red]db[/red]"),),
        )
        app.post_message(NewView(evil))
        await pilot.pause()
        assert "[bold]no[/bold] [@click=app.quit]x[/]" in text_of(app)
        assert "[red]db[/red]" in text_of(app)
