"""Where tunnelctl's data path spends its time: a link in this process, under cProfile.

The profiler slows Python down and C not at all: compare counts and shares, never rates.
"""

from __future__ import annotations

import asyncio
import cProfile
import pstats
from collections.abc import Callable

from benchmarks import load
from benchmarks.effort import Effort
from benchmarks.scene import Scene
from tests.support.tunnel import tunnel_to

_FUNCTIONS = 15


def print_profile(effort: Effort) -> None:
    """Print the functions that took most time themselves, for an upload and a download."""
    with Scene() as scene:
        for move in (load.upload, load.download):
            asyncio.run(_profile(scene, move, effort.transfer_seconds))


async def _profile(
    scene: Scene, move: Callable[[int, float], load.Transfer], seconds: float
) -> None:
    async with tunnel_to(scene.server.host()) as tunnel:
        port = await tunnel.local(scene.near.targets.bulk)
        profiler = cProfile.Profile()
        profiler.enable()
        moved = await asyncio.wrap_future(scene.begin(move, port, seconds))
        profiler.disable()
    rate = moved.bytes / moved.seconds / 1e6
    print(f"{move.__name__}: {moved.bytes / 1e6:.0f} MB, {rate:.0f} MB/s under the profiler")
    pstats.Stats(profiler).strip_dirs().sort_stats("tottime").print_stats(_FUNCTIONS)
