"""The fleet's file, `daemon --fleet FILE`: from YAML to frozen settings, or to all its mistakes.

Owns its keys and their bounds. Read as a profile is: same YAML, same variables, same checks of the
file, references to secrets only. Changes nothing on this machine. Blocking.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BeforeValidator

from tunnelctl.config.profile import kinds
from tunnelctl.config.profile.document import Document
from tunnelctl.config.profile.keys import Map, Secret
from tunnelctl.config.profile.sources import Sources
from tunnelctl.config.values import names, scalars
from tunnelctl.config.yaml.interpolate import Interpolator
from tunnelctl.config.yaml.mistakes import KeyPath, Mark, Mistakes, ProfileInvalid, shown
from tunnelctl.config.yaml.tree import Mapping as Tree
from tunnelctl.config.yaml.tree import settle
from tunnelctl.fleet import sentences
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.secret import SecretRef

_LEASE = 15.0  # seconds
# Below, a change of etcd's leader would often end a lease; above, nobody waits for a take-over.
_LEAST_LEASE, _LONGEST_LEASE = 5.0, 300.0
_MOST_ENDPOINTS = 15
_SCHEMES = ("http", "https")


class OnStoreLoss(StrEnum):
    """The action of a holder that can no longer prove that it is the only one."""

    STOP = "stop"  # never two holders
    KEEP = "keep"  # never none


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """How etcd is reached; `ca_file` and the others are absolute paths."""

    endpoints: tuple[str, ...]
    user: str | None = None
    password: SecretRef | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None


@dataclass(frozen=True, slots=True)
class FleetSettings:
    """The whole file. `lease` is in seconds. `evict`: a new holder ends the session that the last
    one still has on a server."""

    fleet: str
    machine: str
    etcd: StoreSettings
    lease: float = _LEASE
    on_store_loss: OnStoreLoss = OnStoreLoss.STOP
    evict: bool = False


def _endpoint(value: object) -> str:
    url = scalars.text(value)
    try:
        parts = urlsplit(url)
        is_whole = parts.scheme in _SCHEMES and parts.hostname and parts.port != 0
    except ValueError:
        is_whole = False
    beside = not is_whole or parts.path.strip("/") or parts.query or parts.username
    if beside:
        raise ValueError(sentences.not_an_endpoint(shown(url)))
    return url.rstrip("/")


def _endpoints(value: object) -> list[str]:
    listed = scalars.one_or_list(value)
    if len(listed) > _MOST_ENDPOINTS:
        raise ValueError(sentences.too_many_endpoints(_MOST_ENDPOINTS))
    return list(dict.fromkeys(map(_endpoint, listed)))


def _lease(value: object) -> float:
    seconds = scalars.duration(value)
    if not _LEAST_LEASE <= seconds <= _LONGEST_LEASE or seconds != int(seconds):
        raise ValueError(sentences.not_a_lease(_LEAST_LEASE, _LONGEST_LEASE, shown(value)))
    return seconds


def _on_store_loss(value: object) -> OnStoreLoss:
    try:
        return OnStoreLoss(scalars.text(value))
    except ValueError:
        raise ValueError(sentences.neither_stop_nor_keep(shown(value))) from None


_Name = Annotated[str, BeforeValidator(names.forward_name)]


class EtcdMap(Map):
    """How etcd is reached."""

    endpoints: Annotated[tuple[str, ...] | None, BeforeValidator(_endpoints)] = None
    user: kinds.Text | None = None
    password: Secret | None = None
    ca_file: kinds.FilePath | None = None
    cert_file: kinds.FilePath | None = None
    key_file: kinds.FilePath | None = None


class FleetMap(Map):
    """The top of the file."""

    version: kinds.Version | None = None
    fleet: _Name | None = None
    machine: _Name | None = None
    etcd: EtcdMap | None = None
    lease: Annotated[float, BeforeValidator(_lease)] = _LEASE
    on_store_loss: Annotated[OnStoreLoss, BeforeValidator(_on_store_loss)] = OnStoreLoss.STOP
    evict: kinds.Boolean = False


class _FleetDocument(Document):
    """Suggestions for unknown keys come from the keys of this file."""

    def _suggestion(self, path: KeyPath) -> str:
        keys = EtcdMap.model_fields if path[:-1] == ("etcd",) else FleetMap.model_fields
        return self._mistakes.suggestion(str(path[-1]), keys)


def load_fleet(path: Path, environ: Mapping[str, str]) -> FleetSettings:
    """Read the fleet's file. A missing `machine` is this machine's host name, as is `${HOSTNAME}`,
    which shells have and services do not.

    Raises:
        ProfileInvalid: with every mistake.
    """
    mistakes = Mistakes()
    interpolator = Interpolator({"HOSTNAME": os.uname().nodename, **environ})
    tree = Sources(interpolator, mistakes).read(str(path))
    settings = None if tree is None else _settings(tree, path, interpolator, mistakes)
    if mistakes or settings is None:
        raise ProfileInvalid(str(path), mistakes.first(str(path)), what="fleet")
    return settings


def _settings(
    tree: Tree, path: Path, interpolator: Interpolator, mistakes: Mistakes
) -> FleetSettings | None:
    def forgotten(where: KeyPath, key: Mark) -> bool:
        mistakes.add(key, where, sentences.no_value())
        return True

    settled = settle(tree, forgotten)
    assert isinstance(settled, Tree)
    document = _FleetDocument(settled, mistakes)
    model = document.validate(FleetMap)
    if model is None:
        return None
    _check(document, model)
    machine = model.machine or os.uname().nodename
    if mistakes or model.fleet is None or model.etcd is None:
        return None
    etcd = model.etcd

    def absolute(file: str | None) -> str | None:
        if file is None:
            return None
        return os.path.abspath(os.path.join(path.parent, interpolator.expand_user(file)))

    password = None if etcd.password is None else etcd.password.as_ref()
    store = StoreSettings(
        etcd.endpoints or (),
        etcd.user,
        password,
        absolute(etcd.ca_file),
        absolute(etcd.cert_file),
        absolute(etcd.key_file),
    )
    return FleetSettings(model.fleet, machine, store, model.lease, model.on_store_loss, model.evict)


def _check(document: Document, model: FleetMap) -> None:
    """The keys that a schema cannot require one by one."""
    if model.fleet is None:
        document.say((), sentences.fleet_missing())
    etcd = model.etcd
    if etcd is None or not etcd.endpoints:
        document.say(("etcd",), sentences.endpoints_missing())
        return
    if (etcd.user is None) is not (etcd.password is None):
        given = "user" if etcd.password is None else "password"
        document.say(("etcd", given), sentences.given_together("user", "password"))
    if (etcd.cert_file is None) is not (etcd.key_file is None):
        given = "cert_file" if etcd.key_file is None else "key_file"
        document.say(("etcd", given), sentences.given_together("cert_file", "key_file"))
    if etcd.ca_file and not any(url.startswith("https:") for url in etcd.endpoints):
        document.say(("etcd", "ca_file"), sentences.ca_file_unused())
