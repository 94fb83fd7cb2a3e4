"""Every server, every case: what happens is what tests/interop/expected.py has.

Where it is not all well, `ssh` is put through the same, so that the matrix says whose doing it is.
`TUNNELCTL_INTEROP_RESULTS` names a file that gets a line of JSON for each cell, for
tools/make_servers.py.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.interop.cases import CASES, Case, Scene, cases_for
from tests.interop.clients import Client, DifferentError, OpenSSH, Ours
from tests.interop.expected import PASS, expected
from tests.support.servers import SERVERS
from tests.support.servers.base import Server
from tests.support.world import World
from tunnelctl.errors import Failure

RESULTS = "TUNNELCTL_INTEROP_RESULTS"

pytestmark = pytest.mark.interop


@pytest.mark.parametrize(
    ("server", "name"),
    [
        pytest.param(server, name, id=f"{server.name}-{name}")
        for server in SERVERS
        for name in cases_for(server)
    ],
    indirect=["server"],
    scope="module",
)
async def test_cell(server: Server, name: str, world: World, tmp_path: Path) -> None:
    case, cell = CASES[name], expected(server.name, server.version(), name)
    outcome = await outcome_of(case, server, Ours(), world)
    better = None
    if outcome != PASS and case.with_ssh:
        better = await outcome_of(case, server, OpenSSH(tmp_path), world) == PASS
    record(server, name, outcome, better)
    here = f"{server.name} {server.version()}"
    assert outcome == cell.outcome, f"{here}: tests/interop/expected.py has another outcome"
    assert better in (None, cell.ssh_passes), f"{here}: `ssh` passes where it did not, or reverse"


async def outcome_of(case: Case, server: Server, client: Client, world: World) -> str:
    """`pass`, or what happened, in a few words."""
    try:
        await case.run(Scene(server, client, world))
    except DifferentError as error:
        return str(error)
    except Failure as failure:
        return failure.code.value
    except EOFError:
        return "ended early"
    except ConnectionError:
        return "reset"
    except TimeoutError:
        return "hangs"
    return PASS


def record(server: Server, case: str, outcome: str, ssh_passes: bool | None) -> None:
    """One line for tools/make_servers.py, if that asks for it."""
    if path := os.environ.get(RESULTS):
        line = {
            "server": server.name,
            "version": server.version(),
            "case": case,
            "outcome": outcome,
            "ssh_passes": ssh_passes,
        }
        with Path(path).open("a") as results:  # a line is written whole: O_APPEND
            results.write(json.dumps(line) + "\n")
