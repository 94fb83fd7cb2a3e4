"""The JSON Schema of a profile, draft-07: what editors check and complete with.

Made by pydantic from the table of keys. What only the loader can know, it still says itself.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from tunnelctl.config.profile import kinds
from tunnelctl.config.profile.canonical import forward_map, host_map
from tunnelctl.config.profile.keys import ForwardMap, HostMap, Key, ProfileMap, Secret
from tunnelctl.config.profile.kinds import Fragment
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.spec.forward import Forward, Side
from tunnelctl.spec.host import Host

FILE_NAME = "tunnelctl.schema.json"
_DRAFT = "http://json-schema.org/draft-07/schema#"
# What the schema calls the maps that have a definition of their own.
_NAMES = {HostMap: "host", ForwardMap: "forward", Secret: "secret"}
_PLAIN_FORWARD = Forward("", Side.HERE, Endpoint(port=1), Endpoint(port=1), "")
_NO_DEFAULT = frozenset({"hostname", "local", "to", "via", "ssh_config", "identities_only"})


class _File(ProfileMap):
    """A file as it is written, before `extends` is followed."""

    extends: Annotated[
        kinds.Files | None, Key("Files that this one is laid over, relative to it.")
    ] = None


class _Generator(GenerateJsonSchema):
    """No titles; no default but those that are added below. A null takes away what another file or
    `defaults` says."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, schema: object) -> bool:
        return False


def json_schema() -> Fragment:
    """The whole schema."""
    whole = _File.model_json_schema(
        schema_generator=_Generator, ref_template="#/definitions/{model}"
    )
    maps = {name: _plain(fragment) for name, fragment in whole.pop("$defs").items()}
    maps[Secret.__name__]["description"] = "Where a secret is kept; it never stands in a profile."
    named = {model.__name__: name for model, name in _NAMES.items()}
    written = {**_plain(whole), "definitions": {named[name]: maps[name] for name in named}}
    schema: Fragment = {
        "$schema": _DRAFT,
        "title": "A profile of tunnelctl",
        **_inlined(written, maps, named),
        "patternProperties": {"^x-": {}},
    }
    _add_defaults(schema["definitions"]["host"], host_map(Host("", "")))
    _add_defaults(schema["definitions"]["forward"], forward_map(_PLAIN_FORWARD))
    return schema


def _plain(fragment: Fragment) -> Fragment:
    """Without the name and text of the Python class that it is made from."""
    return {key: value for key, value in fragment.items() if key not in ("title", "description")}


def _inlined(value: Any, maps: dict[str, Fragment], named: dict[str, str]) -> Any:
    """With each map at its place, but for those that are `named`, which are referred to."""
    if isinstance(value, list):
        return [_inlined(item, maps, named) for item in value]
    if not isinstance(value, dict):
        return value
    model = str(value.get("$ref", "")).rpartition("/")[2]
    if model in named:
        return {**value, "$ref": f"#/definitions/{named[model]}"}
    if model:
        return _inlined(maps[model], maps, named)
    return {key: _inlined(item, maps, named) for key, item in value.items()}


def _add_defaults(fragment: Fragment, values: dict[str, Any]) -> None:
    """What holds where a key is left out, for editors to show."""
    for key, value in values.items():
        if key not in _NO_DEFAULT and value:
            fragment["properties"][key]["default"] = value
