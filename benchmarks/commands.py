"""`python -m benchmarks.commands`: how long a user waits for a command.

`up -d` of a profile that is down, with a daemon that runs, beside `ssh -f -N` to the same host; and
`ps` and `--help` beside Python itself, which starts and ends. Interleaved; prints a Markdown table
of medians. Must never measure a command that failed.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.peers.openssh import ssh_arguments
from benchmarks.scene import Scene
from tests.support.ports import free_port
from tests.support.processes import with_environment
from tests.support.waiting import eventually
from tests.support.world import World, private_world

_PROFILE = "bench"
_ROUNDS = 20
_MARK = "TUNNELCTL_BENCH_SSH"  # a variable of the ssh that is measured
_PYTHON, _HELP, _PS, _UP, _SSH = "python -c pass", "--help", "ps", "up -d", "ssh -f -N"
# A command, what it is compared with, and the aim for the ratio.
_AIMS = ((_UP, _SSH, 2.0), (_PS, _PYTHON, 6.0), (_HELP, _PYTHON, 6.0))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every command in turn, so often."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.commands", description=__doc__)
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    print(report(measure(parser.parse_args(arguments).rounds)), end="")


def measure(rounds: int) -> dict[str, list[float]]:
    """The seconds of each command in each round."""
    taken: dict[str, list[float]] = {name: [] for name in (_PYTHON, _HELP, _PS, _UP, _SSH)}
    with Scene() as scene, private_world() as world:
        world.unwatch()
        site, here = scene.near, free_port()
        host = (
            f"{{hostname: 127.0.0.1, port: {site.port}, user: {site.user}, ssh_config: false,"
            f" identity_file: {site.identity}, user_known_hosts_file: {site.known_hosts}}}"
        )
        forward = f'{{local: {here}, to: "127.0.0.1:{site.targets.echo}", via: host}}'
        world.profile(
            _PROFILE, f"version: 1\nhosts: {{host: {host}}}\nforwards: {{echo: {forward}}}\n"
        )
        ssh = ["ssh", "-f", *ssh_arguments(site, [(here, site.targets.echo)])]
        world.ok("up", "-d", _PROFILE)  # the daemon stays up, because of the other profile
        world.profile("other", f"version: 1\nhosts: {{host: {host}}}\n")
        world.ok("up", "-d", "other")
        for _ in range(rounds):
            taken[_PYTHON].append(_timed([sys.executable, "-c", "pass"], world.environ))
            taken[_HELP].append(_command(world, "--help"))
            taken[_PS].append(_command(world, "ps"))
            world.ok("down", _PROFILE)
            taken[_SSH].append(_in_background(ssh, world.environ))
            taken[_UP].append(_command(world, "up", "-d", _PROFILE))
    return taken


def report(taken: Mapping[str, Sequence[float]]) -> str:
    """A table of the medians, and of each ratio that has an aim."""
    medians = {name: statistics.median(seconds) for name, seconds in taken.items()}
    lines = ["| | median, ms |", "|---|--:|"]
    lines += [f"| {name} | {seconds * 1000:.0f} |" for name, seconds in medians.items()]
    lines += ["", "| | over | ratio | aim |", "|---|---|--:|--:|"]
    lines += [
        f"| {name} | {other} | {medians[name] / medians[other]:.1f} | ≤ {aim:.0f} |"
        for name, other, aim in _AIMS
    ]
    return "\n".join(lines) + "\n"


def _command(world: World, *arguments: str) -> float:
    """As a user types it: the script that pip put beside Python."""
    script = Path(sys.executable).with_name("tunnelctl")
    return _timed([str(script), *arguments], world.environ)


def _in_background(command: Sequence[str], environ: Mapping[str, str]) -> float:
    """The time until `ssh -f` returns, because it is ready; then it is ended."""
    marked = {**environ, _MARK: str(os.getpid())}
    seconds = _timed(command, marked)
    for pid in with_environment(f"{_MARK}={os.getpid()}"):
        os.kill(pid, signal.SIGTERM)
    eventually(lambda: not with_environment(f"{_MARK}={os.getpid()}"), "ssh ends")
    return seconds


def _timed(command: Sequence[str], environ: Mapping[str, str]) -> float:
    began = time.monotonic()
    # Not PIPE: ssh in the background keeps it open. No timeout: with one, subprocess looks only
    # every so often whether the process has ended.
    subprocess.run(
        command,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return time.monotonic() - began


if __name__ == "__main__":
    main()
