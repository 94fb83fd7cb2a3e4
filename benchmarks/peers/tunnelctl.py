"""tunnelctl as a user runs it: a profile, `tunnelctl up -d`, and the daemon started by it."""

from __future__ import annotations

import atexit
import functools
import importlib.metadata
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.figures import COMPILED, TUNNELCTL
from benchmarks.peers.base import READY_WITHIN, Peer, PeerError, Site, last_words
from hatch_build import why_pure
from tests.support.world import World
from tools.compiled import build, install

_PROFILE = "bench"


class Tunnelctl(Peer):
    """The daemon of a private user, from the source as it is here. `links` is that key of each
    host."""

    def __init__(self, name: str = TUNNELCTL, links: int = 1) -> None:
        super().__init__(name)
        self._links = links
        self._world: World | None = None
        self._pid = 0

    def version(self) -> str:
        """See Peer."""
        return importlib.metadata.version("tunnelctl")

    @property
    def pids(self) -> tuple[int, ...]:
        """See Peer."""
        return (self._pid,) if self._pid else ()

    def link_count(self) -> int:
        """How many links the first host has now."""
        assert self._world is not None
        return len(self._world.status()["profiles"][0]["hosts"][0]["links"])

    def stop(self) -> None:
        """See Peer."""
        world, self._world, self._pid = self._world, None, 0
        if world is not None:
            try:
                world.close()
            except AssertionError as error:
                raise PeerError(f"tunnelctl did not end: {error}") from error
            finally:
                shutil.rmtree(world.home)

    def said(self) -> str:
        """See Peer."""
        if self._world is None:
            return ""
        return last_words(next(self._world.state.rglob("*.log"), None))

    def _launch(self, site: Site) -> None:
        # Not the site's directory: a unix socket's path may have 107 bytes.
        self._world = world = World(Path(tempfile.mkdtemp(prefix="tctl-")), self._python())
        world.unwatch()
        world.profile(_PROFILE, self._profile(site))
        up = ("up", _PROFILE, "-d", "--wait-timeout", f"{READY_WITHIN:.0f}s")
        done = world.run(*up, seconds=2 * READY_WITHIN)
        if done.returncode:
            said = " ".join(done.stderr.split())
            raise PeerError(f"tunnelctl up: exit {done.returncode}: {said}")
        self._pid = world.daemon_pid()

    def _python(self) -> str:
        """The Python that has the package."""
        return sys.executable

    def _profile(self, site: Site) -> str:
        hosts, forwards = [], []
        for number, rules in enumerate(self.ports.rules(site.targets)):
            hosts.append(
                f"  host{number}: {{hostname: 127.0.0.1, port: {site.port}, user: {site.user},"
                f" identity_file: {site.identity}, user_known_hosts_file: {site.known_hosts},"
                f" ssh_config: false, links: {self._links}}}"
            )
            forwards += [
                f'  port{here}: {{local: {here}, to: "127.0.0.1:{there}", via: host{number},'
                " max_connections: 65535}"
                for here, there in rules
            ]
        return "\n".join(["version: 1", "hosts:", *hosts, "forwards:", *forwards, ""])


class CompiledTunnelctl(Tunnelctl):
    """The same from the wheel in which the data path is compiled."""

    def __init__(self) -> None:
        super().__init__(COMPILED)

    def missing(self) -> str | None:
        """See Peer."""
        return why_pure()

    def _python(self) -> str:
        return compiled_python()


@functools.cache
def compiled_python() -> str:
    """Build the wheel and install it, once a run: that takes a minute."""
    folder = Path(tempfile.mkdtemp(prefix="tctl-compiled-"))
    atexit.register(shutil.rmtree, folder)
    return str(install(build(folder / "wheel"), folder / "venv"))
