"""A network namespace for the soak, with two default routes that lead nowhere.

Must never change a route of the machine: without a namespace, no route is changed.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

_CLONE_NEWNET = 0x40000000  # <linux/sched.h>; os.unshare comes with Python 3.12
_LOW, _HIGH = 100, 600  # metrics as NetworkManager sets them for Ethernet and Wi-Fi
_BETWEEN = 300


@contextmanager
def own_network() -> Iterator[bool]:
    """Threads and processes that start in the block are in it; False if it cannot be made."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        may = os.geteuid() == 0 and shutil.which("ip") is not None
        if not may or libc.unshare(_CLONE_NEWNET) != 0:
            yield False
            return
        try:
            yield _furnished()
        finally:
            if libc.setns(before, _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "the network before cannot be entered again")
    finally:
        os.close(before)


def raise_metric() -> None:
    """The first of the two default routes becomes the second, as if a cable lost its signal."""
    _ip("route", "add", "default", "dev", "cable", "metric", str(_HIGH + _BETWEEN))
    _ip("route", "del", "default", "dev", "cable", "metric", str(_LOW))


def lower_metric() -> None:
    """It becomes the first again."""
    _ip("route", "add", "default", "dev", "cable", "metric", str(_LOW))
    _ip("route", "del", "default", "dev", "cable", "metric", str(_HIGH + _BETWEEN))


def _furnished() -> bool:
    """Bring up loopback and add the routes; returns whether the routes could be added."""
    _ip("link", "set", "lo", "up")
    try:
        _ip("link", "add", "cable", "type", "veth", "peer", "name", "wifi")
        for number, (name, metric) in enumerate({"cable": _LOW, "wifi": _HIGH}.items()):
            # From the block for tests of networks (RFC 2544).
            _ip("addr", "add", f"198.18.{number}.1/24", "dev", name)
            _ip("link", "set", name, "up")
            _ip("route", "add", "default", "dev", name, "metric", str(metric))
    except subprocess.CalledProcessError:  # a kernel without such links
        return False
    return True


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], capture_output=True, check=True)
