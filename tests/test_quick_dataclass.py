"""`quick_dataclass` makes classes that behave as those of the standard library."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hatch_build import COMPILED

ROOT = Path(__file__).parent.parent
SOURCE = """
from dataclasses import field
from typing import ClassVar

from MODULE import dataclass

@dataclass(frozen=True, slots=True)
class Endpoint:
    "A host and a port."

    kind: ClassVar[str] = "tcp"
    host: str
    port: int = 22
    note: str = field(default="", compare=False)
    secret: str = field(default="", repr=False)
    tags: tuple[str, ...] = field(default_factory=tuple)

@dataclass(frozen=True, slots=True)
class Other:
    host: str
    port: int = 22

@dataclass(frozen=True, slots=True)
class Named(Endpoint):
    name: str = ""

    def __repr__(self) -> str:
        return self.name

@dataclass(frozen=True, slots=True)
class Nothing:
    pass

@dataclass(slots=True)
class Count:
    value: int = 0

@dataclass(slots=True, eq=False)
class Held:
    value: int = 0

@dataclass(slots=True)
class Own:
    value: int = 0

    def __eq__(self, other):
        return other == "own"

    def __hash__(self):
        return 7

@dataclass(frozen=True, slots=True)
class Hashed:
    value: int = 0

    def __hash__(self):
        return 8
"""


@pytest.fixture(params=["dataclasses", "tunnelctl.quick_dataclass"])
def made(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ModuleType:
    """The classes above, made by the standard library and by ours."""
    (tmp_path / "made.py").write_text(SOURCE.replace("MODULE", request.param))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "made", raising=False)
    module = importlib.import_module("made")
    monkeypatch.setitem(sys.modules, "made", module)  # removed at the end, as it was not there
    return module


def test_objects_are_made_from_their_fields(made: ModuleType) -> None:
    endpoint = made.Endpoint("db", port=5432)
    assert (endpoint.host, endpoint.port, endpoint.tags) == ("db", 5432, ())
    with pytest.raises(TypeError):
        made.Endpoint()
    with pytest.raises(TypeError):
        made.Endpoint("db", prot=1)


def test_equality_is_that_of_class_and_fields(made: ModuleType) -> None:
    assert made.Endpoint("db") == made.Endpoint("db", 22, note="compared by nobody")
    assert made.Endpoint("db") != made.Endpoint("db", 23)
    assert made.Other("db") != made.Endpoint("db")
    assert made.Named("db") != made.Endpoint("db")
    assert made.Nothing() == made.Nothing()
    assert made.Endpoint("db") != ("db", 22, "", ())
    assert made.Count(1) == made.Count(1)
    assert made.Held(1) != made.Held(1)
    assert made.Own(1) == "own"


def test_what_is_frozen_has_a_hash_and_nothing_else(made: ModuleType) -> None:
    assert len({made.Endpoint("db"), made.Endpoint("db", note="the same"), made.Other("db")}) == 2
    assert len({made.Nothing(), made.Nothing()}) == 1
    with pytest.raises(TypeError):
        hash(made.Count(1))
    assert hash(made.Own(1)) == 7
    assert hash(made.Hashed(1)) == 8
    assert made.Hashed(1) == made.Hashed(1)
    held = made.Held(1)
    assert hash(held) == hash(held)


def test_a_secret_field_is_not_shown(made: ModuleType) -> None:
    endpoint = made.Endpoint("db", secret="s3cret")
    assert repr(endpoint) == "Endpoint(host='db', port=22, note='', tags=())"
    assert repr(made.Named("db", name="mine")) == "mine"
    assert repr(made.Nothing()) == "Nothing()"


def test_the_functions_of_dataclasses_know_them(made: ModuleType) -> None:
    endpoint = made.Endpoint("db")
    assert dataclasses.replace(endpoint, port=5432) == made.Endpoint("db", 5432)
    assert [field.name for field in dataclasses.fields(made.Named)][-1] == "name"
    assert dataclasses.asdict(made.Other("db")) == {"host": "db", "port": 22}
    assert made.Endpoint.__match_args__ == ("host", "port", "note", "secret", "tags")


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))]
)
def test_copies_are_equal(made: ModuleType, again: Callable[[Any], Any]) -> None:
    for one in (made.Endpoint("db"), made.Named("db", name="mine"), made.Count(3), made.Nothing()):
        assert again(one) == one


def test_a_misspelt_attribute_is_an_error(made: ModuleType) -> None:
    with pytest.raises(AttributeError):
        made.Count().vlaue = 1


def test_no_compiled_module_uses_it() -> None:
    """mypyc knows the standard decorator alone, and would make slow classes of others."""
    files = [path for pattern in COMPILED for path in ROOT.glob(pattern)]
    assert len(files) > 20
    assert [path for path in files if "quick_dataclass" in path.read_text()] == []
