"""From checked maps to the frozen values of the spec: absolute paths, defaults.

Owns the base of a relative path: the file that contains it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from tunnelctl.config.profile.document import Document
from tunnelctl.config.profile.keys import (
    FORWARD_KEYS,
    HOST_KEYS,
    ForwardMap,
    HooksMap,
    HostMap,
    InSpec,
    Key,
    ProbeMap,
    ProxyMap,
    Secret,
)
from tunnelctl.config.values import endpoints
from tunnelctl.config.values.reach import NONE
from tunnelctl.config.yaml.interpolate import Interpolator
from tunnelctl.config.yaml.mistakes import KeyPath
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.spec.forward import Forward, Probe, ProbeType, Side, WhileDown
from tunnelctl.spec.host import Host, Proxy, Reconnect
from tunnelctl.spec.profile import Hooks
from tunnelctl.spec.secret import SecretRef, SecretSource


class Converter:
    """Makes hosts and forwards; `secret_variables` gets the names in `{env: NAME}`."""

    def __init__(self, interpolator: Interpolator) -> None:
        self.secret_variables: set[str] = set()
        self._interpolator = interpolator

    def host(
        self, name: str, model: HostMap, document: Document, open_fields: Mapping[str, Any]
    ) -> Host:
        """One host without the way to it; `document` knows the files of its paths.

        `open_fields` are values of the spec for missing keys.
        """
        fields = {"hostname": name, **open_fields, **_given(model, _kept(HOST_KEYS, InSpec.SAME))}
        if model.reconnect is not None:
            names = tuple(type(model.reconnect).model_fields)
            fields["reconnect"] = Reconnect(**_given(model.reconnect, names))
        for key in _kept(HOST_KEYS, InSpec.PATHS):
            files = getattr(model, key) or ()
            named = tuple(
                self._path((*document.path, key, index), file, document)
                for index, file in enumerate(files)
                if file.lower() != NONE
            )
            if files:
                fields[key] = named or HOST_KEYS[key].no_files
        for key in _kept(HOST_KEYS, InSpec.REFERENCE):
            fields[key] = self._secret((key,), getattr(model, key), document)
        agent = model.identity_agent
        if agent is not None and agent != NONE and not agent.startswith("$"):
            agent = self._path((*document.path, "identity_agent"), agent, document)
        # Keys whose value in the spec may be None.
        stated = {"identity_agent": agent, "rekey_limit": model.rekey_limit}
        fields.update({key: stated[key] for key in stated if key in model.model_fields_set})
        names_key = any(file.lower() != NONE for file in model.identity_file or ())
        if model.identities_only is not None or names_key:
            fields["identities_only"] = model.identities_only is not False
        return Host(name=name, **fields)

    def ssh_config(self, model: HostMap, document: Document) -> bool | str:
        """The ssh_config that a host is looked up in: True for the usual files, or a path."""
        if not isinstance(model.ssh_config, str):
            return model.ssh_config is not False
        return self._path((*document.path, "ssh_config"), model.ssh_config, document)

    def proxy(self, model: ProxyMap | None, document: Document) -> Proxy | None:
        """The proxy of the host in `document`, or None."""
        if model is None or model.url is None:
            return None
        address = model.url
        password = self._secret(("proxy", "password"), model.password, document)
        return Proxy(address.kind, address.hostname, address.port, model.user, password)

    def forward(self, name: str, model: ForwardMap, document: Document) -> Forward:
        """One forward, from a map that passed every check; `document`, the whole profile, knows the
        files of its paths. Paths on a server are not changed."""
        here = model.local or model.dynamic
        listen = here or model.remote or model.remote_dynamic
        assert listen is not None
        target = model.to
        if here is not None:
            key = "local" if model.local is not None else "dynamic"
            listen = self._socket(("forwards", name, key), here, document)
        elif target is not None:
            target = self._socket(("forwards", name, "to"), target, document)
        assert model.via is not None
        fields = _given(model, _kept(FORWARD_KEYS, InSpec.SAME))
        if model.while_down is not None and model.while_down.hold is not None:
            fields["while_down"] = WhileDown(model.while_down.hold)
        fields["probe"] = _probe(model.probe, fixed=target is not None)
        return Forward(
            name=name,
            side=Side.THERE if here is None else Side.HERE,
            listen=listen,
            target=target,
            via=model.via.name,
            labels=tuple((model.labels or {}).items()),
            **fields,
        )

    def hooks(self, model: HooksMap | None, document: Document) -> Hooks:
        """The programs for changes of state. A program with a slash is a path."""

        def program(name: str, words: tuple[str, ...]) -> tuple[str, ...]:
            first, *rest = words
            if "/" in first:
                first = self._path(("hooks", name, 0), first, document)
            return (first, *rest)

        given = _given(model, ("on_up", "on_down", "on_failed")) if model else {}
        return Hooks(**{name: program(name, words) for name, words in given.items()})

    def _secret(self, key: KeyPath, secret: Secret | None, document: Document) -> SecretRef | None:
        if secret is None:
            return None
        reference = secret.as_ref()
        if reference.source is SecretSource.ENV:
            self.secret_variables.update(reference.value)
        elif reference.source is SecretSource.FILE:
            path = (*document.path, *key, "file")
            absolute = self._path(path, reference.value[0], document)
            return SecretRef(SecretSource.FILE, (absolute,))
        return reference

    def _socket(self, path: KeyPath, endpoint: Endpoint, document: Document) -> Endpoint:
        if not endpoint.is_unix:
            return endpoint
        absolute = Endpoint(path=self._path(path, endpoint.path, document))
        try:
            return endpoints.fits(absolute)
        except ValueError as error:
            document.say(path, str(error))
            return absolute

    def _path(self, path: KeyPath, text: str, document: Document) -> str:
        try:
            expanded = self._interpolator.expand_user(text)
        except ValueError as error:
            document.say(path, str(error))
            return text
        folder = os.path.dirname(os.path.abspath(document.file_of(path)))
        return os.path.normpath(os.path.join(folder, expanded))


def _probe(model: ProbeMap | None, *, fixed: bool) -> Probe:
    """A fixed target is probed, unless the profile says otherwise."""
    default = ProbeType.TCP if fixed else ProbeType.NONE
    if model is None:
        return Probe(default, unasked=True)
    return Probe(**{"type": default, **_given(model, tuple(type(model).model_fields))})


def _kept(keys: Mapping[str, Key], how: InSpec) -> tuple[str, ...]:
    """The keys that are converted to the spec in this way."""
    return tuple(name for name, key in keys.items() if key.in_spec is how)


def _given(model: object, names: tuple[str, ...]) -> dict[str, Any]:
    """The values in the profile, by name."""
    values = {name: getattr(model, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}
