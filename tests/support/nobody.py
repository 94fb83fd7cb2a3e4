"""A process of a user id that the password database does not know, as in OpenShift."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable

import pytest

NOBODY = 54321

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")


def as_nobody(run: Callable[[], object]) -> object:
    """The result of `run` in such a process; raises its exception. It can
    read what this one has loaded."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        try:
            answer = run()
        except BaseException as error:
            answer = error
        os.write(writing, pickle.dumps(answer))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pickle.loads(pipe.read())
    os.waitpid(child, 0)
    return answer
