"""Debian's Chromium, driven by playwright: one browser, a new profile, and no talk with anybody."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, BrowserContext, expect, sync_playwright

from tests.dashboard.board import Board

_OPTIONS = (
    "--no-sandbox",  # root has none
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--renderer-process-limit=1",
)
expect.set_options(timeout=20_000)  # a busy machine is no fault of the page's
needs_chromium = pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser, whose contexts have nothing in common."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), headless=True, args=list(_OPTIONS)
        )
        try:
            yield browser
        finally:
            browser.close()


def logged_in(browser: Browser, board: Board, width: int = 1280) -> BrowserContext:
    """A context with the session of a dashboard: the token works once."""
    context = browser.new_context(viewport={"width": width, "height": 800})
    name, _, value = board.cookie.partition("=")
    context.add_cookies([{"name": name, "value": value, "url": board.origin, "sameSite": "Strict"}])
    return context
