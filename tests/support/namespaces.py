"""A network of two ends: ours, and one in a namespace of its own, with a link that can be cut.

Needs root. Its addresses are of the block for tests of networks (RFC 2544), so that nothing else
on this machine has them.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network

import pytest

_BLOCK = IPv4Network("198.18.0.0/15")


class Namespace:
    """The far end is `there`, ours `here`; commands prefixed with `inside` run at the far end."""

    def __init__(self, number: int) -> None:
        first = int(_BLOCK.network_address) + 4 * (number % (_BLOCK.num_addresses // 4))
        self.here = str(IPv4Network((first, 30))[1])
        self.there = str(IPv4Network((first, 30))[2])
        self._name = f"tctl{number}"
        self._near, self._far = f"tn{number}", f"tf{number}"
        self.inside = ("ip", "netns", "exec", self._name)

    def make(self) -> None:
        """Make both ends, and bring the link up."""
        self._ip("netns", "add", self._name)
        self._ip("link", "add", self._near, "type", "veth", "peer", "name", self._far)
        self._ip("link", "set", self._far, "netns", self._name)
        self._ip("addr", "add", f"{self.here}/30", "dev", self._near)
        self._ip("link", "set", self._near, "up")
        inside = ("-n", self._name)
        self._ip(*inside, "addr", "add", f"{self.there}/30", "dev", self._far)
        self._ip(*inside, "link", "set", "lo", "up")
        self._ip(*inside, "link", "set", self._far, "up")

    def remove(self) -> None:
        """Take it all away, also what is left of a half made one."""
        subprocess.run(["ip", "link", "del", self._near], capture_output=True, check=False)
        subprocess.run(["ip", "netns", "del", self._name], capture_output=True, check=False)

    def pull(self, *, here: bool) -> None:
        """Take the link down, at our end or (we see a cable without a signal) at the far one."""
        self._set("down", here=here)

    def plug(self, *, here: bool) -> None:
        """Bring it up again."""
        self._set("up", here=here)

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        """A route that says that the far end cannot be reached."""
        self._ip("route", "add", "unreachable", f"{self.there}/32")
        try:
            yield
        finally:
            self._ip("route", "del", "unreachable", f"{self.there}/32")

    def swallow(self) -> None:
        """Have every packet dropped that arrives at the far end, without a word to anybody.

        Skips the test where the kernel has no such filter.
        """
        self._filter("-A")

    def let_through(self) -> None:
        """End of that."""
        self._filter("-D")

    def _filter(self, verb: str) -> None:
        command = [*self.inside, "iptables", verb, "INPUT", "-i", self._far, "-j", "DROP"]
        try:
            subprocess.run(command, capture_output=True, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no packet filter in a namespace: {error}")

    def _set(self, state: str, *, here: bool) -> None:
        place = (
            ("link", "set", self._near) if here else ("-n", self._name, "link", "set", self._far)
        )
        self._ip(*place, state)

    @staticmethod
    def _ip(*words: str) -> None:
        subprocess.run(["ip", *words], capture_output=True, check=True)


@contextmanager
def namespace() -> Iterator[Namespace]:
    """A network of one's own; skips the test where it cannot be made."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces are made by root")
    made = Namespace(os.getpid())
    try:
        try:
            made.make()
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no network namespaces here (iproute2, CAP_SYS_ADMIN): {error}")
        yield made
    finally:
        made.remove()
