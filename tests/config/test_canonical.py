"""What a profile comes to can be loaded again, anywhere, and is the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.config.conftest import Folder
from tests.config.sshconfigs import configure
from tunnelctl.config.profile.canonical import as_document, as_yaml
from tunnelctl.config.profile.load import load_profile

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
PIN = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"

EVERYTHING = f"""
description: "Two words, $$5 and a: colon"
defaults: {{connect_timeout: 1m30s, server_alive_interval: 500ms}}
hosts:
  web:
    user: ${{WHO}}
    port: 2222
    address_family: inet
    bind_address: 10.0.0.1
    identity_file: [~/k, ./k2]
    certificate_file: c
    preferred_authentications: password,publickey
    identities_only: false
    identity_agent: none
    password: {{env: PW}}
    passphrase: {{command: [pass, "a b", "$$x"]}}
    remember: true
    proxy_jump: [bob@gate:22, "[::1]:23", inner]
    host_key: {PIN}
    user_known_hosts_file: known
    global_known_hosts_file: [/known, none]
    known_hosts_command: [/bin/keys, "%H", "a b%%"]
    revoked_host_keys: ./krl
    host_key_alias: other
    strict_host_key_checking: accept-new
    session_type: auto
    server_alive_count_max: 1
    ciphers: -*-ctr
    kex_algorithms: ^ecdh-sha2-nistp256
    macs: hmac-sha2-512
    host_key_algorithms: ssh-ed25519
    rekey_limit: 1G
    lazy: true
    idle_timeout: 0.5s
    fallback: [spare, alias]
    reconnect: {{min: 1ms, max: 10d, stable_after: 1h, give_up_after: 1w}}
  gate: {{proxy: {{url: "socks5://[::2]:1", user: u, password: {{keyring: a/b}}}}}}
  inner: {{proxy_jump: gate}}
  spare: {{proxy_command: [nc, "%h", "%p"], fallback: [alias]}}
  alias: {{password: {{credential: x}}}}
  yes: {{}}
  "010": {{passphrase: {{file: pw}}}}
  server: {{embedded: true}}
forwards:
  a: {{local: "*:80", to: 81, via: web, expose: true, allow: [10.0.0.0/8, "::1"]}}
  b: {{remote: /run/x.sock, to: ./y.sock, via: gate, probe: none, inspect: http}}
  c: {{dynamic: 1080, via: gate, labels: {{team: "no", n: "010"}}, required: false}}
  d: {{remote_dynamic: "[::1]:0", via: inner, permit: ["10.0.0.0/8:443", "*.x.y:*", "fd00::/8:1"]}}
  e: {{local: 1, to: "db:5432", via: alias, max_connections: 3, probe: {{type: http, path: /a$$b}}}}
  f: {{local: 2, to: 3, via: "010", while_down: {{hold: 5m}}}}
  h: {{local: 4, to: 3, via: server, while_down: refuse, on_unhealthy: reconnect}}
  g: {{local: 3, to: 3, via: "yes", probe: {{type: command, command: ["true", "1"]}}}}
"""


def again(folder: Folder, text: str) -> None:
    """Load it, write what it comes to, and load that with another home and no variables."""
    profile = folder.load(text, {"WHO": "me"}).profile
    written = folder.write(as_yaml(profile), "again/dev.yaml")
    loaded = load_profile(written, {"HOME": "/nowhere"})
    assert loaded.profile.hosts == profile.hosts
    assert loaded.profile.forwards == profile.forwards
    assert loaded.profile.description == profile.description


def test_everything_that_can_be_said(folder: Folder) -> None:
    again(folder, EVERYTHING)


def test_what_came_from_ssh_config_is_said_too(folder: Folder) -> None:
    configure(folder, "Host *\n  Port 7\nHost web\n  ProxyJump gate,last\n  User 'me'\n")
    again(folder, "forwards:\n  f: {local: 1, to: 2, via: web}\n")


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: str(file.name))
def test_every_example(folder: Folder, file: Path) -> None:
    for each in CONFIGS:
        folder.write(each.read_bytes(), each.name)
    again(folder, file.read_text())


def test_a_hop_with_another_user_is_written_so(folder: Folder) -> None:
    text = (
        "hosts: {a: {proxy_jump: gate}, b: {proxy_jump: 'x@gate:7'}, c: {proxy_jump: g2}, "
        "gate: {user: y}, g2: {}, d: {proxy_jump: x@g2}}\n"
    )
    profile = folder.load(text).profile
    document = as_document(profile)
    assert {name: host.get("proxy_jump") for name, host in document["hosts"].items()} == {
        "a": ["gate"],
        "b": ["x@gate:7"],
        "c": ["g2"],
        "d": ["x@g2"],
        "gate": None,
        "g2": None,
    }
    again(folder, text)


def test_no_secret_is_in_it(folder: Folder) -> None:
    text = 'hosts: {b: {password: {env: PW}, passphrase: {command: [x, "$PW2"]}}}\n'
    profile = folder.load(text, {"PW": "hunter2", "PW2": "shown"}).profile
    written = as_yaml(profile)
    assert "hunter2" not in written
    assert yaml.safe_load(written)["hosts"]["b"]["password"] == {"env": "PW"}
