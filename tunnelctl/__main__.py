"""`python -m tunnelctl`, and the `tunnelctl` command.

Owns garbage collection while a command starts and ends: off among imports, whose objects stay, and
nothing is left to visit when Python clears up, which together would be a fifth of the time of `ps`.
Must import next to nothing outside of `main`: Ctrl-C during an import prints a traceback.
"""

from __future__ import annotations

import gc
import os
import sys
from types import FrameType

_INTERRUPTED = 130
_AGAIN_SECONDS = 0.01
_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def main() -> int:
    """Run the command line; returns the exit code (listed in docs/getting-started.md)."""
    try:
        gc.disable()  # until the command is imported (cli/main.py)
        _open_streams()
        sys.unraisablehook = _interrupt_again
        if os.getpid() == 1:
            from tunnelctl.net.processes.init import serve_as_init

            code = serve_as_init()
            if code is not None:
                return code
            # sd_listen_fds(3): the sockets are for the command.
            if os.environ.get("LISTEN_PID") == "1":
                os.environ["LISTEN_PID"] = str(os.getpid())
        from tunnelctl.cli.main import run
        from tunnelctl.cli.terminal.output import take_any_text

        take_any_text(sys.stdout)
        return run(sys.argv[1:])
    # Nothing was running yet that could be interrupted, or it is the second Ctrl-C.
    except KeyboardInterrupt:
        sys.stderr.write("tunnelctl: interrupted\n")
        return _INTERRUPTED
    finally:
        _be_over()


def _be_over() -> None:
    """Ignore Ctrl-C from here on: it could only interrupt Python's own shutdown, which would print
    a traceback."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()


def _interrupt_again(unraisable: sys.UnraisableHookArgs) -> None:
    """Python reports an exception in one of its callbacks, such as a weak reference's, and
    continues. A Ctrl-C at that time is raised again after the callback."""
    if unraisable.exc_type is KeyboardInterrupt:
        import signal

        signal.signal(signal.SIGALRM, _interrupt)
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)
    else:
        sys.__unraisablehook__(unraisable)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _open_streams() -> None:
    """Open /dev/null in place of a standard stream that is closed (`>&-`). Otherwise the first
    socket would get its descriptor, and output would be written there."""
    for number, (name, mode) in enumerate(_STREAMS):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            assert descriptor == number, f"{name} was closed, and something else is in its place"
            stream = open(descriptor, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 - stays
            setattr(sys, name, stream)


if __name__ == "__main__":
    sys.exit(main())
