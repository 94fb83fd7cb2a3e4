"""Asks the person at the terminal, or through SSH_ASKPASS, the questions of the daemon's hosts.

Owns the prompt, which follows ssh(1) (OpenSSH readpass.c). Input is not echoed unless the question
allows it, and is sent only to the daemon. A passphrase that ends with Tab, as the prompt offers, is
kept there. Must never leave the terminal without echo.
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import termios
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tunnelctl import clock
from tunnelctl.cli.terminal.output import say
from tunnelctl.client import Client, EventStream
from tunnelctl.errors import Code, Failure, printable, reason
from tunnelctl.home.redaction import SECRETS
from tunnelctl.state.documents.status_events import QuestionEvent, StatusEvent

_TERMINAL = "/dev/tty"
_ASKPASS = "ssh-askpass"  # if SSH_ASKPASS names none
_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")
_CHUNK = 4096
_KEEP = b"\t"
_OFFER = "end it with Tab, not Enter, and it is kept in the daemon's memory until it exits"
_KEPT = "kept in the daemon's memory until it exits, and never written"
HOST_KEY_AGAIN = "Please type 'yes', 'no' or the fingerprint: "


def askpass_program(environ: Mapping[str, str], *, has_terminal: bool) -> str | None:
    """The program that asks instead of the terminal, by the rules of ssh(1) for SSH_ASKPASS.

    None: the terminal asks, if there is one.
    """
    required = environ.get("SSH_ASKPASS_REQUIRE", "").lower()
    has_display = any(environ.get(name) for name in _DISPLAYS)
    may_ask = required == "force" or (has_display and required != "never")
    if not may_ask or (has_terminal and required not in ("prefer", "force")):
        return None
    return environ.get("SSH_ASKPASS") or shutil.which(_ASKPASS)


def somebody_can_be_asked(environ: Mapping[str, str]) -> bool:
    """Whether this command has a terminal or an askpass program."""
    has_terminal = _has_terminal()
    return has_terminal or askpass_program(environ, has_terminal=has_terminal) is not None


class Asker:
    """Reads a stream that was opened for the answers of some hosts: events go to the caller,
    questions to the person. `remember`: keep every answer that may be kept, without an offer."""

    def __init__(
        self,
        client: Client,
        stream: EventStream,
        environ: Mapping[str, str] = os.environ,
        *,
        remember: bool = False,
    ) -> None:
        self._remember = remember
        self._keeps = remember  # the answer to the question that is asked now
        self.waited = 0.0  # seconds spent while a person was asked
        self._client = client
        self._stream = stream
        self._environ = environ
        self._events: deque[StatusEvent] = deque()
        self._questions: dict[str, QuestionEvent] = {}  # open, in order, by id

    def next(self, timeout: float | None = None) -> StatusEvent | None:
        """The next event that is no question, or None if none arrived within `timeout` seconds; the
        time of a person does not count.

        Raises:
            Failure: DAEMON_NOT_RUNNING, the stream ended.
            KeyboardInterrupt: Ctrl-C at a prompt; the terminal is as it was.
        """
        deadline = None if timeout is None else clock.monotonic() + timeout
        while not self._events:
            if self._questions:
                began = clock.monotonic()
                self._answer(next(iter(self._questions.values())))
                took = clock.monotonic() - began
                self.waited += took
                deadline = None if deadline is None else deadline + took
                continue
            left = None if deadline is None else max(0.0, deadline - clock.monotonic())
            if not self._take(left):
                return None
        return self._events.popleft()

    def _take(self, timeout: float | None) -> bool:
        """Sort one event; False if none arrived in time."""
        event = self._stream.next(timeout)
        if event is None:
            return False
        if not isinstance(event, QuestionEvent):
            self._events.append(event)
        elif event.state == "asked":
            self._questions[event.id] = event
        else:
            self._questions.pop(event.id, None)
        return True

    def _answer(self, question: QuestionEvent) -> None:
        """Ask, and send the answer unless the question was withdrawn meanwhile."""
        self._keeps = self._remember
        answer = self._ask(question)
        if question.id not in self._questions:
            say(f"{_subject(question)}: the question was withdrawn")
            return
        del self._questions[question.id]
        if answer is not None and not question.echo:
            SECRETS.add(answer)
        try:
            keeps = self._keeps and answer is not None and _may_keep(question)
            self._client.answer(question.profile, question.id, answer, remember=keeps)
            if keeps:
                say(f"{_subject(question)}: {_KEPT}")
        except Failure as failure:
            if failure.code is not Code.NEEDS_INPUT:  # it came too late
                raise
            say(f"{_subject(question)}: {failure.message}")

    def _ask(self, question: QuestionEvent) -> str | None:
        prompt = f"{_subject(question)}: {_shown(question.message)}"
        is_host_key = question.about == "host-key"
        while True:
            program = askpass_program(self._environ, has_terminal=_has_terminal())
            if program is not None:
                answer = self._ask_program(program, prompt, question)
            else:
                answer = self._ask_terminal(prompt, question)
            if not is_host_key or answer is None:
                return answer
            decided = decision(answer)
            if decided is not None:
                return decided
            prompt = HOST_KEY_AGAIN

    def _ask_terminal(self, prompt: str, question: QuestionEvent) -> str | None:
        """The input at the terminal; None at its end (Ctrl-D) or without a terminal."""
        with _terminal() as terminal:
            if terminal is None:
                return None
            offers = _may_keep(question) and not self._remember
            with _echo(terminal, on=question.echo, ended_by=_KEEP if offers else b""):
                note = f"{_subject(question)}: {_OFFER}\n" if offers else ""
                os.write(terminal, (note + prompt).encode())
                ends = (b"\n", _KEEP) if offers else (b"\n",)
                line = self._read_line(terminal, question, ends)
                if offers and line is not None and line.endswith(_KEEP.decode()):
                    self._keeps, line = True, line.removesuffix(_KEEP.decode())
                if line is None and question.echo:
                    os.write(terminal, b"\n")
        return line

    def _ask_program(self, program: str, prompt: str, question: QuestionEvent) -> str | None:
        """The output of the program (ssh(1), SSH_ASKPASS); None if it refuses."""
        hint = {"SSH_ASKPASS_PROMPT": "confirm"} if question.about == "host-key" else {}
        try:
            process = subprocess.Popen(  # noqa: S603 - the user's own program, without a shell
                [program, prompt],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                env={**self._environ, **hint},
            )
        except OSError as error:
            say(f"{program} cannot be started: {reason(error)}")
            return None
        assert process.stdout is not None
        with process:
            try:
                line = self._read_line(process.stdout.fileno(), question)
            except BaseException:
                process.terminate()
                raise
            if question.id not in self._questions:
                process.terminate()
            return line if process.wait() == 0 else None

    def _read_line(
        self, source: int, question: QuestionEvent, ends: tuple[bytes, ...] = (b"\n",)
    ) -> str | None:
        """A line without its line break; None if there is none, or the question was closed."""
        typed = b""
        while not typed.endswith(ends):
            while self._take(0):  # select does not see data that was received already
                pass
            if question.id not in self._questions:
                return None
            ready, _, _ = select.select([source, self._stream.fileno()], [], [])
            if source in ready:
                try:
                    chunk = os.read(source, _CHUNK)
                except OSError:  # the terminal was closed
                    return None
                if not chunk:
                    break
                typed += chunk
        return typed.decode(errors="replace").rstrip("\r\n") if typed else None


def _subject(question: QuestionEvent) -> str:
    """`dev/bastion`, and the hop that asks."""
    subject = f"{question.profile}/{question.name}"
    asks = question.host
    return printable(subject if asks == question.name else f"{subject} (at {asks})")


def _shown(prompt: str) -> str:
    """A prompt may have several lines; other control characters are removed."""
    return "\n".join(map(printable, prompt.split("\n")))


def _may_keep(question: QuestionEvent) -> bool:
    """Whether the answer is one for later logins too, and is not kept in any case."""
    return question.remember is False


def decision(answer: str) -> str | None:
    """The meaning of an answer about a host key: `yes`, `no` or a fingerprint; None if neither."""
    word = answer.strip()
    if word.startswith("SHA256:"):
        return word
    return {"y": "yes", "yes": "yes", "n": "no", "no": "no"}.get(word.lower())


def _has_terminal() -> bool:
    with _terminal() as terminal:
        return terminal is not None


@contextmanager
def _terminal() -> Iterator[int | None]:
    """The controlling terminal; None without one, or for a background job of a shell."""
    try:
        terminal = os.open(_TERMINAL, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        yield terminal if os.tcgetpgrp(terminal) == os.getpgrp() else None
    finally:
        os.close(terminal)


@contextmanager
def _echo(terminal: int, *, on: bool, ended_by: bytes = b"") -> Iterator[None]:
    """One question at a terminal. Without echo, Ctrl-Z is disabled too, because a shell would show
    further input. The line ends with Enter, or with `ended_by`."""
    before = termios.tcgetattr(terminal)
    changed = termios.tcgetattr(terminal)
    flags, characters = 3, 6  # of the list that is a termios(3) structure in Python
    changed[flags] |= termios.ECHO | termios.ICANON | termios.ISIG
    if ended_by:
        changed[characters][termios.VEOL] = ended_by
    if not on:
        changed[flags] &= ~termios.ECHO
        changed[characters][termios.VSUSP] = b"\0"
    sys.stderr.flush()
    termios.tcsetattr(terminal, termios.TCSAFLUSH, changed)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
        if not on:
            os.write(terminal, b"\n")  # the Enter of the person was not echoed
