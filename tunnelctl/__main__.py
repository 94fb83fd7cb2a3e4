"""`python -m tunnelctl`, and the `tunnelctl` command.

Must import next to nothing outside of `main`: a Ctrl-C meanwhile ends in a traceback of Python's.
"""

from __future__ import annotations

import os
import sys
from types import FrameType

_INTERRUPTED = 130
_AGAIN_SECONDS = 0.01
_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def main() -> int:
    """Run the command line; the exit code (docs/getting-started.md has them)."""
    _open_streams()
    sys.unraisablehook = _interrupt_again
    if os.getpid() == 1:
        from tunnelctl.net.processes.init import serve_as_init

        code = serve_as_init()
        if code is not None:
            return code
        if os.environ.get("LISTEN_PID") == "1":  # sd_listen_fds(3): the sockets are for the command
            os.environ["LISTEN_PID"] = str(os.getpid())
    try:
        from tunnelctl.cli.main import run
        from tunnelctl.cli.terminal.output import take_any_text

        take_any_text(sys.stdout)
        return run(sys.argv[1:])
    except KeyboardInterrupt:  # before there was anything to interrupt, or for the second time
        sys.stderr.write("tunnelctl: interrupted\n")
        return _INTERRUPTED
    finally:
        _be_over()


def _be_over() -> None:
    """From here on there is nothing that Ctrl-C could interrupt but Python's own end, which would
    tell of it with a traceback."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _interrupt_again(unraisable: sys.UnraisableHookArgs) -> None:
    """Python tells of an exception in a callback of its own, as for a weak reference, and goes on.
    A Ctrl-C that came just then comes again, after the callback."""
    if unraisable.exc_type is KeyboardInterrupt:
        import signal

        signal.signal(signal.SIGALRM, _interrupt)
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)
    else:
        sys.__unraisablehook__(unraisable)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _open_streams() -> None:
    """Let a standard stream that came closed (`>&-`) be /dev/null: else the first socket would get
    its number, and what is printed would go there."""
    for number, (name, mode) in enumerate(_STREAMS):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            assert descriptor == number, f"{name} was closed, and something else is in its place"
            stream = open(descriptor, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 - stays
            setattr(sys, name, stream)


if __name__ == "__main__":
    sys.exit(main())
