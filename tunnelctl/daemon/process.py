"""The daemon as a process: one per user, from the lock to an orderly end.

Owns the lifetime of its parts: control socket, reactor, supervisor, API, signals. Must never exceed
its deadline to end, and never leave a core dump, because its memory has held secrets.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import ctypes
import gc
import json
import logging
import os
import resource
import select
import signal
import socket
import sys
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING

from tunnelctl import __version__, clock
from tunnelctl.daemon import sentences
from tunnelctl.daemon.activation import passed_socket
from tunnelctl.daemon.api import connections, metrics, requests
from tunnelctl.daemon.api.fleet import routes as fleet_routes
from tunnelctl.daemon.api.routes import Api
from tunnelctl.daemon.api.server import ControlServer
from tunnelctl.daemon.control_socket import ControlSocket, claim
from tunnelctl.daemon.log.destinations import LogFormat, log_to_file, log_to_stderr
from tunnelctl.daemon.log.recent import Logbook
from tunnelctl.daemon.notify import Heart, ServiceManager, open_dumps
from tunnelctl.daemon.socket_keeper import SocketKeeper
from tunnelctl.daemon.triggers import Triggers
from tunnelctl.daemon.troubles import Troubles
from tunnelctl.daemon.wanted.profiles import Profiles
from tunnelctl.daemon.wanted.saving import WantedFile
from tunnelctl.errors import Code, Failure
from tunnelctl.home.paths import Paths, current_folder
from tunnelctl.net.reactor import Reactor
from tunnelctl.net.selector import new_event_loop
from tunnelctl.net.threads import share_the_interpreter
from tunnelctl.net.user_lock import answers, holder
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.spec.environment import Environment
from tunnelctl.state.documents.snapshot import ProfileStatus
from tunnelctl.supervisor.supervisor import Supervisor

if TYPE_CHECKING:
    from tunnelctl.daemon.fleet_profiles import Fleet
    from tunnelctl.fleet.file import FleetSettings

_log = logging.getLogger(__name__)

STOP_WITHIN = 10  # seconds, enforced by the kernel
_CLOSE_WITHIN = 7.0  # seconds of these for connections to end
_SAVE_WITHIN = 1.0  # seconds of these for the disk
IDLE_AFTER = 10.0  # seconds without a wanted profile or a request, if a command started it
_CLAIM_WITHIN = STOP_WITHIN + 5.0  # seconds to wait for a predecessor that is stopping
_CLAIM_STEP = 0.05
_PR_SET_DUMPABLE = 4  # linux/prctl.h
_M_ARENA_MAX = -8  # malloc.h of glibc


@dataclass(frozen=True, slots=True)
class Detached:
    """A daemon that a command started: reports to the pipe `report_to`, and ends when idle."""

    report_to: int


@dataclass(frozen=True, slots=True)
class DaemonSettings:
    """The files of a daemon, the profiles of its start, and its options."""

    paths: Paths
    profiles: Sequence[str] = ()
    background: Detached | None = None
    watch: bool = False
    metrics: Endpoint | None = None  # the TCP address where they are served
    log_format: LogFormat = LogFormat.AUTO  # of stderr
    fleet: FleetSettings | None = None  # its machines run `profiles`


def run(settings: DaemonSettings, environment: Environment) -> None:
    """Run the daemon until it is asked to stop.

    In the foreground it logs to stderr, starts its profiles and stays.

    Raises:
        Failure: ALREADY_RUNNING, or what kept the socket from being bound or a profile from
            being loaded. In the background it is reported to the pipe as well.
    """
    troubles = Troubles()
    background = settings.background
    if background is None:
        log_to_stderr(settings.log_format, environment)
        _start(settings, environment, troubles)
        return
    log_to_file(settings.paths.log_file, troubles)
    try:
        _start(settings, environment, troubles)
    except Failure as failure:
        if failure.code is Code.ALREADY_RUNNING and answers(settings.paths.socket):
            _report(background, "ready")  # the other daemon serves the command
            return
        _log.error("%s", failure)
        problem = {"code": failure.code, "detail": failure.message, "hint": failure.hint}
        _report(background, json.dumps(problem))
        raise
    except Exception:
        _log.exception("the daemon ends")
        raise


def _start(settings: DaemonSettings, environment: Environment, troubles: Troubles) -> None:
    _harden()
    _share_memory()
    logbook = Logbook()
    logging.getLogger().addHandler(logbook)
    passed = passed_socket(environment, settings.paths.socket)
    control = _claim(settings.paths, passed)
    dumps = sys.stderr if settings.background is None else open_dumps(settings.paths.dump_file)
    codecs.lookup("idna")  # otherwise getaddrinfo(3) would load it at its first call, on the loop
    # Imported objects are never freed, so each full garbage collection would scan them again, and
    # delay every tunnel (20 ms).
    gc.freeze()
    share_the_interpreter()
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(
                _Daemon(control, settings, environment, troubles, logbook).run(
                    settings.profiles, dumps
                )
            )
    finally:
        if dumps is not None and dumps is not sys.stderr:
            dumps.close()
        control.close()
        control.release()


def _claim(paths: Paths, passed: socket.socket | None) -> ControlSocket:
    """The control socket, once a predecessor that is stopping has released it."""
    deadline = clock.monotonic() + _CLAIM_WITHIN
    while True:
        control = claim(paths, passed)
        if control is not None:
            return control
        if answers(paths.socket):
            raise sentences.already_running(paths.socket)
        other = holder(paths.user_lock)
        if other is not None and other != paths.socket and answers(other):
            raise sentences.running_elsewhere(other, paths.socket)
        if clock.monotonic() > deadline:
            raise sentences.lock_held(paths.lock)
        select.select([], [], [], _CLAIM_STEP)


class _Daemon:
    """Everything between the lock and the end."""

    def __init__(
        self,
        control: ControlSocket,
        settings: DaemonSettings,
        environment: Environment,
        troubles: Troubles,
        logbook: Logbook,
    ) -> None:
        self._control = control
        self._paths = settings.paths
        self._background = settings.background
        self._watch_files = settings.watch
        self._metrics_at = settings.metrics
        self._fleet_settings = settings.fleet
        self._fleet_class = _fleet_class(settings)
        self._environment = environment
        self._troubles = troubles
        # A daemon started by a command in a service is not the service itself.
        self._manager = ServiceManager(environment if settings.background is None else {})
        self._logbook = logbook
        self._stop = asyncio.Event()
        self._idle: asyncio.TimerHandle | None = None

    async def run(self, profiles: Sequence[str], dumps: IO[str] | None) -> None:
        """Serve until `_stop` is set, then end everything in reverse order. `dumps` gets the stacks
        of a loop that is stuck."""
        loop = asyncio.get_running_loop()
        self._logbook.bind(loop)
        reactor = Reactor(loop)
        supervisor = Supervisor(reactor)
        file = WantedFile(self._paths.wanted_file, self._paths.socket, self._troubles)
        self._profiles = Profiles(
            supervisor, file, environment=self._environment, cwd=current_folder()
        )
        fleet = self._fleet(profiles, supervisor, reactor)
        heart = Heart(self._manager, dumps)
        api = Api(
            supervisor,
            self._profiles,
            self._troubles,
            is_background=self._background is not None,
            stop=self._ask_to_stop,
        )
        self._server = ControlServer(self._control.socket, self._troubles, self._note_activity)
        keeper: SocketKeeper | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ask_to_stop)
        triggers = Triggers(supervisor, self._profiles, watch_files=self._watch_files)

        async def status() -> tuple[ProfileStatus, ...]:
            await supervisor.look()
            return self._profiles.status()

        try:
            await self._profiles.restore()
            if fleet is None:
                await self._profiles.start(profiles)
            else:
                await fleet.join()
            application = api.application(self._server.middleware)
            application.add_routes([self._logbook.route(), metrics.route(status)])
            application.add_routes(connections.routes(supervisor, self._profiles))
            application.add_routes(fleet_routes(fleet))
            application.add_routes(requests.routes(supervisor))
            async with metrics.served(self._metrics_at, status, self._troubles):
                await self._server.start(application)
                keeper = SocketKeeper(self._control, self._server, self._troubles, self._lost)
                self._announce()
                await self._stop.wait()
        finally:
            self._limit_the_end()
            if fleet is not None:  # others wait for the profiles
                fleet.cut_all()
                await fleet.close()
            if keeper is not None:
                await keeper.close()
            await self._server.refuse()
            self._control.close()
            await triggers.close()
            await supervisor.close(_CLOSE_WITHIN)
            await self._profiles.close(_SAVE_WITHIN)
            await self._server.stop()
            reactor.close()
            heart.close()
            _log.info("stopped")

    def _fleet(
        self, names: Sequence[str], supervisor: Supervisor, reactor: Reactor
    ) -> Fleet | None:
        if self._fleet_settings is None or self._fleet_class is None:
            return None
        fleet = self._fleet_class(
            self._fleet_settings,
            tuple(dict.fromkeys(names)),
            supervisor,
            self._profiles,
            reactor,
            self._environment,
            current_folder(),
        )
        self._profiles.fleet = fleet
        self._manager.shorten_watchdog(fleet.watchdog)
        return fleet

    def _announce(self) -> None:
        _log.info("tunnelctl %s, process %s, is ready", __version__, os.getpid())
        if self._background is not None:
            restored = self._profiles.restored()
            more = "\n" + json.dumps({"restored": restored}) if restored else ""
            _report(self._background, f"ready{more}")
            self._note_activity()
        else:
            self._manager.tell("READY=1")

    def _ask_to_stop(self) -> None:
        self._stop.set()

    def _lost(self, failure: Failure) -> None:
        """Nobody can reach this daemon. The daemon of a service continues; one that was replaced,
        or that a command started, would only occupy the ports, and ends."""
        if self._background is not None or failure.code is Code.ALREADY_RUNNING:
            _log.error("exiting: clients cannot reach this daemon: %s", failure)
            self._ask_to_stop()

    def _limit_the_end(self) -> None:
        """The process ends in time even if something hangs: the default action of SIGALRM ends
        it."""
        if self._idle is not None:
            self._idle.cancel()
        signal.alarm(STOP_WITHIN)
        self._manager.tell("STOPPING=1")

    def _note_activity(self) -> None:
        if self._background is None or self._stop.is_set():
            return
        if self._idle is not None:
            self._idle.cancel()
        loop = asyncio.get_running_loop()
        self._idle = loop.call_later(IDLE_AFTER, self._check_idle)

    def _check_idle(self) -> None:
        if self._server.serving or self._profiles.any_wanted:
            self._note_activity()
            return
        _log.info("no profile is wanted up and no client is connected: exiting")
        self._ask_to_stop()


def _fleet_class(settings: DaemonSettings) -> type[Fleet] | None:
    """Imported before the loop runs, and only where there is a fleet."""
    if settings.fleet is None:
        return None
    from tunnelctl.daemon.fleet_profiles import Fleet

    return Fleet


def _harden() -> None:
    """No core dumps, private files, and as many descriptors as the system allows.

    The signals for reload and retry must not end the process before their handlers are installed.
    """
    os.umask(0o077)
    for number in (signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(ValueError, OSError):  # macOS refuses an unlimited number
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if sys.platform == "linux":
        # prctl(2): neither a debugger nor /proc of the same user can read the memory.
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _share_memory() -> None:
    """Use one arena for all threads (mallopt(3)); called before there are any.

    Further arenas of glibc would keep the memory that logins have freed, which doubles the memory
    of an idle host. They would reduce lock contention, but only one thread at a time runs Python.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(_M_ARENA_MAX, 1)  # musl has neither mallopt nor arenas


def _report(background: Detached, text: str) -> None:
    """Report to the command that started the daemon; it may have ended."""
    with contextlib.suppress(OSError):
        os.write(background.report_to, text.encode())
        os.close(background.report_to)
