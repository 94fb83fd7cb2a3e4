"""The page on the states of a profile in a fleet is drawn from the table that decides."""

from __future__ import annotations

from tools import make_fleet_states
from tunnelctl.state.election import ElectionState


def test_the_page_is_what_the_table_draws() -> None:
    page = make_fleet_states.page()
    assert make_fleet_states.PAGE.read_text() == page, "python -m tools.make_fleet_states"
    assert all(f"**{state.value}**" in page for state in ElectionState)
