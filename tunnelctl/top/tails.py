"""The rows that only grow: the log, and the HTTP requests of one forward.

Owns the threads that follow them, from the first time that each is shown.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from textual.message import Message

from tunnelctl.client import Client
from tunnelctl.top.feeds import Feed, LogFeed, RequestFeed
from tunnelctl.top.log import KEPT, LogRow
from tunnelctl.top.messages import Crashed, Done, LineLogged, RequestSeen
from tunnelctl.view.request_rows import RequestRow, request_row
from tunnelctl.view.rows import ForwardRow

_REQUESTS_KEPT = 200


class Tails:
    """Rows of the log and of requests. `post` takes the messages of the threads."""

    def __init__(self, client: Client, post: Callable[[Message], object]) -> None:
        self._client = client
        self._post = post
        self._lines: deque[LogRow] = deque(maxlen=KEPT)
        self._lines_so_far = 0
        self._requests: dict[int, RequestRow] = {}
        self.inspected = ""  # the forward that the requests belong to, PROFILE/FORWARD
        self._log_feed: Feed | None = None
        self._request_feed: Feed | None = None

    @property
    def log(self) -> tuple[LogRow, ...]:
        """The last lines, oldest first."""
        return tuple(self._lines)

    @property
    def requests(self) -> tuple[RequestRow, ...]:
        """The last requests, oldest first."""
        return tuple(self._requests.values())

    def open_log(self) -> None:
        """Follow the log."""
        if self._log_feed is None:
            post = self._post
            self._log_feed = LogFeed(
                self._client,
                KEPT,
                lambda line: post(LineLogged(line)),
                lambda error: post(Crashed(error)),
            )
            self._log_feed.start()

    def inspect(self, row: ForwardRow) -> None:
        """Follow the requests of this forward instead of the last one's."""
        if self.inspected == row.place:
            return
        if self._request_feed is not None:
            self._request_feed.stop()
        self._requests.clear()
        place = self.inspected = row.place
        post = self._post
        self._request_feed = RequestFeed(
            self._client,
            (row.profile, row.name),
            _REQUESTS_KEPT,
            lambda exchange: post(RequestSeen(place, exchange)),
            lambda failure: post(Done(str(failure))),
            lambda error: post(Crashed(error)),
        )
        self._request_feed.start()

    def add_line(self, message: LineLogged) -> None:
        """Keep a line of the log."""
        self._lines_so_far += 1
        self._lines.append(LogRow.of(self._lines_so_far, message.line))

    def add_request(self, message: RequestSeen) -> None:
        """Keep what is known of a request, unless it is of a forward that was shown before."""
        if message.place == self.inspected:
            row = request_row(message.exchange)
            self._requests[row.id] = row
            while len(self._requests) > _REQUESTS_KEPT:
                del self._requests[next(iter(self._requests))]

    def stop(self) -> None:
        """End the threads."""
        for feed in (self._log_feed, self._request_feed):
            if feed is not None:
                feed.stop()
