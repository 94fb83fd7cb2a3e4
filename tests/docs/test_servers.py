"""The page on servers is drawn from what the interop tests said, and is up to date.

Nothing here depends on what is installed: the page and its data are compared with what is recorded.
"""

from __future__ import annotations

from datetime import date

from tests.interop.cases import CASES, cases_for
from tests.interop.expected import EXPECTED, VERSIONS, Kind, expected
from tests.support.servers import SERVERS
from tools import make_servers


def test_the_page_is_what_its_data_draws() -> None:
    assert make_servers.PAGE.read_text() == make_servers.page(make_servers.read()), (
        "python -m tools.make_servers --draw"
    )


def test_the_data_is_of_every_server_and_every_case_and_as_recorded() -> None:
    runs = make_servers.read()
    servers = {server.name: server for server in SERVERS}
    assert {run["server"] for run in runs} == set(servers)
    for run in runs:
        name, version = run["server"], run["version"]
        cases = cases_for(servers[name])
        recorded = {case: expected(name, version, case).outcome for case in cases}
        assert date.fromisoformat(run["date"])
        assert run["cells"] == recorded, f"{name} {version}: python -m tools.make_servers"


def test_what_is_recorded_is_of_servers_and_cases_that_there_are() -> None:
    names = {server.name for server in SERVERS}
    assert set(EXPECTED) == names
    assert {name for name, _ in VERSIONS} <= names
    for cells in (*EXPECTED.values(), *VERSIONS.values()):
        assert set(cells) <= set(CASES)
        assert all(cell.why or cell.kind is Kind.PASSES for cell in cells.values())
