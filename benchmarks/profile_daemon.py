"""The time that each function of tunnelctl's data path takes: a link in this process, under
cProfile.

The profiler slows down Python but not C, so compare counts and shares, not rates.
"""

from __future__ import annotations

import asyncio
import cProfile
import pstats
from collections.abc import Callable
from functools import partial

from benchmarks import load
from benchmarks.effort import Effort
from benchmarks.scene import Scene
from tests.support.tunnel import tunnel_to
from tunnelctl.net.selector import new_event_loop

_FUNCTIONS = 15


def print_profile(effort: Effort) -> None:
    """Print the functions with the most own time, for each kind of load."""
    # On the same loop as the daemon.
    with Scene() as scene, asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_profile(scene, effort))


async def _profile(scene: Scene, effort: Effort) -> None:
    seconds, targets = effort.transfer_seconds, scene.near.targets
    async with tunnel_to(scene.server.host()) as tunnel:
        bulk, echo = await tunnel.local(targets.bulk), await tunnel.local(targets.echo)
        loads: dict[str, Callable[[], object]] = {
            "upload": partial(load.upload, bulk, seconds),
            "download": partial(load.download, bulk, seconds),
            "echo": partial(load.echo, echo, effort.pings, seconds),
            "connections in sequence": partial(load.connect_in_sequence, echo, seconds),
            "connections in parallel": partial(
                load.connect_in_parallel, echo, seconds, effort.connects_at_once
            ),
        }
        for name, work in loads.items():
            profiler = cProfile.Profile()
            profiler.enable()
            done = await asyncio.wrap_future(scene.begin(work))
            profiler.disable()
            amount = f"{len(done)} pings" if isinstance(done, list) else f"{done}"
            print(f"== {name}: {amount}")
            pstats.Stats(profiler).strip_dirs().sort_stats("tottime").print_stats(_FUNCTIONS)
