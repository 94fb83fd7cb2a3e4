"""`python -m benchmarks.scale`: many hosts in one daemon, at the start and after an outage.

Every host is one link to one local sshd, with OpenSSH's default MaxStartups, which is killed and
started again. Prints the results, and draws the attempts over time: a thundering herd would be a
spike. Must never count a host as up again before the daemon's own events say so.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.support.services import EchoService
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually
from tests.support.world import World

_PROFILE = "scale"
_MARK = "mark"
_WITHIN = 180.0  # seconds for each step
_PS_TIMES = 5
# The picture, in pixels; text, in columns.
_WIDTH, _HEIGHT, _MARGIN = 720, 200, 40
_COLUMNS = 60


@dataclass(frozen=True, slots=True)
class Scale:
    """The results in seconds, and the times of attempts in seconds since the server was killed.

    `clients` waited at held ports, each for another host. `refused`: how often sshd dropped a
    connection because of MaxStartups, since the beginning.
    """

    hosts: int
    forwards: int
    up: float
    ps: float
    away: float
    back: float  # after the server was back
    clients: int
    refused: int
    tries: tuple[float, ...]

    @property
    def busiest(self) -> int:
        """The largest number of attempts in one second."""
        return max(spans(self.tries))


class _Watcher:
    """The daemon's events, as they arrive."""

    def __init__(self, world: World) -> None:
        self._events: list[dict[str, Any]] = []
        self._process = world.start("events", "--json")
        self._thread = threading.Thread(target=self._read, name="events")
        self._thread.start()
        # The first event shows that the stream is connected, so one must be caused.
        world.profile(_MARK, "version: 1\nhosts: {here: {embedded: true}}\n")
        world.ok("up", _MARK, "-d")

        def hears() -> bool:
            world.ok("restart", _MARK)
            return bool(self._events)

        eventually(hears, "the daemon's events are heard", _WITHIN)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._events.append(json.loads(line))

    def since(self, moment: float, kind: str, state: str) -> list[tuple[float, str]]:
        """The times of the events that put a part of this kind into this state after `moment` (time
        of day)."""
        return [
            (at, event["name"])
            for event in tuple(self._events)
            if event["profile"] == _PROFILE and event["kind"] == kind and event["state"] == state
            if (at := datetime.fromisoformat(event["at"]).timestamp()) >= moment
        ]

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._thread.join()
        self._process.communicate()


def measure(hosts: int, forwards: int, away: float, clients: int = 0) -> Scale:
    """Bring `hosts` up with `forwards` in total, and take their server away for `away` seconds.
    Meanwhile `clients` wait, at the ports of as many hosts."""
    with _scene() as (world, server, echo):
        names = [f"host{number}" for number in range(hosts)]
        world.profile(_PROFILE, _profile(server, names, forwards, echo.port))
        up = _timed(world, "up", _PROFILE, "-d", "--wait-timeout", f"{_WITHIN:.0f}s")
        ps = statistics.median(_timed(world, "ps") for _ in range(_PS_TIMES))
        watcher = _Watcher(world)
        with ExitStack() as waiting:
            waiting.callback(watcher.close)
            ports = _listening(world, clients)
            began_at = time.time()
            server.kill()  # this takes a while: session by session
            for port in ports:
                waiting.enter_context(socket.create_connection(("127.0.0.1", port)))
            threading.Event().wait(away)
            back_at = time.time()
            server.start()

            def all_back() -> bool:
                return {name for _, name in watcher.since(began_at, "host", "up")} == set(names)

            eventually(all_back, "every host is up again", _WITHIN)
            killed_at = min(at for at, _ in watcher.since(began_at, "host", "backoff"))
            ups = watcher.since(began_at, "host", "up")
            tries = watcher.since(began_at, "host", "connecting")
            states = {profile["name"]: profile["state"] for profile in world.status()["profiles"]}
            assert states[_PROFILE] == "up", f"the profile is {states[_PROFILE]}"
        return Scale(
            hosts,
            forwards,
            up,
            ps,
            back_at - killed_at,
            max(at for at, _ in ups) - back_at,
            len(ports),
            server.log.count("past MaxStartups"),
            tuple(at - killed_at for at, _ in tries),
        )


@contextmanager
def _scene() -> Iterator[tuple[World, OpenSSHServer, EchoService]]:
    # Not a deep directory: a unix socket's path may have 107 bytes.
    home = Path(tempfile.mkdtemp(prefix="tctl-"))
    world = World(home)
    world.unwatch()
    server = OpenSSHServer(home / "sshd", config=["MaxStartups 10:30:100"])
    server.start()
    try:
        with EchoService() as echo:
            yield world, server, echo
    finally:
        try:
            world.close()
        finally:
            server.stop()
            shutil.rmtree(home)


