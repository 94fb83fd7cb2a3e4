"""`proxy_command`: a program whose standard input and output are the connection to a host.

Owns the process, its group, and what it says on standard error. Must never block the loop, never
run a shell, never leave a process or a zombie behind, and never signal a process that is not its
own: the process is reaped on the loop, so its number is its own until then.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence

from tunnelctl.errors import Code, Failure
from tunnelctl.net.environment import minimal_environment
from tunnelctl.net.threads import in_thread
from tunnelctl.spec.host import Host
from tunnelctl.ssh.failures import label, printable

# How long the program has to end by itself once its input has ended, and after SIGTERM, in seconds.
_EOF_SECONDS = 0.25
_TERM_SECONDS = 2.0
# The end of what it said on standard error, in bytes.
_SAID_MAX = 4096
# What may take the place of a token. A profile's words reach other programs' command lines here.
_HOSTNAME = re.compile(r"[A-Za-z0-9._:%][A-Za-z0-9._:%-]*")
_USER = re.compile(r"[A-Za-z0-9._@+][A-Za-z0-9._@+-]*")
_TOKEN = re.compile(r"%(.?)", re.DOTALL)
# It may need the user's agent, unlike a program that only prints a secret.
_VARIABLES = ("SSH_AUTH_SOCK",)
# What the end of the program looks like from here, and what its silence does.
_ENDED = (Code.HANDSHAKE_FAILED, Code.SESSION_LOST)
_SILENT = (Code.TIMED_OUT, Code.PEER_SILENT)


def expand(host: Host, user: str) -> list[str]:
    """The words of `host.proxy_command` with %h, %p, %r, %n and %% replaced (ssh_config(5) TOKENS).

    Raises:
        Failure: config-invalid for an unknown token, and for a name or user with characters that
            could mean something else to the program, such as a leading `-`.
    """
    values: dict[str, Callable[[], str]] = {
        "%": lambda: "%",
        "h": lambda: _safe(host, host.hostname, _HOSTNAME),
        "n": lambda: _safe(host, host.name, _HOSTNAME),
        "p": lambda: str(host.port),
        "r": lambda: _safe(host, user, _USER),
    }

    def value(token: re.Match[str]) -> str:
        if token[1] not in values:
            raise _mistake(host, f"{token[0]} stands for nothing", "%h, %p, %r, %n or %%")
        return values[token[1]]()

    return [_TOKEN.sub(value, word) for word in host.proxy_command]


def _safe(host: Host, text: str, pattern: re.Pattern[str]) -> str:
    if not pattern.fullmatch(text):
        raise _mistake(host, f"{printable(text)!r} may not be given to a program", "another name")
    return text


def _mistake(host: Host, what: str, better: str) -> Failure:
    hint = f"use {better} in hosts.{host.name} of the profile"
    return Failure(Code.CONFIG_INVALID, f"{label(host)}: proxy_command: {what}", hint)


class ProxyCommand:
    """A `Way`: the running program. `sock` is the connection, for the caller to close."""

    def __init__(
        self, host: Host, name: str, process: subprocess.Popen[bytes], sock: socket.socket
    ) -> None:
        self.sock = sock
        self._host = host
        self._name = name  # of the program, as messages say it
        self._process = process
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._was_terminated = False
        self._said = b""
        assert process.stderr is not None
        self._stderr = process.stderr
        os.set_blocking(self._stderr.fileno(), False)
        self._loop.add_reader(self._stderr, self._listen)
        threading.Thread(target=self._wait, name=f"wait for {name}", daemon=True).start()

    @classmethod
    async def start(cls, host: Host, user: str) -> ProxyCommand:
        """Start the program of `host`, in a session and process group of its own.

        Raises:
            Failure: config-invalid when it cannot be started.
        """
        words = expand(host, user)
        name = printable(os.path.basename(words[0]))
        work = in_thread(functools.partial(_spawn, words), f"start {name}")
        try:
            process, sock = await asyncio.shield(work)
        except asyncio.CancelledError:
            with contextlib.suppress(OSError, ValueError):
                command = cls(host, name, *await work)  # to start a program takes no time
                command.sock.close()
                command.close()
                await command.wait_closed()
            raise
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            what = f"cannot start {printable(words[0])}: {why}"
            raise _mistake(host, what, "the path of a program that is installed") from None
        return cls(host, name, process, sock)

    def explain(self, failure: Failure) -> Failure:
        """See Way: how the program failed, if that is why, and the last that it said."""
        if failure.code not in (*_ENDED, *_SILENT):
            return failure
        said = self._last_line()
        status = self._status() if failure.code in _ENDED else 0
        if status:
            what = f"{label(self._host)}: proxy_command {self._name} {_ending(status)}"
            what += f": {said}" if said else ""
        elif said:
            what = f"{failure.message}; {self._name} says: {said}"
        else:
            return failure
        hint = f"run the proxy_command of {self._host.name} by hand to see why"
        return failure.but(message=what, hint=hint)

    def close(self) -> None:
        """See Way: its input has ended; then SIGTERM and SIGKILL to its process group."""
        if self._timer is None and not self._ended.done():
            self._timer = self._loop.call_later(_EOF_SECONDS, self._terminate)

    def _terminate(self) -> None:
        self._was_terminated = True
        self._signal(signal.SIGTERM)
        self._timer = self._loop.call_later(_TERM_SECONDS, self._signal, signal.SIGKILL)

    async def wait_closed(self) -> None:
        """See Way."""
        await asyncio.shield(self._ended)

    def _signal(self, number: signal.Signals) -> None:
        # Not reaped yet, so the number is still that of its group.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _status(self) -> int:
        """How the program ended by itself: an exit status, or a signal below 0; else 0."""
        if self._was_terminated:
            return 0
        if self._ended.done():
            return int(self._process.returncode)
        seen = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        if seen is None:
            return 0
        return seen.si_status if seen.si_code == os.CLD_EXITED else -seen.si_status

    def _last_line(self) -> str:
        """What it said last on standard error, for one line of a message."""
        self._listen()
        lines = [line.strip() for line in self._said.decode(errors="replace").splitlines()]
        return printable(next(filter(None, reversed(lines)), ""))

    def _listen(self) -> None:
        """Keep the end of what it says on standard error."""
        if self._stderr.closed:
            return
        try:
            while data := os.read(self._stderr.fileno(), _SAID_MAX):
                self._said = (self._said + data)[-_SAID_MAX:]
        except BlockingIOError:
            return
        self._loop.remove_reader(self._stderr)

    def _wait(self) -> None:
        """In a thread of its own: see the process end, and leave it to the loop to reap it."""
        os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits
            self._loop.call_soon_threadsafe(self._reap)

    def _reap(self) -> None:
        self._signal(signal.SIGKILL)  # what it left behind in its group
        self._process.wait()
        if self._timer is not None:
            self._timer.cancel()
        self._listen()
        self._loop.remove_reader(self._stderr)
        self._stderr.close()
        self._ended.set_result(None)


def _spawn(words: Sequence[str]) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Blocking: returns once the program runs. No descriptor but its three reaches it."""
    ours, theirs = socket.socketpair()
    try:
        process = subprocess.Popen(  # noqa: S603 - the words of the profile's owner, no shell
            words,
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=subprocess.PIPE,
            env=minimal_environment(os.environ, _VARIABLES),
            start_new_session=True,
            bufsize=0,
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    ours.setblocking(False)
    return process, ours


def _ending(status: int) -> str:
    if status >= 0:
        return f"ended with exit status {status}"
    return f"was ended by {signal.Signals(-status).name}"
