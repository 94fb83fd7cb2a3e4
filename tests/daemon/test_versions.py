"""A command and a daemon of two versions: what a later one adds, and what an earlier one lacks."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

from tests.daemon.conftest import Api
from tests.support.waiting import eventually
from tests.support.world import World
from tunnelctl.errors import Code

# The daemon with other events: `change` gets the data of each.
_DAEMON = """
import sys
from tunnelctl.cli.main import run
from tunnelctl.state.documents.snapshot import ProfileStatus
from tunnelctl.state.documents.status_events import StatusEvent

def change(event):
    {change}
    return event

events, profiles = StatusEvent.as_json, ProfileStatus.as_json
StatusEvent.as_json = lambda self: change(events(self))
ProfileStatus.as_json = lambda self: {{**profiles(self), "mood": {{"now": "good"}}}}
sys.exit(run(["daemon", "--report-to", "1"]))
"""


def start_daemon(world: World, change: str) -> None:
    """Start a background daemon whose events are changed."""
    done = subprocess.run(
        [sys.executable, "-c", _DAEMON.format(change=change)],
        cwd="/",
        env=world.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        timeout=60,
        check=True,
    )
    assert done.stdout.partition(b"\n")[0] == b"ready"


def test_what_a_later_daemon_adds_ends_no_command(embedded: World) -> None:
    start_daemon(embedded, "event |= {'mood': 1, 'kind': 'mood' if event['name'] else 'profile'}")
    with embedded.start("up", "dev") as attached:
        try:
            eventually(lambda: embedded.run("ps", "dev").returncode == 0, "it is up")
        finally:
            attached.send_signal(signal.SIGINT)
        assert attached.wait(20) == 130


def test_an_event_that_lacks_what_is_needed_is_told_in_one_line(embedded: World) -> None:
    start_daemon(embedded, "del event['profile']")
    done = embedded.run("up", "dev", "-d")
    assert done.returncode == Code.INTERNAL.exit_code
    (line,) = done.stderr.splitlines()
    assert "speaks another API" in line


def test_ps_prints_the_document_of_the_api(api: Api, embedded: World) -> None:
    def is_the_same() -> bool:
        shown = embedded.ok("ps", "--all", "--json")
        return shown == json.dumps(api.ask("GET", "/v1/status").json, indent=2) + "\n"

    eventually(is_the_same, "the same to the byte")
