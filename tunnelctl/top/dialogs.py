"""The screens above the tables: a question, the help, the details of a row."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

HELP = """\
arrows, PgUp, PgDn, Home, End   move the cursor
Enter   details of the row
f       forwards                  h   hosts
c       connections               l   log
i       the HTTP requests of a forward with inspect: http
/       filter: every word must occur; Esc removes it
s       sort by the next order: state, name, traffic, connections, newest
u       tunnelctl up PROFILE -d
d       tunnelctl down PROFILE
r       tunnelctl restart PROFILE/HOST
x       tunnelctl connections --close ID
q       quit

d and x ask before they do it, and so does r if clients are connected.
What is broken is above the table, with the command that fixes it."""


class ConfirmDialog(ModalScreen[bool]):
    """Asks whether to do something; `command` does the same. Only `y` says yes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)"),
        Binding("n,escape,q", "answer(False)"),
    ]

    def __init__(self, question: str, command: str) -> None:
        super().__init__()
        self._question = question
        self._command = command

    def compose(self) -> ComposeResult:
        """A box in the middle."""
        yield Static(Content(f"{self._question} y/n\n\n{self._command}"), classes="box")

    def action_answer(self, answer: bool) -> None:
        """Close with the answer."""
        self.dismiss(answer)


class Page(ModalScreen[None]):
    """A text that is asked for again and again, until a key closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter,question_mark", "close"),
    ]

    def __init__(self, text: Callable[[], str]) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        """A box that scrolls if it is too long."""
        with VerticalScroll(classes="box"):
            yield Static(Content(self._text()))

    def update(self) -> None:
        """Show what it says now."""
        self.query_one(Static).update(Content(self._text()))

    def action_close(self) -> None:
        """Back to the tables."""
        self.dismiss()
