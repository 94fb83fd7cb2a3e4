"""The time of day of one process, which can jump: by libfaketime, which must be preloaded.

CLOCK_MONOTONIC and CLOCK_BOOTTIME go on as they are, as when somebody sets the clock of a machine.
"""

from __future__ import annotations

from pathlib import Path

import pytest

_LIBRARY = "*/faketime/libfaketimeMT.so.1"


class WallClock:
    """`environ` is what a process needs in its environment; `folder` is where the file with the
    difference is. A jump is noticed within a second: to read the file for every question made a
    process up to eight times slower, and now it is twice as slow."""

    def __init__(self, folder: Path) -> None:
        library = next(Path("/usr/lib").glob(_LIBRARY), None)
        if library is None:
            pytest.skip("libfaketime is not installed")
        self._file = folder / "wall-clock"
        self.jump(0)
        self.environ = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def jump(self, seconds: int) -> None:
        """Be so many seconds ahead of this machine's time of day from now on."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.replace(self._file)  # it is read again and again
