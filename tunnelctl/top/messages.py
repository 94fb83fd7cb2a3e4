"""Messages from the threads of `top` to its screen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from textual.message import Message

from tunnelctl.errors import Failure
from tunnelctl.state.documents.exchange import HttpExchange
from tunnelctl.view.rows import View


@dataclass
class NewView(Message):
    """The daemon was read."""

    view: View


@dataclass
class Away(Message):
    """The daemon cannot be read."""

    failure: Failure


@dataclass
class LineLogged(Message):
    """The daemon logged a line, as the control API sends it."""

    line: dict[str, Any]


@dataclass
class RequestSeen(Message):
    """An HTTP request of a forward, PROFILE/FORWARD, began, went on or ended."""

    place: str
    exchange: HttpExchange


@dataclass
class Done(Message):
    """The result of an action, in one line."""

    text: str


@dataclass
class Crashed(Message):
    """A thread ended by an error that nobody expected."""

    error: Exception
