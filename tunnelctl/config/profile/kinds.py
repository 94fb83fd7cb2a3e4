"""The kinds of value of a key: the check of each, and its fragment of the JSON Schema.

Owns the bounds of numbers, for both the check and the schema. Editors read a file before variables
are replaced, so the schema accepts a string with a `$` for every value.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainValidator,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, core_schema

from tunnelctl.config.values import algorithms, choices, endpoints, names, reach, scalars
from tunnelctl.config.values.reach import Jump, ProxyAddress
from tunnelctl.config.yaml.mistakes import shown
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.spec.forward import Inspect, OnUnhealthy, ProbeType
from tunnelctl.spec.host import AUTHENTICATIONS, AddressFamily, SessionType, StrictHostKeyChecking
from tunnelctl.spec.permit import Permit

Fragment = dict[str, Any]

VARIABLE: Fragment = {"type": "string", "pattern": r"\$"}
TEXT: Fragment = {"type": "string", "minLength": 1}
WORDS: Fragment = {"type": "array", "items": TEXT, "minItems": 1}
_LIST: Fragment = {"anyOf": [TEXT, WORDS]}
_PROGRAM: Fragment = {"anyOf": [{"const": reach.NONE}, WORDS]}
_ENDPOINT: Fragment = {"anyOf": [TEXT, {"type": "integer", "minimum": 0, "maximum": 65535}]}
_BOOLEAN: Fragment = {"anyOf": [{"type": "boolean"}, VARIABLE]}
_DURATION: Fragment = {
    "anyOf": [
        {"type": "integer", "minimum": 0},
        {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(ms|[smhdw]))+$"},
        VARIABLE,
    ]
}


# The description of a list of algorithms, before the supported names.
IN_ORDER = "in order, in ssh_config's syntax with + - ^. Supported:"


def choice(values: Iterable[str]) -> Fragment:
    """One of these values."""
    return {"anyOf": [{"enum": [str(value) for value in values]}, VARIABLE]}


@dataclass(frozen=True, slots=True)
class Between:
    """A whole number from `low` to `high`."""

    low: int
    high: int

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            lambda value: scalars.whole_number(value, self.low, self.high), handler(source)
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> Fragment:
        number = {"type": "integer", "minimum": self.low, "maximum": self.high}
        return {"anyOf": [number, VARIABLE]}


@dataclass(frozen=True, slots=True)
class Offered:
    """Supported algorithms in the syntax of ssh_config(5)."""

    kind: algorithms.Kind

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            lambda value: algorithms.resolve_list(self.kind, choices.algorithms(value)),
            handler(source),
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> Fragment:
        return _LIST


def _version(value: object) -> int:
    value = scalars.typed(value)
    if isinstance(value, bool) or value != 1 or not isinstance(value, int):
        raise ValueError(f"must be 1, not {shown(value)}")
    return 1


Version = Annotated[int, BeforeValidator(_version), WithJsonSchema({"const": 1})]
Text = Annotated[str, BeforeValidator(scalars.text), WithJsonSchema(TEXT)]
Prose = Annotated[str, BeforeValidator(scalars.prose), WithJsonSchema({"type": "string"})]
Boolean = Annotated[bool, BeforeValidator(scalars.boolean), WithJsonSchema(_BOOLEAN)]
Off = Annotated[bool, BeforeValidator(scalars.no_compression), WithJsonSchema(_BOOLEAN)]
Duration = Annotated[float, BeforeValidator(scalars.duration), WithJsonSchema(_DURATION)]
DurationOrZero = Annotated[float, BeforeValidator(scalars.hold), WithJsonSchema(_DURATION)]
DurationOrNever = Annotated[
    float | None,
    BeforeValidator(scalars.duration_or_never),
    WithJsonSchema({"anyOf": [{"const": "never"}, _DURATION]}),
]
RekeyLimit = Annotated[
    int | None,
    BeforeValidator(scalars.rekey_limit),
    WithJsonSchema({"anyOf": [TEXT, {"type": "integer", "minimum": scalars.LEAST_REKEY_LIMIT}]}),
]

HostName = Annotated[str, BeforeValidator(names.host_name), WithJsonSchema(TEXT)]
Address = Annotated[str, BeforeValidator(names.address), WithJsonSchema(TEXT)]
UserName = Annotated[str, BeforeValidator(names.user_name), WithJsonSchema(TEXT)]
HostKeyAlias = Annotated[str, BeforeValidator(names.host_key_alias), WithJsonSchema(TEXT)]
ForwardName = Annotated[str, BeforeValidator(names.forward_name), WithJsonSchema(TEXT)]
Names = Annotated[tuple[HostName, ...], BeforeValidator(reach.host_names), WithJsonSchema(_LIST)]
Hop = Annotated[Jump, PlainValidator(reach.parse_jump), WithJsonSchema(TEXT)]
Hops = Annotated[tuple[Hop, ...], BeforeValidator(reach.jumps), WithJsonSchema(_LIST)]
ProxyUrl = Annotated[ProxyAddress, PlainValidator(reach.proxy_url), WithJsonSchema(TEXT)]

FilePath = Annotated[str, BeforeValidator(names.file_path), WithJsonSchema(TEXT)]
# `none` among them means no file (Key.no_files).
Files = Annotated[tuple[Text, ...], BeforeValidator(scalars.one_or_list), WithJsonSchema(_LIST)]
Agent = Annotated[str | None, BeforeValidator(names.identity_agent), WithJsonSchema(TEXT)]
SshConfig = Annotated[
    bool | str,
    BeforeValidator(names.ssh_config),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, TEXT]}),
]
Argv = Annotated[tuple[str, ...], BeforeValidator(scalars.argv), WithJsonSchema(WORDS)]
ProxyCommand = Annotated[
    tuple[str, ...], BeforeValidator(reach.proxy_command), WithJsonSchema(_PROGRAM)
]
KnownHostsCommand = Annotated[
    tuple[str, ...], BeforeValidator(reach.known_hosts_command), WithJsonSchema(_PROGRAM)
]
Variable = Annotated[str, BeforeValidator(names.variable), WithJsonSchema(TEXT)]
Keyring = Annotated[str, BeforeValidator(names.keyring), WithJsonSchema(TEXT)]
Credential = Annotated[str, BeforeValidator(names.credential), WithJsonSchema(TEXT)]
Pin = Annotated[str, BeforeValidator(names.pin)]
Pins = Annotated[tuple[Pin, ...], BeforeValidator(scalars.one_or_list), WithJsonSchema(_LIST)]

Family = Annotated[
    AddressFamily, BeforeValidator(choices.address_family), WithJsonSchema(choice(AddressFamily))
]
Authentications = Annotated[
    tuple[str, ...],
    BeforeValidator(choices.preferred_authentications),
    WithJsonSchema(
        {"anyOf": [TEXT, {"type": "array", "items": choice(AUTHENTICATIONS), "minItems": 1}]}
    ),
]
HostKeyChecking = Annotated[
    StrictHostKeyChecking,
    BeforeValidator(choices.strict_host_key_checking),
    WithJsonSchema(choice(StrictHostKeyChecking)),
]
Session = Annotated[
    SessionType, BeforeValidator(choices.session_type), WithJsonSchema(choice(SessionType))
]

LocalListener = Annotated[
    Endpoint, BeforeValidator(endpoints.local_listener), WithJsonSchema(_ENDPOINT)
]
RemoteListener = Annotated[
    Endpoint, BeforeValidator(endpoints.remote_listener), WithJsonSchema(_ENDPOINT)
]
RemotePort = Annotated[Endpoint, BeforeValidator(endpoints.remote_port), WithJsonSchema(_ENDPOINT)]
Target = Annotated[Endpoint, BeforeValidator(endpoints.target), WithJsonSchema(_ENDPOINT)]
Probing = Annotated[
    ProbeType, BeforeValidator(choices.probe_type), WithJsonSchema(choice(ProbeType))
]
UrlPath = Annotated[
    str,
    BeforeValidator(names.url_path),
    WithJsonSchema({"type": "string", "pattern": r"^/|\$"}),
]
WhenUnhealthy = Annotated[
    OnUnhealthy, BeforeValidator(choices.on_unhealthy), WithJsonSchema(choice(OnUnhealthy))
]
Inspecting = Annotated[Inspect, BeforeValidator(choices.inspect), WithJsonSchema(choice(Inspect))]
Network = Annotated[IPv4Network | IPv6Network, PlainValidator(endpoints.network)]
Networks = Annotated[
    tuple[Network, ...], BeforeValidator(scalars.one_or_list), WithJsonSchema(_LIST)
]
Permits = Annotated[
    tuple[Annotated[Permit, PlainValidator(endpoints.permit)], ...],
    BeforeValidator(scalars.one_or_list),
    WithJsonSchema(_LIST),
]
Labels = Annotated[
    dict[Text, Text], WithJsonSchema({"type": "object", "additionalProperties": TEXT})
]
