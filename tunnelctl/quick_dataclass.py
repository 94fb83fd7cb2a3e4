"""`dataclass` of the standard library, made in a fifth of the time.

For each class the standard decorator compiles six methods at import, half a millisecond; with 180
classes that was a quarter of the daemon's start. Here only `__init__` is compiled, and the other
methods are closures over the names of the fields.

Type checkers see the standard decorator, and they alone enforce `frozen`: at run time a field can
be assigned. Modules that mypyc compiles must use the standard decorator, which it knows
(hatch_build.py).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:
    _Class = TypeVar("_Class", bound=type)

    def dataclass(*, frozen: bool = False, slots: bool = False, eq: bool = True):
        """As `dataclasses.dataclass`, for the options that this package uses.

        Two objects are equal if they are of the same class and their fields are, without those with
        `compare=False`; they have a hash if `frozen`.
        """
        standard = dataclasses.dataclass(slots=slots, eq=False, repr=False)

        def make(cls: _Class) -> _Class:
            own = vars(cls)
            made = standard(cls)
            fields = dataclasses.fields(made)
            if "__repr__" not in own:
                made.__repr__ = _repr([field.name for field in fields if field.repr])
            if eq and "__eq__" not in own:
                content = _content([field.name for field in fields if field.compare])
                made.__eq__ = _eq(content)
                if "__hash__" not in own:
                    made.__hash__ = _hash(content) if frozen else None
            return made

        return make


def _content(names: list[str]) -> Callable[[Any], object]:
    """Reads the fields of an object, in one call."""
    return attrgetter(*names) if names else type


def _repr(names: list[str]) -> Callable[[Any], str]:
    def __repr__(self: Any) -> str:
        shown = ", ".join([f"{name}={getattr(self, name)!r}" for name in names])
        return f"{type(self).__qualname__}({shown})"

    return __repr__


def _eq(content: Callable[[Any], object]) -> Callable[[Any, object], bool]:
    def __eq__(self: Any, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return content(self) == content(other)

    return __eq__


def _hash(content: Callable[[Any], object]) -> Callable[[Any], int]:
    def __hash__(self: Any) -> int:
        return hash(content(self))

    return __hash__
