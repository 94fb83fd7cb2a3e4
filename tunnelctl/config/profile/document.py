"""A tree with its plain values and the place of each, and its validation by the schema.

Owns the translation of pydantic's errors to our sentences. Never raises for a mistake.
"""

from __future__ import annotations

from copy import copy
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tunnelctl.config.profile.suggestions import suggestion
from tunnelctl.config.yaml.mistakes import KeyPath, Mark, Mistakes, shown
from tunnelctl.config.yaml.tree import Node, plain, positions

Model = TypeVar("Model", bound=BaseModel)


class Document:
    """The part of a profile at `path`, below `key`, ready for checks."""

    def __init__(
        self, tree: Node, mistakes: Mistakes, path: KeyPath = (), key: Mark | None = None
    ) -> None:
        self.tree = tree
        self.data = plain(tree)
        self.path = path
        self._places = positions(tree, path, key)
        self._mistakes = mistakes

    def noting(self, mistakes: Mistakes) -> Document:
        """The same, with mistakes reported there from now on."""
        other = copy(self)
        other._mistakes = mistakes
        return other

    def file_of(self, path: KeyPath) -> str:
        """The file that contains the value at `path`."""
        return self._places[self._known(path)].value.file

    def say(self, path: KeyPath, message: str, *, at_key: bool = False) -> None:
        """Report a mistake at the value (or its key) that is nearest to `path`."""
        known = self._known(path)
        place = self._places[known]
        if not place.broken:
            self._mistakes.add(place.key if at_key else place.value, known, message)

    def validate(self, model: type[Model]) -> Model | None:
        """The values as `model`, or None after reporting every mistake."""
        try:
            return model.model_validate(self.data)
        except ValidationError as error:
            for details in error.errors(include_url=False, include_input=True):
                self._translate(details)
            return None

    def _translate(self, details: ErrorDetails) -> None:
        path = (*self.path, *details["loc"])
        kind = details["type"]
        if kind == "extra_forbidden":
            self._unknown_key(path)
        elif kind == "value_error":
            at_key = bool(path) and path[-1] == "[key]"
            self.say(path, str(details["ctx"]["error"]), at_key=at_key)
        elif kind in ("model_type", "dict_type"):
            self.say(path, f"must be a map of keys, not {shown(details['input'])}")
        else:
            self.say(path, f"is not valid: {details['msg']}")

    def _unknown_key(self, path: KeyPath) -> None:
        self.say(path, f"unknown key{self._suggestion(path)}", at_key=True)

    def _suggestion(self, path: KeyPath) -> str:
        return suggestion(path, self._mistakes)

    def _known(self, path: KeyPath) -> KeyPath:
        """The longest prefix of `path` that has a place in a file."""
        while path not in self._places and len(path) > len(self.path):
            path = path[:-1]
        return path
