"""The JSON Schema says what the loader says, as far as one file can tell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.config.conftest import Folder
from tests.config.test_canonical import CONFIGS, EVERYTHING
from tunnelctl.config.profile import schema
from tunnelctl.config.profile.canonical import as_document
from tunnelctl.config.profile.template import new_profile

SCHEMA = schema.json_schema()
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)


def accepts(profile: Any) -> bool:
    """Whether the schema has nothing to say against it."""
    return VALIDATOR.is_valid(profile)


def test_it_is_a_schema_of_draft_07() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "http://json-schema.org/draft-07/schema#"


def test_it_says_what_every_key_is() -> None:
    def maps(fragment: Any) -> Iterator[dict[str, Any]]:
        if isinstance(fragment, dict):
            if "properties" in fragment:
                yield fragment["properties"]
            for value in fragment.values():
                yield from maps(value)
        elif isinstance(fragment, list):
            for value in fragment:
                yield from maps(value)

    found = list(maps(SCHEMA))
    assert len(found) >= len(("file", "host", "forward", "secret", "proxy", "probe", "hooks"))
    for properties in found:
        assert all(key["description"] for key in properties.values())


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: str(file.name))
def test_every_example_is_valid(file: Path) -> None:
    VALIDATOR.validate(yaml.safe_load(file.read_text()))


def test_a_new_profile_is_valid() -> None:
    for host in (None, "web"):
        VALIDATOR.validate(yaml.safe_load(new_profile("x", host)))


def test_all_that_can_be_said_is_valid(folder: Folder) -> None:
    VALIDATOR.validate(as_document(folder.load(EVERYTHING, {"WHO": "me"}).profile))


@pytest.mark.parametrize(
    ("host", "valid"),
    [
        ({"port": "${PORT}"}, True),
        ({"port": None}, True),
        ({"port": 0}, False),
        ({"prot": 22}, False),
        ({"connect_timeout": "15s"}, True),
        ({"connect_timeout": 15}, True),
        ({"connect_timeout": "soon"}, False),
        ({"password": "x"}, False),
        ({"password": {"env": "X", "file": "y"}}, False),
        ({"strict_host_key_checking": "no"}, False),
        ({"proxy": {"user": "x"}}, False),
        ({"proxy_command": "nc x"}, False),
        ({"reconnect": {"max": "1m"}}, True),
        ({"reconnect": {"mux": "1m"}}, False),
    ],
)
def test_a_host(host: dict[str, Any], valid: bool) -> None:
    assert accepts({"hosts": {"b": host}}) is valid
    assert accepts({"defaults": host}) is valid


@pytest.mark.parametrize(
    ("forward", "valid"),
    [
        ({"local": 1, "to": 2, "via": "b"}, True),
        ({"local": "${PORT:-80}", "to": "x:http", "via": "b"}, True),
        ({"local": 1, "remote": 2, "to": 2, "via": "b"}, False),
        ({"local": 70000}, False),
        ({"probe": "none"}, True),
        ({"probe": "icmp"}, False),
        ({"probe": {"type": "http", "path": "x"}}, False),
        ({"while_down": "refuse"}, True),
        ({"while_down": "wait"}, False),
        ({"labels": {"a": 1}}, False),
        ({"inspect": "http"}, True),
        ({"inspect": True}, False),
    ],
)
def test_a_forward(forward: dict[str, Any], valid: bool) -> None:
    assert accepts({"forwards": {"f": forward}}) is valid


def test_the_profile_itself() -> None:
    assert accepts({"x-mine": [1], "version": 1, "extends": ["base.yaml"]})
    assert not accepts({"version": 2})
    assert not accepts({"hots": {}})


def test_an_editor_can_show_what_holds_by_default() -> None:
    host = SCHEMA["definitions"]["host"]["properties"]
    assert host["connect_timeout"]["default"] == "15s"
    assert host["strict_host_key_checking"]["default"] == "yes"
    assert "default" not in host["password"]
