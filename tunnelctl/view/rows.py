"""The rows of every face, as immutable values with their texts.

Pure. Texts that come from other machines are printable. Must never hold anything that a face would
have to interpret: what a row says, and what can be done about it, is decided here.

They are named tuples, because `ps` waits until these classes are made, and the classes of frozen
dataclasses take five times as long.
"""

from __future__ import annotations

from typing import NamedTuple

from tunnelctl.view import actions
from tunnelctl.view.actions import Action
from tunnelctl.view.condition import Condition
from tunnelctl.view.texts import NOTHING, Curve


class Broken(NamedTuple):
    """One cause of trouble.

    `place` is `PROFILE`, `PROFILE/HOST` or `PROFILE/FORWARD`; `kind` says which: `profile`, `host`
    or `forward`. `why` is one sentence, `hint` a remedy in words or empty. `again` says when it is
    tried again, `again_at` is that time (RFC 3339) if it is known. `mend` is the action for it.
    `also` are further places with the same cause. `has_failed`: a person may
    have to act; otherwise it keeps trying. `serves` is the fallback that serves meanwhile, or
    empty.
    """

    place: str
    kind: str
    profile: str
    code: str
    why: str
    hint: str
    again: str
    again_at: str | None
    mend: Action
    has_failed: bool
    serves: str = ""
    also: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """The whole in one line, as `ps` prints it: `dev/bastion: no answer (a hint)`."""
        instead = f"{self.serves} serves: " if self.serves else ""
        return f"{self.place}: {instead}{self.why}" + (f" ({self.hint})" if self.hint else "")

    @property
    def actions(self) -> tuple[Action, ...]:
        """The action that mends it."""
        return (self.mend,)

    @property
    def words(self) -> str:
        """The text that a filter searches."""
        return f"{self.place} {self.code} {self.why} {' '.join(self.also)}"


class ProfileRow(NamedTuple):
    """One profile. `forwards_up` of its `forwards` are up; rates are in bytes a second, and None if
    they are not known. `holders` is who holds it up. `since` is RFC 3339, `age` the time since."""

    name: str
    source: str
    status: str
    condition: Condition
    is_wanted: bool
    holders: str
    hosts: int
    forwards: int
    forwards_up: int
    connections: int
    rate_in: float | None
    rate_out: float | None
    rates: str
    since: str | None
    age: str
    error: str

    @property
    def place(self) -> str:
        """The name that commands take."""
        return self.name

    @property
    def actions(self) -> tuple[Action, ...]:
        """The actions on it."""
        return actions.of_profile(self.name, is_wanted=self.is_wanted)

    @property
    def words(self) -> str:
        """The text that a filter searches."""
        return f"{self.name} {self.status} {self.source}"


class ForwardRow(NamedTuple):
    """One forward; a profile without forwards has a row with an empty `name`.

    `bytes_in` came from the target, `bytes_out` went to it: `moved` is the text of both. `rate_in`
    and `rate_out` are bytes a second, None if they are not known: `rates` is the text. `curve_in`
    and `curve_out` are bytes a second of the last ten minutes.
    """

    profile: str
    name: str
    type: str
    listen: str
    target: str
    via: str
    status: str
    condition: Condition
    is_wanted: bool
    health: str
    connections: int
    connections_total: int
    connections_failed: int
    bytes_in: int
    bytes_out: int
    moved: str
    rate_in: float | None
    rate_out: float | None
    rates: str
    since: str | None
    age: str
    error: str
    labels: tuple[tuple[str, str], ...] = ()
    is_inspected: bool = False
    curve_in: Curve = ()
    curve_out: Curve = ()

    @property
    def place(self) -> str:
        """`PROFILE/FORWARD`, or the profile alone."""
        return f"{self.profile}/{self.name}" if self.name else self.profile

    @property
    def actions(self) -> tuple[Action, ...]:
        """The actions on it."""
        if not self.name:
            return actions.of_profile(self.profile, is_wanted=self.is_wanted)
        return actions.of_host(self.profile, self.via, is_wanted=self.is_wanted)

    @property
    def words(self) -> str:
        """The text that a filter searches."""
        labels = " ".join(f"{key}={value}" for key, value in self.labels)
        cells = (self.place, self.type, self.listen, self.target, self.via, self.status, labels)
        return " ".join(cells)


class HostRow(NamedTuple):
    """One host of a profile.

    `round_trip` is the text of `rtt_ms`, in milliseconds. `links` counts the links that are up.
    `rate_in`, `rate_out`, `curve_in` and `curve_out` are bytes a second of all its forwards
    together, `curve_rtt` is milliseconds. `said` has the last lines of its server's session.
    """

    profile: str
    name: str
    status: str
    condition: Condition
    is_wanted: bool
    address: str
    rtt_ms: float | None
    round_trip: str
    cipher: str
    kex: str
    server: str
    reconnects: int
    attempts: int
    links: int
    fallback: str
    connections: int
    rate_in: float | None
    rate_out: float | None
    rates: str
    since: str | None
    age: str
    error: str
    mend: Action | None = None
    said: tuple[str, ...] = ()
    curve_in: Curve = ()
    curve_out: Curve = ()
    curve_rtt: Curve = ()

    @property
    def place(self) -> str:
        """`PROFILE/HOST`."""
        return f"{self.profile}/{self.name}"

    @property
    def actions(self) -> tuple[Action, ...]:
        """The actions on it; the one that mends it comes first."""
        return actions.of_host(self.profile, self.name, is_wanted=self.is_wanted, mend=self.mend)

    @property
    def words(self) -> str:
        """The text that a filter searches."""
        return f"{self.place} {self.status} {self.address} {self.cipher} {self.server}"


class ConnectionRow(NamedTuple):
    """One connection, open or ended. `process` is `psql (1234, anna)`, empty if it is not known.
    `how` says how it ended, and is empty while it is alive; `until` is when (RFC 3339)."""

    id: str
    profile: str
    forward: str
    client: str
    process: str
    target: str
    host: str
    status: str
    condition: Condition
    is_open: bool
    bytes_in: int
    bytes_out: int
    moved: str
    rate_in: float
    rate_out: float
    rates: str
    since: str
    age: str
    until: str | None
    how: str
    error: str

    @property
    def place(self) -> str:
        """`PROFILE/FORWARD`."""
        return f"{self.profile}/{self.forward}"

    @property
    def connections(self) -> int:
        """Itself, for a table that is sorted by connections."""
        return int(self.is_open)

    @property
    def actions(self) -> tuple[Action, ...]:
        """It can be closed while it is alive."""
        return (actions.close(self.id, self.profile),) if self.is_open else ()

    @property
    def words(self) -> str:
        """The text that a filter searches."""
        cells = (self.id, self.place, self.client, self.process, self.target, self.host)
        return " ".join((*cells, self.status))


class View(NamedTuple):
    """Everything that a face shows. `at` is the time of it (RFC 3339); the daemon's `warnings` are
    one line each. `forwards` are in the order of `ps`: failed, not up, idle, up, stopped, and by
    profile within each. `connections` and `ended` are empty if the daemon was not asked.
    `rates` is the text of bytes a second of all forwards together."""

    at: str
    daemon_version: str
    daemon_pid: int
    warnings: tuple[str, ...]
    broken: tuple[Broken, ...]
    profiles: tuple[ProfileRow, ...]
    forwards: tuple[ForwardRow, ...]
    hosts: tuple[HostRow, ...]
    connections: tuple[ConnectionRow, ...] = ()
    ended: tuple[ConnectionRow, ...] = ()
    rates: str = NOTHING
