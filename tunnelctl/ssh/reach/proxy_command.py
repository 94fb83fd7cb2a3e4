"""`proxy_command`: a program whose standard input and output are the connection to a host.

Owns the command line of the program, the time for its first byte, and its end. Must never block the
loop, never run a shell that nobody asked for, and never leave a process behind.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable

from tunnelctl import clock
from tunnelctl.errors import Code, Failure, reason
from tunnelctl.net.processes.child import Child, ending
from tunnelctl.spec.environment import Environment
from tunnelctl.spec.host import USERS_SHELL, Host
from tunnelctl.ssh.disruptions import Disruptions
from tunnelctl.ssh.reach import sentences
from tunnelctl.ssh.sentences import excerpt
from tunnelctl.ssh.silence import OnSilence
from tunnelctl.ssh.tokens import KNOWN_AS, USER, expand

# Seconds for the program to end by itself after its input or output ended, and after SIGTERM.
_EOF_SECONDS = 0.25
_TERM_SECONDS = 2.0
# Seconds until the program's first byte. Somebody may have to log in with a browser, for which
# there are at most 10 minutes (a device code of `aws sso login`); ssh(1) waits forever. From the
# first byte on `connect_timeout` applies, as for any server.
PATIENCE = 600.0
# If somebody waits at a terminal: the same time as for any other question.
AT_A_TERMINAL = 120.0
_KEY = "proxy_command"
# The failures that the end of the program, and its silence, cause.
_ENDED = (Code.HANDSHAKE_FAILED, Code.SESSION_LOST)
_SILENT = (Code.TIMED_OUT, Code.PEER_SILENT)


def words_for(host: Host, user: str) -> list[str]:
    """The words of `host.proxy_command` with their tokens replaced.

    Raises:
        Failure: config-invalid, see tokens.expand.
    """
    alias = host.name if host.host_key_alias is None else host.host_key_alias
    return expand(host, _KEY, host.proxy_command, {"r": (user, USER), "k": (alias, KNOWN_AS)})


class ProxyCommand:
    """A `Way`: the running program. `sock` is the connection, which the caller closes."""

    def __init__(self, host: Host, name: str, child: Child, sock: socket.socket) -> None:
        self.sock = sock
        self.name = name  # name of the program in messages
        self._host = host
        self._child = child
        self._timer: asyncio.TimerHandle | None = None
        self._was_terminated = False

    @classmethod
    async def start(cls, host: Host, user: str, environment: Environment) -> ProxyCommand:
        """Start the program of `host`, in a session and process group of its own.

        Raises:
            Failure: config-invalid when it cannot be started.
        """
        words = words_for(host, user)
        is_for_shell = words[0] == USERS_SHELL
        if is_for_shell:
            words[0] = environment.shell
        name = excerpt(os.path.basename(words[0]))
        ours, theirs = socket.socketpair()
        try:
            child = await Child.start(words, environment, name, stdio=theirs)
        except (OSError, ValueError) as error:
            ours.close()
            why = reason(error)
            if is_for_shell:
                raise sentences.no_shell(host, words[0], why) from None
            raise sentences.proxy_command_not_started(host, words[0], why) from None
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        return cls(host, name, child, ours)

    async def spoken(self, on_silence: OnSilence, moments: Disruptions, patience: float) -> None:
        """Return once the program has sent something, or has ended.

        `on_silence` is called after each `connect_timeout` of silence, because what waits for a
        person should delay nobody else. A program that is silent for that long at one of `moments`
        may wait for an answer from a lost network, which would take minutes, so it is abandoned.

        Raises:
            Failure: timed-out, after `patience` seconds or at such a moment.
        """
        loop = asyncio.get_running_loop()
        began = clock.monotonic()
        spoken: asyncio.Future[bool] = loop.create_future()

        def decide(has_spoken: bool) -> None:
            if not spoken.done():
                spoken.set_result(has_spoken)

        def moment() -> None:
            if clock.monotonic() - began > self._host.connect_timeout:
                decide(False)

        def tell() -> None:
            if not spoken.done():
                loop.call_later(self._host.connect_timeout, tell)
                waited = clock.monotonic() - began
                on_silence(sentences.proxy_command_waits(self._host, self.name, waited, patience))

        loop.add_reader(self.sock, decide, True)
        loop.call_later(self._host.connect_timeout, tell)
        try:
            async with asyncio.timeout(patience):
                with moments.telling(moment):
                    has_spoken = await spoken
        except TimeoutError:
            raise self._said_nothing(patience) from None
        finally:
            spoken.cancel()
            loop.remove_reader(self.sock)
        if not has_spoken:
            raise self._said_nothing(clock.monotonic() - began)

    def _said_nothing(self, seconds: float) -> Failure:
        return sentences.proxy_command_silent(self._host, self.name, seconds)

    def explain(self, failure: Failure) -> Failure:
        """See Way: how the program failed, if that is the cause, and its last line."""
        if failure.code not in (*_ENDED, *_SILENT):
            return failure
        said = excerpt(self._child.last_line())
        status = self._status() if failure.code in _ENDED else 0
        if status:
            how = ending(status)
            return sentences.proxy_command_failed(self._host, self.name, how, said, failure)
        if said:
            return sentences.proxy_command_said(self._host, self.name, said, failure)
        return failure

    @property
    def has_failed(self) -> bool:
        """See Way: the program ended with a failure."""
        return self._status() != 0

    def when_known(self, then: Callable[[], None]) -> None:
        """See Way: the program closes its output just before it ends."""
        if self._child.status() is not None:
            then()
            return
        loop = asyncio.get_running_loop()
        ended = loop.create_task(self._child.wait())
        timer = loop.call_later(_EOF_SECONDS, ended.cancel)

        def known(_: asyncio.Task[int]) -> None:
            timer.cancel()
            then()

        ended.add_done_callback(known)

    def close(self) -> None:
        """See Way: its input has ended; then SIGTERM and SIGKILL to its process group."""
        if self._timer is None and not self._child.has_ended:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_EOF_SECONDS, self._terminate)

    def _terminate(self) -> None:
        self._was_terminated = True
        self._child.signal(signal.SIGTERM)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(_TERM_SECONDS, self._child.signal, signal.SIGKILL)

    async def wait_closed(self) -> None:
        """See Way."""
        await self._child.wait()
        if self._timer is not None:
            self._timer.cancel()

    def _status(self) -> int:
        """How the program ended by itself: an exit status, or a signal below 0; else 0."""
        return 0 if self._was_terminated else self._child.status() or 0
