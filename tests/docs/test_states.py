"""The page on the states of a host is drawn from the table that decides, and is up to date."""

from __future__ import annotations

from tools import make_states
from tunnelctl.errors import Code
from tunnelctl.state.documents.snapshot import HostState


def test_the_page_is_what_the_table_draws() -> None:
    assert make_states.PAGE.read_text() == make_states.page(), "python -m tools.make_states"


def test_the_page_names_every_state_and_every_code() -> None:
    page = make_states.page()
    assert all(f"**{state.value}**" in page for state in HostState)
    for code in Code:
        retried = "yes" if code.retryable else "no"
        assert f"| `{code.value}` | {retried} |" in page