def _profile(server: OpenSSHServer, names: Sequence[str], forwards: int, target: int) -> str:
    """The forwards of each host, every fifth a remote one; all ports are chosen."""
    rules = []
    for number in range(forwards):
        kind = "remote" if number // len(names) % 5 == 4 else "local"
        via = names[number % len(names)]
        held = ", while_down: {hold: 10m}" if kind == "local" else ""
        rules.append(f'  f{number}: {{{kind}: 0, to: "127.0.0.1:{target}", via: {via}{held}}}')
    hosts = [f"  {name}: {server.host_yaml(ssh_config='false')}" for name in names]
    return "\n".join(["version: 1", "hosts:", *hosts, "forwards:", *rules, ""])


def _listening(world: World, count: int) -> list[int]:
    """Local ports of the first forwards, each of another host as long as there are enough."""
    profiles = {profile["name"]: profile for profile in world.status()["profiles"]}
    forwards = profiles[_PROFILE]["forwards"][:count]
    return [int(each["listen"].rpartition(":")[2]) for each in forwards if each["type"] == "local"]


def _timed(world: World, *command: str) -> float:
    began = time.monotonic()
    world.ok(*command, seconds=2 * _WITHIN)
    return time.monotonic() - began


def spans(tries: Sequence[float]) -> list[int]:
    """The number of attempts in each second."""
    counts = [0] * (int(max(tries, default=0.0)) + 1)
    for at in tries:
        counts[int(at)] += 1
    return counts


def text(scale: Scale) -> str:
    """The figures, and the attempts over time as a plot of characters."""
    lines = [
        f"{scale.hosts} hosts, {scale.forwards} forwards",
        f"up from nothing     {scale.up:6.1f} s",
        f"ps                  {scale.ps * 1000:6.0f} ms",
        f"back after          {scale.back:6.1f} s (the server was away for {scale.away:.1f} s)",
        f"clients that waited {scale.clients:6d}",
        f"past MaxStartups    {scale.refused:6d} connections were dropped",
        f"tries in a second   {scale.busiest:6d} at most, {len(scale.tries)} in all",
        "",
        "tries in each second since the server was killed:",
    ]
    counts = spans(scale.tries)
    most = max(counts)
    lines += [
        f"{second:4d} s {count:4d} {'#' * round(count * _COLUMNS / most)}"
        for second, count in enumerate(counts)
    ]
    return "\n".join(lines) + "\n"


def svg(scale: Scale) -> str:
    """The attempts over time, as a picture."""
    counts = spans(scale.tries)
    most = max(counts)
    step = (_WIDTH - 2 * _MARGIN) / len(counts)
    floor = _HEIGHT - _MARGIN
    bars = "".join(
        f'<rect x="{_MARGIN + second * step:.1f}" y="{floor - high:.1f}" '
        f'width="{max(step - 1, 0.5):.1f}" height="{high:.1f}"/>'
        for second, count in enumerate(counts)
        if (high := count * (floor - _MARGIN) / most)
    )
    returned = _MARGIN + scale.away * step
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12">'
        f'<g fill="#4a7ebb">{bars}</g>'
        f'<path d="M{returned:.1f} {_MARGIN}V{floor}" stroke="#b33"/>'
        f'<text x="{returned + 4:.1f}" y="{_MARGIN}">the server is back</text>'
        f'<text x="{_MARGIN}" y="20">tries in each second, at most {most}: '
        f"{scale.hosts} hosts whose server was killed</text>"
        f'<text x="{_MARGIN}" y="{floor + 18}">0 s</text>'
        f'<text x="{_WIDTH - _MARGIN}" y="{floor + 18}" text-anchor="end">{len(counts)} s</text>'
        "</svg>\n"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and draw if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--hosts", type=int, default=200)
    parser.add_argument("--forwards", type=int, default=1000)
    parser.add_argument("--away", type=float, default=20.0, help="seconds without the server")
    parser.add_argument("--clients", type=int, default=0, help="clients that wait meanwhile")
    parser.add_argument("--svg", type=Path, help="draw the tries over time here")
    options = parser.parse_args(arguments)
    try:
        scale = measure(options.hosts, options.forwards, options.away, options.clients)
    except subprocess.SubprocessError as error:
        parser.exit(1, f"benchmarks.scale: {error}\n")
    print(text(scale), end="")
    if options.svg:
        options.svg.write_text(svg(scale))


if __name__ == "__main__":
    main()
