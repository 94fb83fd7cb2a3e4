"""Faults of the files that a daemon uses: rewritten by an editor, removed by a cleaner.

Each fault restores the file, and keeps the link and the connected clients unless its text says
otherwise. Must never write a file outside the scene's home.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.soak.stage import Moments, Stage
from tests.support.unix_sockets import connected
from tests.support.waiting import eventually
from tunnelctl.spec.endpoint import Endpoint

_WITHIN = 20.0  # seconds: twice SPEC.md's promise 8, on a busy machine
_REWRITTEN = 20  # times
_REWRITE_EVERY = 0.05  # seconds


@contextmanager
def kept(stage: Stage, where: Endpoint, what: str) -> Iterator[None]:
    """A client that is connected all the time is not affected."""
    try:
        with connected(where) as client:
            stage.exchange(what, client)
            yield
            stage.exchange(what, client)
    except (OSError, EOFError) as error:
        stage.ledger.violate(f"{what} cut a connection: {error}")


def _local(stage: Stage) -> Endpoint:
    return Endpoint(host="127.0.0.1", port=stage.scene.ports.local)


def reload(stage: Stage) -> Moments:
    """One forward is added and removed, then a file is invalid; connected clients are not
    affected."""
    scene = stage.scene
    with kept(stage, _local(stage), "reload"):
        try:
            scene.write_profile(more=True)
            scene.world.ok("reload")
            scene.write_profile(broken=True)
            if scene.world.run("reload").returncode == 0:
                stage.ledger.violate("a broken file was taken")
        finally:
            scene.write_profile()
            scene.world.ok("reload")
    now = time.monotonic()
    return Moments(now, now)


def watched(stage: Stage) -> Moments:
    """The same with `--watch`: valid, invalid for a moment, valid again."""
    scene = stage.scene
    begun = time.monotonic()
    with kept(stage, _local(stage), "a file that was rewritten"), scene.client.events() as stream:

        def refused() -> bool:
            event = stream.next(_WITHIN)
            error = event and event.error
            return bool(error and error.code == "config-invalid")

        try:
            scene.write_profile(more=True)
            eventually(
                lambda: scene.forward("more").get("state") == "up", "it has one more", _WITHIN
            )
            scene.write_profile(broken=True)
            eventually(refused, "the mistake is told", _WITHIN)
        finally:
            scene.write_profile()
        eventually(lambda: not scene.forward("more"), "it has one less", _WITHIN)
    return Moments(begun, time.monotonic())


def login_files(stage: Stage) -> Moments:
    """known_hosts and ssh_config are replaced repeatedly while the link is opened again."""
    files = {
        path: path.read_text() for path in (stage.scene.server.known_hosts, stage.scene.config)
    }
    stage.scene.proxy.reset()
    begun = time.monotonic()
    for count in range(_REWRITTEN):
        for path, text in files.items():
            _replace(path, f"# rewritten {count} times\n" + text)
        stage.scene.over.wait(_REWRITE_EVERY)
    for path, text in files.items():
        _replace(path, text)
    return Moments(begun, time.monotonic())


def _replace(path: Path, text: str) -> None:
    """Atomically, as ssh-keygen and editors do."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(text)
    new.replace(path)


def runtime_removed(stage: Stage) -> Moments:
    """The session's folder, ours in it, or one of its files is removed: the same daemon is found
    again."""
    scene, pid = stage.scene, stage.watch.pid
    folder = scene.paths.runtime_dir
    removals: list[Callable[[], object]] = [
        partial(shutil.rmtree, folder.parent),
        partial(shutil.rmtree, folder),
        scene.paths.socket.unlink,
        scene.paths.lock.unlink,
    ]
    with kept(stage, _local(stage), "the runtime folder"), stage.watch.excused():
        stage.chance.choice(removals)()
        begun = time.monotonic()
        eventually(lambda: scene.paths.lock.exists() and scene.answers(), "it is found", _WITHIN)
        if scene.pid() != pid:
            stage.ledger.violate("there is a second daemon")
    return Moments(begun, time.monotonic())


def socket_removed(stage: Stage) -> Moments:
    """A cleaner removes the file of a local unix socket: it is not reported as up, and bound
    again."""
    scene, path = stage.scene, stage.scene.socket
    with kept(stage, Endpoint(path=str(path)), "a socket's file that was removed"):
        path.unlink()
        begun = time.monotonic()

        def bound_anew() -> bool:
            up = bool(scene.forward("unix").get("state") == "up")
            if up and not path.exists():
                stage.ledger.violate(f"status says up, and {path.name} is not there")
            return up and path.exists()

        eventually(bound_anew, "the socket is bound anew", _WITHIN)
    with kept(stage, Endpoint(path=str(path)), "a socket that was bound anew"):
        pass
    return Moments(begun, time.monotonic())
