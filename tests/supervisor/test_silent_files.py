"""Hosts whose files do not answer hold up nobody else at their address."""

from __future__ import annotations

import functools
from contextlib import ExitStack
from pathlib import Path

from tests.supervisor.scene import Scene, local, scene
from tests.support.here import here
from tests.support.silent_files import readers, silent_pipe
from tests.support.waiting import eventually_async
from tunnelctl.errors import Code
from tunnelctl.spec.profile import Profile
from tunnelctl.ssh.turns import AT_ONE_ADDRESS
from tunnelctl.state.documents.snapshot import HostState, ProfileState


def has_failed(s: Scene, name: str) -> bool:
    """Whether a host of the silent profile had a failure."""
    return s.host_status(name, "silent").last_error is not None


async def test_a_good_host_is_up_beside_those_whose_files_are_silent(tmp_path: Path) -> None:
    with ExitStack() as stack:
        names = [f"h{number}" for number in range(2 * AT_ONE_ADDRESS)]
        pipes = [stack.enter_context(silent_pipe(tmp_path / name)) for name in names]
        async with scene() as s:
            hosts = tuple(
                s.host(name, user_known_hosts_file=(str(pipe),), connect_timeout=600.0)
                for name, pipe in zip(names, pipes, strict=True)
            )
            await s.supervisor.up(Profile("silent", "silent.yaml", hosts, ()), here())
            await s.up(s.profile(local()))
            for name in names:
                failed = functools.partial(has_failed, s, name)
                await eventually_async(failed, f"{name} failed")
            error = s.host_status(names[0], "silent").last_error
            assert error is not None
            assert error.code == Code.TIMED_OUT
            assert str(pipes[0]) in error.message
            # And it comes back beside them.
            await s.server.kill()
            await s.until_host(HostState.BACKOFF)
            await s.server.start()
            await s.until(ProfileState.UP)
            assert [readers(pipe) for pipe in pipes] == [1] * len(pipes)
