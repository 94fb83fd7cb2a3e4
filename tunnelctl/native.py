"""Decorators for mypyc, which compiles the data path (hatch_build.py). No effect in pure Python.

mypyc knows them by their names in `mypy_extensions` and does not run them, so that package is not
needed to run tunnelctl.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr as mypyc_attr
else:

    def mypyc_attr(**_):
        """Return the class unchanged."""
        return lambda cls: cls
