"""Profiles while a command holds them: from their files until they are ready, and to the end.

Owns the order: every file is checked before any is sent to the daemon, and a command releases its
profiles when it ends. Used by every command that starts profiles.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType

import click

from tunnelctl import __version__, clock
from tunnelctl.cli import caller, sentences
from tunnelctl.cli.profiles.profile_files import find, load
from tunnelctl.cli.terminal import progress
from tunnelctl.cli.terminal.asking import Asker, somebody_can_be_asked
from tunnelctl.cli.terminal.output import say
from tunnelctl.client import Client, EventStream
from tunnelctl.config.profile.find import (
    find_profile,
    is_profile_name,
    is_same_file,
)
from tunnelctl.config.sentences import NAME_RULE, name_taken
from tunnelctl.errors import Code, Failure
from tunnelctl.home.paths import current_folder
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.drain import DRAIN
from tunnelctl.spec.environment import Environment
from tunnelctl.state.documents.snapshot import ProfileStatus, Wanted
from tunnelctl.state.documents.status_events import StatusEvent
from tunnelctl.state.profile import readiness

_ENDING = (signal.SIGINT, signal.SIGTERM)
# Seconds in which the events arrive that tell why the status is as it is.
_LAST_EVENTS_WITHIN = 0.2


def ensure_daemon_of_ours(client: Client, plans: Iterable[CheckedProfile]) -> None:
    """Make sure a daemon runs; one of another version is replaced, unless that would harm somebody.

    Its profiles are started again. It is kept if another terminal's command is attached to it, or
    if a service manager started it, which has to restart it. The profiles that a started daemon
    restores are reported, except those of `plans`.
    """
    about = client.ensure_daemon()
    if about["version"] != __version__:
        if not about.get("background"):
            say("the service runs another version of the daemon: restart the service")
        elif about.get("attached"):
            say("the daemon has another version; it keeps running for attached commands")
        else:
            say(f"the daemon is version {about['version']}: replacing it with {__version__}")
            client.replace_daemon()
    ours = {plan.name for plan in plans}
    for restored in client.restored:
        name = restored["name"]
        if name not in ours:
            what = "is up again, as when the last daemon ended"
            if restored["error"]:
                what = f"is wanted, as when the last daemon ended, and not up: {restored['error']}"
            say(f"{name} {what} (tunnelctl down {name} ends that)")


@dataclass(frozen=True, slots=True)
class CheckedProfile:
    """A checked profile, and what the daemon needs to load it too."""

    name: str
    file: str
    environment: Environment
    required: frozenset[str]


def plans_of(
    names: Sequence[str | None],
    file: Path | None,
    called: str | None = None,
    daemon: Client | None = None,
) -> tuple[CheckedProfile, ...]:
    """Check every profile before anything is changed. A single one may be `called` by another name
    than its file. A name without a file here is a profile of the `daemon`.

    Raises:
        click.UsageError: there are several to be called so, or it is no name.
        Failure: PROFILE_NOT_FOUND, or every mistake of every file at once.
    """
    names = list(dict.fromkeys(names))
    if called is not None:
        if len(names) != 1:
            raise click.UsageError("--as names one profile")
        if not is_profile_name(called):
            raise click.UsageError(f"{called!r} cannot be the name of a profile: {NAME_RULE}")
        file = find_profile(names[0] or "", file=file, environ=os.environ, cwd=current_folder())
        names = [called]
    return _checked_by_daemon(names, file, daemon) or _checked_here(names, file, daemon)


def _checked_by_daemon(
    names: Sequence[str | None], file: Path | None, daemon: Client | None
) -> tuple[CheckedProfile, ...]:
    """As `plans_of`, by a daemon that runs already: quicker by the import of pydantic. Nothing if
    none of this version runs, or if it cannot get the whole environment."""
    environment = caller.environment()
    if daemon is None or environment.fitting(())[1] or not daemon.is_current():
        return ()
    return tuple(
        CheckedProfile(one["name"], one["file"], environment, frozenset(one["required"]))
        for one in daemon.check(find(names, file, daemon), environment)
    )


def _checked_here(
    names: Sequence[str | None], file: Path | None, daemon: Client | None
) -> tuple[CheckedProfile, ...]:
    plans = []
    for path, loaded in load(names, file, daemon):
        environment = caller.to_send(loaded.variables)
        required = frozenset(rule.name for rule in loaded.profile.forwards if rule.required)
        plans.append(CheckedProfile(loaded.profile.name, str(path), environment, required))
    return tuple(plans)


def watch(client: Client, lease: str | None, plans: Sequence[CheckedProfile]) -> EventStream:
    """The events for a session, including questions of its hosts if somebody can answer."""
    names = [plan.name for plan in plans]
    answers = names if somebody_can_be_asked(os.environ) else []
    return client.events(lease, answers, profiles=names, orders=True)


class Holding:
    """The profiles of one command, from the order to the end.

    They are held by its `lease`; None: until `down`. With `for_command` another command needs them:
    nothing is printed, and if one cannot be ready, none is wanted any longer. Once they are ready
    `on_change` is called after their events; it prints the lines of a server. Events that the
    command `tells` itself are not printed.
    """

    def __init__(
        self,
        client: Client,
        stream: EventStream,
        plans: Sequence[CheckedProfile],
        lease: str | None,
        *,
        for_command: bool = False,
        on_change: Callable[[], None] | None = None,
        tells: Callable[[StatusEvent], bool] = lambda _: False,
    ) -> None:
        self._client = client
        self._stream = Asker(client, stream)
        self._plans = {plan.name: plan for plan in plans}
        self._lease = lease
        self._for_command = for_command
        self._on_change = on_change
        self._tells = tells
        self._is_silent = for_command and on_change is None  # the output is the other command's
        self._time_is_up_at: float | None = None  # by the clock; the daemon releases them then
        self._ready_at = ""  # when all were ready; the report may have to wait for a reader
        self._lost: set[str] = set()  # those that the daemon has released
        # Ordered under our lease; the daemon may not have handled it yet.
        self._held: list[str] = []

    def bring_up(self, seconds: float, *, replace: bool = False, ttl: float | None = None) -> None:
        """Order everything up, and return once all are ready; a failure of one is raised when the
        others are ready or have failed too, or at once if it is `for_command`.

        `replace`: also if a profile of that name from another file is up. After `ttl` seconds the
        daemon releases them.

        Raises:
            Failure: why one cannot be ready; NOT_READY after `seconds`. What was ordered
                stays wanted, whatever becomes of this command, unless it is `for_command`.
                NAME_TAKEN: nothing was ordered.
        """
        if not replace:
            self._check_names()
        self._time_is_up_at = None if ttl is None else clock.monotonic() + ttl
        for plan in self._plans.values():
            if self._lease is not None:
                self._held.append(plan.name)
            self._client.up(
                plan.name, plan.file, plan.environment, self._lease, replace=replace, ttl=ttl
            )
        try:
            self._wait(seconds)
        except Failure:
            if not self._for_command:
                with suppress(Failure):  # the daemon has ended
                    for name in self._held:
                        with suppress(Failure):  # it was taken down
                            self._client.keep(name)
                    self._say_what_stays(filter(readiness.is_ready, self._held_profiles()))
            raise

    def _check_names(self) -> None:
        """Before anything is ordered, because the daemon handles one order at a time."""
        for profile in self._client.status(list(self._plans)).profiles:
            if profile.wanted is Wanted.UP and self._is_anothers(profile):
                raise name_taken(profile.name, profile.source)

    def _wait(self, seconds: float) -> None:
        deadline = clock.monotonic() + seconds  # in addition to the time that a person takes
        events: list[StatusEvent] = []
        while True:
            profiles = self.profiles()
            self._ready_at = clock.rfc3339(clock.wall())
            failures = self._failures(profiles)
            waiting = [
                profile
                for name, profile in profiles.items()
                if name not in failures and not readiness.is_ready(profile)
            ]
            if failures and (self._for_command or not waiting):
                break
            # Only now, because the end of the wait is reported once, as its result.
            self._show(events)
            if not waiting:
                break
            left = deadline + self._stream.waited - clock.monotonic()
            if left <= 0:
                failures |= {late.name: self._late(late, seconds) for late in waiting}
                break
            events = self._next(left)
        if not failures:
            # The warning of a login came before the profile was ready.
            self._show(self._next(0), since="" if self._is_silent else self._ready_at)
        self._report(profiles, failures)

    def _failures(self, profiles: Mapping[str, ProfileStatus]) -> dict[str, Failure]:
        failures = {}
        for name, profile in profiles.items():
            failure = readiness.failure_of(profile, self._plans[name].required)
            if failure is not None:
                is_late = profile.wanted is Wanted.DOWN and self._time_is_up
                failures[name] = sentences.time_was_up(name) if is_late else failure
        return failures

    @property
    def _time_is_up(self) -> bool:
        return self._time_is_up_at is not None and clock.monotonic() >= self._time_is_up_at

    def _late(self, late: ProfileStatus, seconds: float) -> Failure:
        stays_wanted = not self._for_command or progress.stays(late)
        return progress.not_ready(late, seconds, stays_wanted=stays_wanted)

    def _report(
        self, profiles: Mapping[str, ProfileStatus], failures: Mapping[str, Failure]
    ) -> None:
        """Print where the profiles that are ready listen, and why the others are not; the first
        failure is raised."""
        for name, profile in profiles.items():
            if not self._for_command and name not in failures:
                for line in progress.forwarding_lines(profile):
                    click.echo(line)
        first, *others = failures.values() or (None,)
        for failure in others:
            say(str(failure))
        if first is not None:
            raise first

    def settle(self, seconds: float) -> None:
        """For so many seconds, call `on_change` and print events; then return."""
        deadline = clock.monotonic() + seconds
        while (left := deadline - clock.monotonic()) > 0:
            self._show(self._next(left), since=self._ready_at)
            self._changed()

    def stay(self) -> int:
        """Print changes until every profile was taken down or failed permanently."""
        promised = None
        waits: float | None = 0.0  # not at first: the events until now may have been read already
        while True:
            with _daemon_lost():
                self._show(self._next(waits), since=self._ready_at)
                profiles = self.profiles().values()
            if self._are_over(profiles):
                return 0
            if (now := progress.promise(profiles)) != promised:
                say(now) if promised else click.echo(f"Ready; {now}", err=True)
                promised = now
            with _daemon_lost():
                self._changed()
            waits = None

    def _are_over(self, profiles: Collection[ProfileStatus]) -> bool:
        """Whether all were taken down; the failure is raised if all failed permanently."""
        if all(profile.wanted is Wanted.DOWN for profile in profiles):
            with suppress(Failure):  # the daemon has ended, too
                self._show(self._next(_LAST_EVENTS_WITHIN), since=self._ready_at)
            say("all profiles were taken down")
            return True
        failures = [readiness.failure_of(profile, ()) for profile in profiles]
        if all(failure is not None and not _may_pass(failure) for failure in failures):
            assert failures[0] is not None
            self._let_go(0.0)
            raise failures[0]
        return False

    def take_down(self) -> None:
        """Release the profiles of this command, and wait for those that go down; a second Ctrl-C
        closes their connections."""
        try:
            with suppress(Failure):  # the daemon has ended
                if not self._for_command:
                    self._say_what_ends()
            self._let_go(DRAIN)
        except KeyboardInterrupt:
            self._let_go(0.0)

    def say_what_was_lost(self) -> None:
        """Report each profile that another order took from this command, or whose daemon has ended;
        then nothing is held any more."""
        try:
            profiles = self.profiles()
        except Failure as failure:
            say(f"the tunnels ended before the command: {failure}")
            if failure.code is Code.DAEMON_NOT_RUNNING:
                self._held = []
            return
        for name, profile in profiles.items():
            if profile.wanted is not Wanted.UP and name not in self._lost:
                say(f"{name} was taken down by another command before this one ended")

    def _say_what_ends(self) -> None:
        held = self._held_profiles()
        ends = [profile.name for profile in held if not progress.stays(profile)]
        if ends:
            say(f"taking down {', '.join(ends)}; press Ctrl-C again to skip the wait")
        self._say_what_stays(profile for profile in held if progress.stays(profile))

    def _say_what_stays(self, profiles: Iterable[ProfileStatus]) -> None:
        for profile in profiles:
            say(f"{profile.name} stays up: {progress.held_by_others(profile)}")

    def _held_profiles(self) -> list[ProfileStatus]:
        held = set(self._held)
        return [one for name, one in self.profiles().items() if name in held] if held else []

    def _let_go(self, drain: float) -> None:
        assert self._lease is not None or not self._held
        orders = [self._client.begin_release(name, self._lease or "", drain) for name in self._held]
        for order in orders:
            try:
                order.answer()
            except Failure as failure:
                if failure.code is not Code.PROFILE_NOT_FOUND:  # it was never up
                    raise
        self._held = []

    def profiles(self) -> dict[str, ProfileStatus]:
        """The status of our profiles, by name. One that we no longer hold is not wanted by us, even
        if others hold it."""
        status = self._client.status(list(self._plans), lease=self._lease)
        found = {profile.name: profile for profile in status.profiles}
        for name in self._plans:
            if name not in found:
                raise sentences.profile_removed(name)
            profile = found[name]
            if name in self._held and profile.wanted is Wanted.UP and not profile.leased:
                self._say_lost(profile)
                found[name] = replace(profile, wanted=Wanted.DOWN)
        return {name: found[name] for name in self._plans}

    def _say_lost(self, profile: ProfileStatus) -> None:
        name = profile.name
        if name not in self._lost:
            self._lost.add(name)
            say(sentences.hold_lost(name, profile.source if self._is_anothers(profile) else ""))

    def _is_anothers(self, profile: ProfileStatus) -> bool:
        return not is_same_file(profile.source, self._plans[profile.name].file)

    def _next(self, timeout: float | None = None) -> list[StatusEvent]:
        """The events that have arrived, at least one within `timeout` seconds: the status is
        requested once after all of them."""
        event = self._stream.next(timeout)
        events = []
        while event is not None:
            events.append(event)
            event = self._stream.next(0)
        return events

    def _changed(self) -> None:
        if self._on_change is not None:
            self._on_change()

    def _show(self, events: Iterable[StatusEvent], *, since: str = "") -> None:
        """Print failures among the events, lines of servers, and everything later than `since`."""
        for event in events:
            is_said = progress.is_said(event)
            if self._tells(event) or (is_said and self._on_change is not None):
                continue
            if is_said or event.error or (since and event.at >= since):
                click.echo(progress.event_text(event), err=True)


@contextmanager
def _daemon_lost() -> Iterator[None]:
    """A daemon that does not answer has stopped, so nothing is up."""
    try:
        yield
    except Failure as failure:
        raise sentences.daemon_lost(failure) from None


def _may_pass(failure: Failure) -> bool:
    """Whether somebody who missed a question may still come to the terminal."""
    return failure.code is Code.NEEDS_INPUT and somebody_can_be_asked(os.environ)


@contextmanager
def ended_in_order() -> Iterator[None]:
    """SIGTERM ends an attached `up` as Ctrl-C does.

    SIGINT is handled even if it was ignored: it also ends a background job of a shell script.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
