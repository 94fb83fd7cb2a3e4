"""The screen of `top`: its parts, its keys, and what they do.

Owns which table is shown, its filter and its order. Must never block: the daemon is asked in
threads, and every failure is one line on the screen.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Final

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.css.query import NoMatches
from textual.widgets import ContentSwitcher, Input, Static

from tunnelctl import __version__
from tunnelctl.client import Client
from tunnelctl.client.sentences import REPLACING, other_versions
from tunnelctl.errors import Failure, printable
from tunnelctl.spec.environment import Environment
from tunnelctl.top.details import cause_lines, details, request_details
from tunnelctl.top.dialogs import HELP, ConfirmDialog, Page
from tunnelctl.top.feeds import Interests, StatusFeed
from tunnelctl.top.log import LOG, LogRow
from tunnelctl.top.messages import Away, Crashed, Done, LineLogged, NewView, RequestSeen
from tunnelctl.top.orders import carry_out
from tunnelctl.top.style import STYLE
from tunnelctl.top.table import RowTable
from tunnelctl.top.tails import Tails
from tunnelctl.view import columns, model, trouble
from tunnelctl.view.actions import Action, Verb, question, up
from tunnelctl.view.choice import RowOrder, matching, ordered
from tunnelctl.view.request_rows import REQUESTS, RequestRow
from tunnelctl.view.rows import ForwardRow, HostRow, View
from tunnelctl.view.texts import NOTHING

_CAUSES: Final = 3  # shown above the table
_BORDER: Final = 4  # columns around a page
_KEYS: Final = "u up  d down  r restart  / filter  s sort  h hosts  c connections  l log  ? help"
_FORWARDS, _HOSTS, _CONNECTIONS = "forwards", "hosts", "connections"
_LOG, _REQUESTS = "log", "requests"
_TABS = (_FORWARDS, _HOSTS, _CONNECTIONS, _LOG, _REQUESTS)


@dataclass
class _Choice:
    """The filter and the order of one table."""

    words: str = ""
    order: RowOrder = RowOrder.STATE


class Top(App[None]):
    """The application. `environment` is what `up` and `restart` send with a profile."""

    CSS = STYLE
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit"),
        Binding("question_mark", "help"),
        # Before the table gets the keys that follow: a paste or a slow line sends them together.
        Binding("slash", "filter", priority=True),
        Binding("escape", "unfilter"),
        Binding("s", "sort"),
        Binding("u", "act('up')"),
        Binding("d", "act('down')"),
        Binding("r", "act('restart')"),
        Binding("x", "act('close')"),
        Binding("f", f"open('{_FORWARDS}')"),
        Binding("h", f"open('{_HOSTS}')"),
        Binding("c", f"open('{_CONNECTIONS}')"),
        Binding("l", f"open('{_LOG}')"),
        Binding("i", "requests"),
        Binding("enter", "details"),
        Binding("ctrl+c", "quit"),
    ]

    def __init__(self, client: Client, environment: Callable[[], Environment]) -> None:
        super().__init__(ansi_color=True)
        self._client = client
        self._environment = environment
        self._view: View | None = None
        self._tab = _FORWARDS
        self._choices = {tab: _Choice() for tab in _TABS}
        self._tails = Tails(client, self.post_message)
        self._is_behind = False  # rows came that are not shown yet
        self._is_refused = False  # the message is about the row under the cursor
        post = self.post_message
        self._feed = StatusFeed(
            client,
            lambda view: post(NewView(view)),
            lambda failure: post(Away(failure)),
            lambda error: post(Crashed(error)),
        )

    def show(self) -> None:
        """Run until the user quits.

        Raises:
            Exception: an error inside, of which nothing was printed.
        """
        self.run()
        if self._exception is not None:
            raise self._exception

    def compose(self) -> ComposeResult:
        """From the top: a summary, what is broken, a table, the last message, the keys."""
        yield Static(id="title")
        yield Static(id="broken")
        with ContentSwitcher(initial=self._tab):
            yield RowTable(columns.forwards(with_rates=True), _place, id=_FORWARDS)
            yield RowTable(columns.HOSTS, _place, id=_HOSTS)
            yield RowTable(columns.CONNECTIONS, lambda row: row.id, id=_CONNECTIONS)
            yield RowTable(LOG, lambda row: str(row.number), id=_LOG, follows=True)
            yield RowTable(REQUESTS, lambda row: str(row.id), id=_REQUESTS, follows=True)
        yield Static(id="message")
        yield Input(id="filter", placeholder="words", compact=True)
        yield Static(Content(_KEYS), id="keys")

    def on_mount(self) -> None:
        """Begin to read the daemon. SIGTERM restores the terminal too; SIGHUP just ends it,
        as the terminal has gone, and textual can wait for it forever."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.exit)
        self._table.focus()
        self.start_reading()

    def start_reading(self) -> None:
        """Start the thread that reads the daemon."""
        self._feed.start()

    def on_unmount(self) -> None:
        """End the threads."""
        self._feed.stop()
        self._tails.stop()

    # What the threads say.

    def on_new_view(self, message: NewView) -> None:
        """Show it."""
        self._view = message.view
        self._show_broken(message.view)
        self._fill()

    def on_away(self, message: Away) -> None:
        """Show nothing: what was up may not be."""
        self._view = None
        self._put("title", f"tunnelctl: {message.failure}")
        self._put("broken", trouble.AWAY)
        self._fill()

    def on_line_logged(self, message: LineLogged) -> None:
        """Add it to the log."""
        self._tails.add_line(message)
        self._fill_soon(_LOG)

    def on_request_seen(self, message: RequestSeen) -> None:
        """Add it to the requests."""
        self._tails.add_request(message)
        self._fill_soon(_REQUESTS)

    def on_done(self, message: Done) -> None:
        """Say it below the table."""
        self._say(message.text)

    def on_crashed(self, message: Crashed) -> None:
        """End: what is shown would never change again."""
        self._handle_exception(message.error)

    def _fatal_error(self) -> None:
        """End after an error inside. textual's own method prints a traceback with the values of all
        variables, and the environment is among them."""
        self._close_messages_no_wait()

    # Keys.

    def action_open(self, tab: str) -> None:
        """Show a table; the key of the one that is shown leads back to the forwards."""
        self.on_row_table_moved()
        self._tab = _FORWARDS if tab == self._tab else tab
        if self._tab == _LOG:
            self._tails.open_log()
        self.query_one(ContentSwitcher).current = self._tab
        self._ask_for_more()
        self._fill()
        self._table.focus()

    def action_requests(self) -> None:
        """Show the HTTP requests of the forward under the cursor, if it is inspected."""
        row = self._table.selected
        if self._tab == _REQUESTS:
            self.action_open(_FORWARDS)
        elif isinstance(row, ForwardRow) and row.is_inspected:
            self._tails.inspect(row)
            self.action_open(_REQUESTS)
        else:
            self._refuse("requests: the cursor is not on a forward with inspect: http")

    def action_sort(self) -> None:
        """Take the next order."""
        if self._tab not in (_LOG, _REQUESTS):  # which are in the order of time
            self._choice.order = self._choice.order.next
            self._fill()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Whether the action is possible: a slash in the filter, or over a dialog, is none."""
        return action != "filter" or not (isinstance(self.focused, Input) or self.screen.is_modal)

    def action_filter(self) -> None:
        """Ask for words."""
        field = self.query_one("#filter", Input)
        field.value = self._choice.words
        field.display = True
        self.screen.set_focus(field)  # at once: what is typed after it are words

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while it is typed."""
        if event.input.display:
            self._choice.words = event.value
            self._fill()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Keep the filter."""
        event.input.display = False
        self._table.focus()

    def action_unfilter(self) -> None:
        """Show every row."""
        self.query_one("#filter", Input).display = False
        self._choice.words = ""
        self._table.focus()
        self._fill()

    def action_help(self) -> None:
        """Explain the keys."""
        self.push_screen(Page(lambda: HELP))

    def action_details(self) -> None:
        """Show everything about the row."""
        table, row = self._table, self._table.selected
        if row is None:
            return
        if isinstance(row, LogRow):
            message = row.message
            self.push_screen(Page(lambda: message))
            return
        if isinstance(row, RequestRow):
            request = request_details(row, self._tails.inspected)
            self.push_screen(Page(lambda: request))
            return
        self.push_screen(
            Page(lambda: details(table.selected or row, self.size.width - _BORDER)),
            self._details_closed,
        )
        self._ask_for_more(history=True)

    def action_act(self, verb: str) -> None:
        """Do this to the row, after a question if it ends something."""
        row = self._table.selected
        actions = getattr(row, "actions", ())
        action = next((one for one in actions if one.verb == verb), None)
        if action is None and verb == Verb.UP and isinstance(row, ForwardRow | HostRow):
            action = up(row.profile)  # it is up, or was a moment ago: only differences change
        if action is None:
            self._refuse(f"{verb}: not possible here")
            return
        asked = question(action, model.clients_of(self._view)) if self._view else ""
        if asked:
            self.push_screen(ConfirmDialog(asked, action.command), partial(self._answered, action))
        else:
            self._start(action)

    # The rest.

    @property
    def _table(self) -> RowTable[Any]:
        return self.query_one(f"#{self._tab}", RowTable)

    @property
    def _choice(self) -> _Choice:
        return self._choices[self._tab]

    def _details_closed(self, _: None) -> None:
        self._ask_for_more()

    def _ask_for_more(self, *, history: bool = False) -> None:
        """Have the daemon asked for what the screen shows."""
        self._feed.want(
            Interests(connections=self._tab == _CONNECTIONS, history=history or self._tab == _HOSTS)
        )

    def _answered(self, action: Action, answer: bool | None) -> None:
        if answer:
            self._start(action)

    def _start(self, action: Action) -> None:
        self._say(action.command)
        sources = {row.name: row.source for row in self._view.profiles} if self._view else {}
        self.run_worker(
            partial(self._carry_out, action, sources.get(action.profile, "")), thread=True
        )

    def _carry_out(self, action: Action, source: str) -> None:
        """In a thread."""
        try:
            text = carry_out(self._client, action, source, self._environment)
        except Failure as failure:
            text = str(failure)
        self.post_message(Done(text))

    def _rows(self) -> Sequence[Any]:
        if self._tab == _LOG:
            return self._tails.log
        if self._tab == _REQUESTS:
            return self._tails.requests
        view, order = self._view, self._choice.order
        if view is None:
            return ()
        if self._tab == _CONNECTIONS:
            return [*ordered(view.connections, order), *ordered(view.ended, order)]
        return ordered(view.hosts if self._tab == _HOSTS else view.forwards, order)

    def _fill_soon(self, tab: str) -> None:
        """Show rows that came, if that table is shown, once for all that came together."""
        if self._tab == tab and not self._is_behind:
            self._is_behind = True
            self.call_later(self._fill)

    def _fill(self) -> None:
        """Show the rows of the present table, and what is chosen for it."""
        self._is_behind = False
        self._show_title()
        with contextlib.suppress(NoMatches):  # as in `_put`
            self._table.show(matching(self._rows(), self._choice.words))
            if isinstance(self.screen, Page):
                self.screen.update()

    def _refuse(self, text: str) -> None:
        """Say why a key does nothing here, until the cursor is elsewhere."""
        self._say(text)
        self._is_refused = True

    def on_row_table_moved(self) -> None:
        """The cursor is elsewhere."""
        if self._is_refused:
            self._say("")

    def _say(self, text: str) -> None:
        self._is_refused = False
        self._put("message", printable(text))

    def _put(self, place: str, text: str) -> None:
        """Show a text above or below the table. When the screen ends, the threads end after it."""
        with contextlib.suppress(NoMatches):
            line = self.query_one(f"#{place}", Static)
            line.update(Content(text))
            line.display = place != "broken" or bool(text)

    def _show_title(self) -> None:
        view, choice = self._view, self._choice
        if view is None:
            return  # the title says why
        words = [model.summary(view.forwards)]
        if self._tab == _REQUESTS:
            words = [f"requests of {self._tails.inspected}"]
        if view.rates != NOTHING and self._tab != _REQUESTS:
            words.append(f"in/out {view.rates}/s")
        if choice.order is not RowOrder.STATE:
            words.append(f"by {choice.order}")
        if choice.words:
            words.append(f"filter: {choice.words}")
        self._put("title", "  ".join(words))

    def _show_broken(self, view: View) -> None:
        lines = list(view.warnings)
        if view.daemon_version != __version__:
            versions = other_versions(view.daemon_version, __version__)
            lines.append(f"{versions}; {REPLACING}")
        lines += [line for cause in view.broken[:_CAUSES] for line in cause_lines(cause)]
        if (left := len(view.broken) - _CAUSES) > 0:
            lines.append(f"… {left} more cause{'' if left == 1 else 's'}")
        self._put("broken", "\n".join(lines))


def _place(row: ForwardRow | HostRow) -> str:
    return row.place
