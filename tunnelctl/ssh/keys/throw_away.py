"""A private key as a file that no other user can read and that disappears with this process.

Owns the memory that holds it. Must never leave a key on a disk, even if the process is killed.
"""

from __future__ import annotations

import os
import shutil
import tempfile


class ThrowAwayFile:
    """`content` at `path`, readable by this user only, until `close` or the process ends."""

    def __init__(self, content: bytes) -> None:
        self._folder: str | None = None
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("identity", os.MFD_CLOEXEC)
            self.path = f"/proc/{os.getpid()}/fd/{descriptor}"
        else:
            self._folder = tempfile.mkdtemp(prefix="tunnelctl-")
            self.path = os.path.join(self._folder, "identity")
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._owner = os.getpid()
        os.fchmod(descriptor, 0o600)
        os.write(descriptor, content)
        self._descriptor = descriptor

    def close(self) -> None:
        """Free the memory."""
        os.close(self._descriptor)
        if self._folder is not None and os.getpid() == self._owner:  # not in a forked child
            shutil.rmtree(self._folder)
