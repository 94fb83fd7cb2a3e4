"""The client of a user's daemon: every request of docs/api.md as a method.

Must never send a byte to a socket that another user listens on: an `up` contains secrets.
"""

from __future__ import annotations

import json
import select
import shlex
import socket
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import quote, urlencode

from tunnelctl import __version__
from tunnelctl.client import sentences
from tunnelctl.client.http import (
    ANSWER_WITHIN,
    AnswerDeadline,
    Document,
    Exchange,
    Stream,
    T,
    document_of,
    read_head,
    read_rest,
    send,
)
from tunnelctl.client.launch import start_daemon
from tunnelctl.errors import Code, Fact, Failure, reason
from tunnelctl.home.paths import ANOTHER_USERS, SOCKET_VARIABLE, Paths
from tunnelctl.net.peers import is_ours
from tunnelctl.net.user_lock import beside, holder
from tunnelctl.spec.environment import Environment

if TYPE_CHECKING:  # `--help` and `paths` are quicker without
    from tunnelctl.state.documents.connection_status import ConnectionList
    from tunnelctl.state.documents.exchange import Headers, HttpExchange, HttpExchanges
    from tunnelctl.state.documents.history import History
    from tunnelctl.state.documents.snapshot import Status
    from tunnelctl.state.documents.status_events import StatusEvent

EventStream: TypeAlias = "Stream[StatusEvent]"

_REPLAY_WITHIN = 45.0  # seconds; a target has 30 to answer
_FULL_STEP = 0.01  # seconds between two attempts if the daemon has many clients
_STOP_WITHIN = 15.0  # seconds; a daemon ends within ten


class DaemonElsewhere(Failure):
    """No daemon answers on the socket of this environment, but others of the user do on `sockets`.

    `is_the_users`: one of them is the daemon that holds the user's lock, so none can be started
    here.
    """

    def __init__(self, here: Path, sockets: Sequence[Path], *, is_the_users: bool) -> None:
        self.is_the_users = is_the_users
        self.sockets = tuple(sockets)
        whose = "yours is" if is_the_users else "another of yours is"
        if len(sockets) > 1:
            whose = "others of yours are"
        super().__init__(
            Code.DAEMON_NOT_RUNNING,
            f"no daemon answers on {here}; {whose} on {', '.join(map(str, sockets))}",
            f"{SOCKET_VARIABLE}={shlex.quote(str(sockets[0]))} tunnelctl … reaches it",
        )


class SocketUnusable(Failure):
    """A daemon may run behind the control socket, but this user cannot ask it: `why`."""

    def __init__(self, socket: Path, why: str) -> None:
        super().__init__(
            Code.DAEMON_NOT_RUNNING,
            f"the control socket {socket} cannot be used: {why}",
            ANOTHER_USERS,
        )


