"""What was exported and imported again forwards the same; nothing is lost."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.config.importing import (
    BASTION,
    HOPS,
    USERS,
    meaning,
    of_command,
    profile,
    profile_of,
    rule,
)
from tunnelctl.config.exchange.from_ssh_config import import_ssh_config
from tunnelctl.config.exchange.to_ssh import as_blocks, as_commands
from tunnelctl.config.profile.load import load_profile
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.spec.forward import Forward, Side
from tunnelctl.spec.host import Host

_names = st.sampled_from(["db", "10.0.0.7", "localhost", "::1", "web.example.com"])
_ports = st.integers(1, 65535)
_paths = st.sampled_from(["/tmp/a.sock", "/run/b%h.sock", "/run/c"])
_ends = st.builds(Endpoint, _names, _ports) | _paths.map(lambda path: Endpoint(path=path))
_listens = st.builds(Endpoint, st.sampled_from(["127.0.0.1", "::1", "*", "10.1.1.1"]), _ports)
_plain = st.builds(
    lambda side, listen, target: rule(
        side=side, listen=listen, target=target, expose=not listen.is_loopback
    ),
    st.sampled_from(Side),
    _listens | _paths.map(lambda path: Endpoint(path=path)),
    _ends,
)
_socks = _listens.map(lambda at: rule(listen=at, target=None, expose=not at.is_loopback))
_rules = st.lists(_plain | _socks, min_size=1, max_size=5, unique_by=lambda r: r.listen.port)
_hosts = st.builds(
    lambda host, port, user, keys, hops: replace(
        BASTION, hostname=host, port=port, user=user, identity_file=keys, proxy_jump=hops
    ),
    st.sampled_from(["bastion.example.com", "10.0.0.1", "2001:db8::1"]),
    _ports,
    st.sampled_from([None, "alice", "svc+x", *USERS]),
    st.sampled_from([(), ("/k/a",), ("/k/a key", "/k/50%")]),
    st.sampled_from([(), HOPS[:1], HOPS]),
)


@given(_rules, _hosts)
def test_what_was_exported_and_imported_forwards_the_same(rules: list[Forward], host: Host) -> None:
    named = [replace(one, name=f"f{number}") for number, one in enumerate(rules)]
    wanted = profile(*named, host=host)
    imported = of_command(*as_commands(wanted).lines)
    assert imported.notes == []
    assert meaning(profile_of(imported)) == meaning(wanted)


@given(_rules, _hosts)
def test_a_block_that_was_exported_and_imported_forwards_the_same(
    rules: list[Forward], host: Host
) -> None:
    named = [replace(one, name=f"f{number}") for number, one in enumerate(rules)]
    wanted = profile(*named, host=host)
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config"
        config.write_text("\n".join(as_blocks(wanted).lines))
        config.chmod(0o600)
        environ = {"HOME": folder, "PATH": "/nonexistent"}
        imported = import_ssh_config(("bastion",), environ, file=str(config))
        assert imported.notes == []
        path = Path(folder) / "imported.yaml"
        path.write_text(imported.yaml("A test"))
        assert meaning(load_profile(path, environ).profile) == meaning(wanted)
