"""Words for mypyc, which compiles the data path (hatch_build.py). They do nothing in pure Python.

mypyc knows them by the names that `mypy_extensions` gives them, and reads them without running
them, so that nobody who runs tunnelctl needs that package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr as mypyc_attr
else:

    def mypyc_attr(**_):
        """Take the class as it is."""
        return lambda cls: cls