class Client:
    """The client of a user's daemon. `on_silence` is called once for every answer that takes
    longer than it should."""

    def __init__(self, paths: Paths, on_silence: Callable[[], object] | None = None) -> None:
        self.paths = paths
        self.on_silence = on_silence
        self.daemon_version = __version__  # of the daemon that answered last
        # The profiles that a started daemon has restored: `name`, and `error` or None.
        self.restored: list[Document] = []

    def status(
        self,
        names: Sequence[str] = (),
        *,
        lease: str | None = None,
        within: float = ANSWER_WITHIN,
    ) -> Status:
        """The status of these profiles or of all, if it arrives within so many seconds. With a
        `lease`, `leased` of a profile tells whether that holds it.

        Raises:
            Failure: also where a daemon of another version sent what this version cannot read.
        """
        fields = [("lease", lease)] if lease else []
        target = _with_query("/v1/status", [*fields, *(("profile", name) for name in names)])
        document = self._begin("GET", target, None, within).answer()
        from tunnelctl.state.documents import snapshot

        return self._read(snapshot.from_json, document)

    def check(
        self, files: Sequence[tuple[Path, str | None]], environment: Environment
    ) -> list[Document]:
        """Have the daemon read profiles, each from its path and by its name (None: that of the
        file), and change nothing. Of each: `file`, `name`, `variables` (the names of those that it
        refers to) and `required` (the names of its required forwards).

        Raises:
            Failure: every mistake of every file; DAEMON_NOT_RUNNING.
        """
        profiles = [{"file": str(file), "name": name} for file, name in files]
        body = {"profiles": profiles, "environment": dict(environment)}
        checked: list[Document] = self._request("POST", "/v1/check", body)["profiles"]
        return checked

    def up(
        self,
        name: str,
        file: str,
        environment: Environment,
        lease: str | None,
        *,
        replace: bool = False,
        ttl: float | None = None,
    ) -> Document:
        """Bring a profile up; its programs run in the caller's `environment`.

        It is held until the stream of `events` with the `lease` ends, or else until `down`; for
        `ttl` seconds at most. `replace`: also if one of that name from another file is up.

        Raises:
            Failure: NAME_TAKEN, one of that name is up from another file.
        """
        body = {
            "file": file,
            "environment": dict(environment),
            "lease": lease,
            "replace": replace,
            "ttl": ttl,
        }
        return self._request("POST", _profile(name, "up"), body)

    def keep(self, name: str) -> Document:
        """Hold a profile until `down`, even after the stream that holds it has ended."""
        return self._request("POST", _profile(name, "keep"), {})

    def begin_release(self, name: str, lease: str, drain: float) -> Exchange:
        """Release a profile: without other holders it goes down, as by `begin_down`."""
        body = {"lease": lease, "timeout": drain}
        return self._begin("POST", _profile(name, "release"), body, drain + ANSWER_WITHIN)

    def restart(self, name: str, environment: Environment, hosts: Sequence[str] = ()) -> Document:
        """Reconnect a profile's hosts now: all of them if none is named."""
        body = {"hosts": list(hosts), "environment": dict(environment)}
        return self._request("POST", _profile(name, "restart"), body)

    def hear(self, name: str, environment: Environment) -> Document:
        """Use the caller's `environment` for programs that are started for a profile from now
        on."""
        body = {"environment": dict(environment)}
        return self._request("POST", _profile(name, "environment"), body)

    def reload(self, names: Sequence[str], environment: Environment, *, dry_run: bool) -> Document:
        """Read the files of profiles again (none named: all that are wanted).

        `profiles` of the answer lists the changes; with `dry_run` nothing is changed.
        """
        body = {"names": list(names), "dry_run": dry_run, "environment": dict(environment)}
        return self._request("POST", "/v1/reload", body)

    def begin_down(self, name: str, drain: float) -> Exchange:
        """Take a profile down; its open connections have `drain` seconds to end."""
        body = {"timeout": drain}
        return self._begin("POST", _profile(name, "down"), body, drain + ANSWER_WITHIN)

    def fleet(self) -> Document:
        """The fleet of the daemon, as `fleet` of the answer.

        Raises:
            Failure: NOT_UP, the daemon is in no fleet.
        """
        return self._request("GET", "/v1/fleet")

    def hand_over(self, name: str) -> str:
        """Have another machine of the fleet run a profile; returns which one does.

        Raises:
            Failure: NOT_UP, nothing was changed; NOT_READY, nobody has taken it.
        """
        answer = self._request("POST", f"/v1/fleet/{quote(name, safe='')}/hand-over", {})
        return str(answer["holder"])

    def answer(
        self, name: str, question: str, answer: str | None, *, remember: bool = False
    ) -> None:
        """Answer a question of a host of this profile by its id; None: nobody will answer.
        `remember`: keep it in the daemon's memory until it ends.

        Raises:
            Failure: NEEDS_INPUT, it is not open any more.
        """
        body = {"id": question, "answer": answer, "remember": remember}
        self._request("POST", _profile(name, "answers"), body)

    def events(
        self,
        lease: str | None = None,
        answers: Sequence[str] = (),
        *,
        profiles: Sequence[str] = (),
        orders: bool = False,
    ) -> EventStream:
        """Subscribe: the stream has every event after this call returns, of these `profiles` or of
        all.

        With `answers` (profiles, or single hosts as `PROFILE/HOST`) the stream also has their
        questions, and their hosts that need input try again, unless this caller `orders` them up
        next: then they are tried in the environment of that order.
        """
        fields = [("lease", lease)] if lease else []
        fields += [("answer", place) for place in answers]
        fields += [("orders", "1")] if orders else []
        fields += [("profile", name) for name in profiles]
        return self._events(fields)

    def hold(self, lease: str) -> EventStream:
        """A lease that is open as long as this stream, which has no events."""
        fields = [("lease", lease), ("silent", "1")]
        return self._events(fields)

    def connections(
        self,
        profile: str | None = None,
        forward: str | None = None,
        *,
        processes: bool = False,
        within: float = ANSWER_WITHIN,
    ) -> ConnectionList:
        """The open connections and the last that ended: of one profile, of the forwards of one
        name, or all. With `processes` those of clients on this machine are looked for.

        Rates are those of the last half a second or more, so that the first call takes as long.

        Raises:
            Failure: also where a daemon of another version sent what this version cannot read.
        """
        fields = [("profile", profile or ""), ("forward", forward or "")]
        fields += [("process", "1" if processes else "")]
        target = _with_query("/v1/connections", [field for field in fields if field[1]])
        document = self._begin("GET", target, None, within).answer()
        from tunnelctl.state.documents import connection_status

        return self._read(connection_status.from_json, document)

    def close_connection(self, number: str) -> None:
        """Reset one connection, by its id.

        Raises:
            Failure: CONNECTION_NOT_FOUND, none of that id is open.
        """
        self._request("POST", f"/v1/connections/{quote(number, safe='')}/close", {})

    def history(self, profile: str | None = None, *, within: float = ANSWER_WITHIN) -> History:
        """Ten minutes of traffic and round trips, of one profile or of all.

        Raises:
            Failure: also where a daemon of another version sent what this version cannot read.
        """
        target = _with_query("/v1/history", [("profile", profile)] if profile else [])
        document = self._begin("GET", target, None, within).answer()
        from tunnelctl.state.documents import history

        return self._read(history.from_json, document)

    def requests(self, profile: str, forward: str, count: int | None = None) -> HttpExchanges:
        """The last `count` requests of an inspected forward, or all that are kept.

        Raises:
            Failure: also USAGE, it is not inspected.
        """
        fields = [] if count is None else [("n", str(count))]
        document = self._request("GET", _with_query(_requests(profile, forward), fields))
        from tunnelctl.state.documents.exchange import HttpExchanges

        return self._read(HttpExchanges.from_json, document)

    def follow_requests(self, profile: str, forward: str, count: int) -> Stream[HttpExchange]:
        """The last `count` requests, and then each one again whenever it has changed."""
        from tunnelctl.state.documents import exchange

        fields = [("n", str(count)), ("follow", "1")]
        target = _with_query(_requests(profile, forward), fields)
        return self._stream(target, partial(self._read, exchange.from_json))

    def replay(self, profile: str, forward: str, number: str, headers: Headers) -> Document:
        """Send a request to the forward's target again, with these headers as well or instead. The
        answer: `status`, the keys of a response, and `left_out`, the headers that were not sent
        because their values are not kept.

        Raises:
            Failure: it cannot be sent, or the target does not answer.
        """
        target = f"{_requests(profile, forward)}/{quote(number, safe='')}/replay"
        body = {"headers": [list(pair) for pair in headers]}
        return self._begin("POST", target, body, _REPLAY_WITHIN).answer()

    def logs(self, words: Sequence[str], lines: int, since: str | None) -> Document:
        """The last `lines` of the daemon's log, for `words` (`dev*`, `dev/db`) or for everything;
        `since` is RFC 3339."""
        return self._request("GET", _logs(words, lines, since, follow=False))

    def follow_logs(self, words: Sequence[str], lines: int, since: str | None) -> Stream[Document]:
        """The same lines, and each further one."""
        return self._stream(_logs(words, lines, since, follow=True), lambda line: line)

    def is_current(self) -> bool:
        """Whether a daemon of this version answers.

        Raises:
            Failure: DAEMON_NOT_RUNNING, one is there and does not answer.
        """
        try:
            version = self.version()["version"]
        except Failure as failure:
            if Fact.DAEMON_SILENT in failure.facts:
                raise
            return False
        return bool(version == __version__)

    def version(self) -> Document:
        """The daemon's description of itself: `version`, `compiled`, `pid`, `background` (a command
        started it), `attached` (how many commands hold profiles).

        Raises:
            Failure: DAEMON_NOT_RUNNING, none answers.
        """
        return self._request("GET", "/v1/version")

    def ensure_daemon(self) -> Document:
        """Start the daemon if none answers. Returns what `version` does.

        Raises:
            Failure: what kept it from starting.
        """
        try:
            return self.version()
        except Failure as failure:
            if failure.code is not Code.DAEMON_NOT_RUNNING or Fact.DAEMON_SILENT in failure.facts:
                raise
            self.restored = start_daemon(self.paths)
            return self.version()

    def stop_daemon(self) -> bool:
        """End the running daemon in order; returns whether it ended in time.

        Raises:
            Failure: DAEMON_NOT_RUNNING, none answers.
        """
        with self.events() as stream:
            self._request("POST", "/v1/shutdown", {})
            deadline = AnswerDeadline(_STOP_WITHIN)
            try:
                while not deadline.has_passed:
                    stream.next(deadline.left)
            except Failure:  # the stream ends with the daemon
                return True
        return False

    def replace_daemon(self) -> None:
        """End the running daemon and start one of our version, which restores its profiles.

        Raises:
            Failure: what kept ours from starting, as one that did not end.
        """
        self.stop_daemon()
        self.restored = start_daemon(self.paths)
        self.ensure_daemon()

    def _events(self, fields: Sequence[tuple[str, str]]) -> EventStream:
        from tunnelctl.state.documents import status_events

        read = partial(self._read, status_events.from_json)
        return self._stream(_with_query("/v1/events", fields), read)

    def _read(self, from_json: Callable[[Document], T], document: Document) -> T:
        try:
            return from_json(document)
        except ValueError:
            raise sentences.another_api(self.daemon_version, __version__) from None

    def _stream(self, target: str, read: Callable[[Document], T | None]) -> Stream[T]:
        deadline = AnswerDeadline(ANSWER_WITHIN, self.on_silence)
        sock = self._connect(deadline)
        try:
            send(sock, "GET", target, b"", deadline)
            head, received = read_head(sock, deadline)
            if head.status != 200:
                document_of(head, received + read_rest(sock, deadline))
            self._note_version(head.version)
        except BaseException:
            sock.close()
            raise
        return Stream(sock, received, read)

    def _request(self, method: str, target: str, body: Document | None = None) -> Document:
        return self._begin(method, target, body, ANSWER_WITHIN).answer()

    def _begin(self, method: str, target: str, body: Document | None, seconds: float) -> Exchange:
        deadline = AnswerDeadline(seconds, self.on_silence)
        sock = self._connect(deadline)
        try:
            payload = b"" if body is None else json.dumps(body).encode()
            send(sock, method, target, payload, deadline)
        except BaseException:
            sock.close()
            raise
        return Exchange(sock, deadline, self._note_version)

    def _note_version(self, version: str) -> None:
        self.daemon_version = version

    def _connect(self, deadline: AnswerDeadline) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._connect_by(sock, deadline)
            if is_ours(sock):
                return sock
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            sock.close()
            raise _not_running(self.paths) from None
        except OSError as error:
            sock.close()
            raise SocketUnusable(self.paths.socket, reason(error)) from None
        except Failure:
            sock.close()
            raise
        sock.close()
        raise SocketUnusable(self.paths.socket, "another user listens on it")

    def _connect_by(self, sock: socket.socket, deadline: AnswerDeadline) -> None:
        """Connect; with a time limit, a unix socket with a full backlog refuses (EAGAIN)."""
        while True:
            sock.settimeout(deadline.left)
            try:
                return sock.connect(str(self.paths.socket))
            except BlockingIOError:
                if deadline.has_passed:
                    raise sentences.daemon_silent() from None
                deadline.note()
                select.select([], [], [], _FULL_STEP)


def _profile(name: str, action: str) -> str:
    return f"/v1/profiles/{quote(name, safe='')}/{action}"


def _requests(profile: str, forward: str) -> str:
    return f"/v1/requests/{quote(profile, safe='')}/{quote(forward, safe='')}"


def _with_query(path: str, fields: Sequence[tuple[str, str]]) -> str:
    return f"{path}?{urlencode(fields)}" if fields else path


def _logs(words: Sequence[str], lines: int, since: str | None, *, follow: bool) -> str:
    fields = [("profile", word) for word in words]
    fields += [("lines", str(lines)), ("follow", str(int(follow)))]
    return "/v1/logs?" + urlencode([*fields, *([("since", since)] if since else [])])


def _not_running(paths: Paths) -> Failure:
    """Nobody listens on this environment's socket; the user's daemon may be elsewhere."""
    mine = holder(paths.user_lock)
    elsewhere = [mine] if mine not in (None, paths.socket) else beside(paths.user_lock)
    others = [socket for socket in elsewhere if socket not in (None, paths.socket)]
    if not others:
        return sentences.daemon_not_running()
    return DaemonElsewhere(paths.socket, others, is_the_users=mine in others)
