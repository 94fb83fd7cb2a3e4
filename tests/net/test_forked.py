"""What a forked child finds: see also tests/api/test_processes.py, with tunnels."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import os, threading
from tunnelctl.net.forked import lock_of_process

lock, over = lock_of_process(), threading.Event()

def hold():
    while not over.is_set():
        with lock:
            sum(range(1000))

holder = threading.Thread(target=hold)
holder.start()
try:
    for _ in range(30):
        child = os.fork()
        if child == 0:
            os._exit(0 if lock.acquire(timeout=5) else 1)
        assert os.waitpid(child, 0)[1] == 0, "the lock is taken for ever"
finally:
    over.set()
    holder.join()
"""


def test_a_lock_that_another_thread_takes_all_the_time_is_free_in_every_child() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


_FORKS_WITH_IT = """
import os
from tunnelctl.net.forked import lock_of_process

lock = lock_of_process()
with lock:  # as a handler of a signal does that came now
    child = os.fork()
if child == 0:
    os._exit(0 if lock.acquire(blocking=False) else 1)
assert os.waitpid(child, 0)[1] == 0
"""


def test_who_has_the_lock_may_fork() -> None:
    done = subprocess.run([sys.executable, "-c", _FORKS_WITH_IT], timeout=60, check=False)
    assert done.returncode == 0
