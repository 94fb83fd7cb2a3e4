"""Takes the pictures of the dashboard in docs/: a real daemon with traffic, seen in Chromium.

    python -m tools.make_screenshots [--seconds N]

Run in the project's folder; needs Debian's chromium and the extra `test`. It runs in a private
home, because it must never touch the user's daemon, files or keys. The curves show the traffic of
the seconds before.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import monotonic

from playwright.sync_api import Page, expect

from tests.dashboard.board import Board, dashboard
from tests.dashboard.chromium import chromium, logged_in
from tests.support.ports import free_port
from tests.support.services import EchoService, connect
from tests.support.world import private_world

DOCS = Path(__file__).resolve().parents[1] / "docs"
_PROFILES = {
    "shop": """\
version: 1
hosts:
  bastion: {embedded: true}
forwards:
  database: {local: %(database)d, to: "127.0.0.1:%(echo)d", via: bastion}
  api: {local: %(api)d, to: "127.0.0.1:%(web)d", via: bastion, inspect: http}
  webhook: {remote: 0, to: "127.0.0.1:%(web)d", via: bastion}
  proxy: {dynamic: 0, via: bastion}
""",
    "staging": """\
version: 1
hosts:
  staging: {hostname: 127.0.0.1, port: %(nobody)d, user: deploy, ssh_config: false}
forwards:
  wiki: {local: 0, to: "wiki.internal:80", via: staging}
""",
    "office": """\
version: 1
hosts:
  gateway: {embedded: true}
forwards:
  printer: {local: 0, to: "127.0.0.1:%(web)d", via: gateway}
""",
}
_PATHS = ("/v1/orders", "/v1/orders/1042", "/v1/cart", "/static/logo.svg", "/v1/stock?sku=7", "/v2")


def main(arguments: Sequence[str]) -> int:
    """Take the pictures; returns the exit code."""
    parser = argparse.ArgumentParser(description="Take the pictures of the dashboard.")
    parser.add_argument("--seconds", type=float, default=300.0, help="of traffic before")
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        world = stack.enter_context(private_world())
        ports = _services(stack)
        for name, text in _PROFILES.items():
            world.profile(name, text % ports)
        world.ok("up", "shop", "office", "-d")
        world.run("up", "staging", "-d", "--wait-timeout", "0s")
        with _traffic(ports["database"], ports["api"]) as over:
            over.wait(options.seconds)
            board = stack.enter_context(dashboard(world))
            board.log_in()
            _take(board)
    return 0


def _services(stack: ExitStack) -> dict[str, int]:
    echo = stack.enter_context(EchoService())
    web = _WebServer(("127.0.0.1", 0), _Web)
    threading.Thread(target=web.serve_forever).start()
    stack.callback(web.server_close)
    stack.callback(web.shutdown)
    free = {name: free_port() for name in ("database", "api", "nobody")}
    return {**free, "echo": echo.port, "web": web.server_port}


class _WebServer(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: a probe of the daemon left."""


class _Web(BaseHTTPRequestHandler):
    """A small API."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        is_known = self.path != "/v2"
        body = (
            b'{"order": 1042, "state": "shipped"}\n' if is_known else b'{"error": "no such path"}\n'
        )
        self.send_response(200 if is_known else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextmanager
def _traffic(database: int, api: int) -> Iterator[threading.Event]:
    """Clients that are busy in waves, until the end of the block."""
    over = threading.Event()

    def queries() -> None:
        with connect(database) as sock:
            while not over.wait(0.05):
                amount = int(
                    24_000 * (1.2 + math.sin(monotonic() / 6) + 0.4 * math.sin(monotonic()))
                )
                sock.sendall(b"x" * max(amount, 500))
                left = max(amount, 500)
                while left:
                    left -= len(sock.recv(left))

    def requests() -> None:
        for number in range(1_000_000):
            with connect(api) as sock:
                path = _PATHS[number % len(_PATHS)]
                lines = (
                    f"GET {path} HTTP/1.1",
                    "Host: api.shop.example",
                    "Authorization: Bearer x",
                )
                sock.sendall("\r\n".join((*lines, "Connection: close", "", "")).encode())
                while sock.recv(65536):
                    pass
            if over.wait(2.0):
                return

    work: tuple[Callable[[], None], ...] = (queries, queries, requests)
    threads = [threading.Thread(target=one) for one in work]
    for thread in threads:
        thread.start()
    try:
        yield over
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _take(board: Board) -> None:
    with chromium() as browser:
        context = logged_in(browser, board, width=1180)
        page = context.new_page()
        page.goto(f"{board.origin}/")
        shop = page.get_by_role("table", name="Hosts").get_by_role("row", name="shop/bastion")
        expect(shop.get_by_role("img", name="M bytes per second")).to_be_visible()
        expect(shop).to_contain_text(re.compile(r"\d[kM]/"))  # rates are known after a second look
        _picture(page, "overview", 760)
        page.emulate_media(color_scheme="dark")
        page.goto(f"{board.origin}/#/host/shop/bastion")
        expect(page.locator(".curve canvas").last).to_be_visible()
        page.wait_for_timeout(2500)  # until the curves have values
        _picture(page, "host", 700)
        page.emulate_media(color_scheme="light")
        page.goto(f"{board.origin}/#/requests/shop/api")
        page.get_by_role("button", name="/v1/orders/1042").first.click()
        _picture(page, "requests", 560)
        context.close()


def _picture(page: Page, name: str, height: int) -> None:
    page.set_viewport_size({"width": 1180, "height": height})
    page.mouse.move(0, height - 1)
    page.screenshot(path=DOCS / f"dashboard-{name}.png")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
