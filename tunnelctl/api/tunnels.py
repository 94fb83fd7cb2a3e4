"""Tunnels of a profile in this process: `tunnelctl.open` and `tunnelctl.open_async`.

Owns them from the call until `close`, the end of the `with`, or the end of the program. They are
served by a thread of their own (background/background.py), so that they go on while the program
blocks its event loop, or waits for a connection through them. Must never start a daemon or a
program of its own, take a signal, or leave anything behind.
"""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

from tunnelctl.api import sentences
from tunnelctl.api.request import FilePath, OpenRequest
from tunnelctl.closeable import Closeable
from tunnelctl.errors import Code, reason

if TYPE_CHECKING:  # they are imported in the thread that opens the tunnels
    from tunnelctl.background.background import Background
    from tunnelctl.spec.endpoint import Endpoint
    from tunnelctl.state.documents.json_types import ProfileDocument
    from tunnelctl.state.documents.snapshot import ForwardStatus, ProfileStatus

TIMEOUT = 30.0  # seconds, as `up --wait-timeout`
DRAIN = 1.0  # seconds; a pool that keeps its connections open delays the end by so much


class Address:
    """The address of a listener: on this machine, or on the server for a remote forward.

    `str()` is the address. It stays the same while the tunnels are open.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    @property
    def address(self) -> str:
        """`127.0.0.1:5432`, `[::1]:5432`, or the path of a unix socket."""
        return str(self._endpoint)

    @property
    def host(self) -> str:
        """The host or IP address to connect to.

        Raises:
            Failure: usage; it is a unix socket.
        """
        return self._tcp().host

    @property
    def port(self) -> int:
        """The port to connect to; never 0.

        Raises:
            Failure: usage; it is a unix socket.
        """
        return self._tcp().port

    def _tcp(self) -> Endpoint:
        if self._endpoint.is_unix:
            raise sentences.no_host_and_port(self._endpoint.path)
        return self._endpoint

    def __str__(self) -> str:
        return self.address

    def __repr__(self) -> str:
        return f"<Address {self.address}>"


class Tunnels(Closeable, Mapping[str, Address]):
    """The tunnels of one profile, by the name of the forward.

    A context manager, which closes them. They may be used from any thread. A forked child can
    connect to the addresses as long as its parent runs, but can neither ask for the status nor
    close them.
    """

    def __init__(self, request: OpenRequest, timeout: float, drain: float) -> None:
        self._request = request
        self._timeout = timeout
        self._drain = drain
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._background: Background | None = None  # under the lock
        self._is_closed = False  # under the lock
        self._last: ProfileStatus | None = None
        self.name = str(request)

    def start(self) -> None:
        """Open them and wait until they are ready; see `open`. Called once."""
        from tunnelctl.api.imports import import_everything

        import_everything()
        from tunnelctl.state.profile import readiness

        loaded = self._request.load()
        self.name = loaded.profile.name
        required = {rule.name for rule in loaded.profile.forwards if rule.required}

        def is_decided(status: ProfileStatus) -> bool:
            failed = readiness.failure_of(status, required) is not None
            return failed or readiness.is_ready(status)

        try:
            environment, seconds = self._request.environment, self._timeout
            self._last = status = self._begin().up(
                loaded.profile, environment, is_decided, seconds=seconds, anew=loaded.anew
            )
            if status is None:
                raise sentences.tunnels_closed(self.name)
            if failure := readiness.failure_of(status, required):
                is_question = failure.code is Code.NEEDS_INPUT
                raise sentences.nobody_to_ask(failure) if is_question else failure
            if not readiness.is_ready(status):
                raise sentences.not_ready_in_time(self.name, seconds, readiness.troubles(status))
        except BaseException:
            self._drain = 0.0
            self.close()
            raise

    def _begin(self) -> Background:
        from tunnelctl.background.background import Background

        with self._lock:
            self._check_open()
            try:
                self._background = Background(f"tunnelctl: {self.name}")
            except (OSError, RuntimeError) as error:
                raise sentences.no_resources(self.name, reason(error)) from None
            return self._background

    def status(self) -> ProfileDocument:
        """The profile as in `profiles` of the status document (docs/api.md), as it is now.

        Raises:
            Failure: not-up; they are closed, or this is a forked child.
        """
        if os.getpid() != self._pid:
            raise sentences.tunnels_of_parent(self.name, self._pid)
        return cast("ProfileDocument", self._status().as_json())

    def close(self) -> None:
        """Stop listening, let connections end for `drain` seconds, reset what is left, and log out.

        Idempotent; may be called by any thread, also while another one opens them: that one then
        gets a Failure. In a forked child it does nothing.
        """
        if os.getpid() != self._pid:
            return
        with self._lock:
            background, self._background = self._background, None
            self._is_closed = True
        if background is not None:
            try:
                if self._drain > 0:
                    background.down(self.name, self._drain)
            finally:
                background.close()

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._is_closed

    def __getitem__(self, forward: str) -> Address:
        """The address of a forward's listener.

        Raises:
            KeyError: the profile has no forward of that name.
            Failure: not-up; it does not listen, or the tunnels are closed.
        """
        for found in self._status().forwards:
            if found.name == forward:
                return _address(f"{self.name}/{forward}", found)
        raise KeyError(f"{self.name} has no forward {forward!r}; it has {', '.join(self)}")

    def __contains__(self, forward: object) -> bool:
        return any(found.name == forward for found in self._status().forwards)

    def __iter__(self) -> Iterator[str]:
        return iter([forward.name for forward in self._status().forwards])

    def __len__(self) -> int:
        return len(self._status().forwards)

    def __repr__(self) -> str:
        return f"<Tunnels {self.name}{' (closed)' if self._is_closed else ''}>"

    # Equal only to themselves, not to a mapping with the same addresses.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def _check_open(self) -> None:
        if self._is_closed:
            raise sentences.tunnels_closed(self.name)

    def _status(self) -> ProfileStatus:
        """The current status; the last one where nobody can be asked: in a forked child, and in the
        thread of the tunnels, as for a handler of their log."""
        if os.getpid() == self._pid:
            with self._lock:
                self._check_open()
                background = self._background
            if background is not None:
                self._last = background.status(self.name) or self._last
        if self._last is None:
            raise sentences.tunnels_closed(self.name)
        return self._last


def open(
    profile: str | None = None,
    *,
    file: FilePath | None = None,
    forwards: Sequence[str] = (),
    host: str | None = None,
    timeout: float = TIMEOUT,
    drain: float = DRAIN,
    environ: Mapping[str, str] | None = None,
) -> Tunnels:
    """Open the tunnels of a profile in this process, and wait until they are ready.

    Name a `profile`, which is searched as by the command, or its `file`, or both: the name is then
    the profile's. Or give `forwards` as the words of ssh (`["-L", "5432:db:5432"]`) and the `host`
    (`[user@]name[:port]`). `environ` has the variables for the profile and for programs that ssh
    would run; by default those of this process. When the tunnels are closed, their connections have
    `drain` seconds to end.

    Raises:
        Failure: profile-not-found, or config-invalid with every mistake; at once what does not pass
            by itself, such as auth-failed, needs-input, host-key-unknown or port-in-use; not-ready
            after `timeout` seconds, with the reason.
        TypeError: the arguments do not go together.
    """
    request = OpenRequest.of(profile, file, forwards, host, environ)
    tunnels = Tunnels(request, timeout, drain)
    tunnels.start()
    return tunnels


@asynccontextmanager
async def open_async(
    profile: str | None = None,
    *,
    file: FilePath | None = None,
    forwards: Sequence[str] = (),
    host: str | None = None,
    timeout: float = TIMEOUT,
    drain: float = DRAIN,
    environ: Mapping[str, str] | None = None,
) -> AsyncIterator[Tunnels]:
    """As `open`, for `async with`: the running loop, of whatever kind, goes on meanwhile."""
    tunnels = Tunnels(OpenRequest.of(profile, file, forwards, host, environ), timeout, drain)
    try:
        await _in_thread(tunnels.start, f"open {tunnels.name}")
        yield tunnels
    finally:
        await _in_thread(tunnels.close, f"close {tunnels.name}")


async def _in_thread(work: Callable[[], None], name: str) -> None:
    from tunnelctl.net.threads import in_thread

    await in_thread(work, name)


def _address(part: str, forward: ForwardStatus) -> Address:
    from tunnelctl.state.documents.snapshot import ForwardState
    from tunnelctl.view.texts import listen_addresses

    if not (forward.bound or forward.state is ForwardState.UP):
        why = forward.last_error.message if forward.last_error else str(forward.state)
        raise sentences.forward_without_address(part, why)
    return Address(listen_addresses(forward)[0])
