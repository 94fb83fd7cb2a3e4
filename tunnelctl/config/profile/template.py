"""The profile that `tunnelctl init` writes: it works unchanged, and its comments explain it."""

from __future__ import annotations

from tunnelctl.config.profile.schema import FILE_NAME

SCHEMA_LINE = f"# yaml-language-server: $schema=./{FILE_NAME}\n"
_TEMPLATE = """\
#
#   tunnelctl check {name}      reports mistakes in this file with line and column
#   tunnelctl up {name}         brings it up; Ctrl-C takes it down
#   tunnelctl ps{pad}          shows the status of each forward
#
# `tunnelctl schema` describes every key; editors that read the first line show it.
version: 1
description: Created by tunnelctl init

# Defaults for every host.
# defaults:
#   server_alive_interval: 15s

# The servers to connect to, with the keywords of ssh_config(5). Missing keys come from
# ~/.ssh/config: a name that works with `ssh NAME` works here, and in `via` without an entry.
hosts:
{host}
# Each forward listens on one side (local: here, remote: on the server); the other side connects to
# the address in `to`. Listeners bind to loopback, unless the forward has `expose: true`.
forwards:
  # Clients of 127.0.0.1:{port} here reach {target}, as seen by the server.
  web:
    local: {port}
    to: "{target}"
    via: {via}

  # Clients of port {remote} on the server reach 127.0.0.1:{port} here.
  # back:
  #   remote: {remote}
  #   to: "127.0.0.1:{port}"
  #   via: {via}

  # A SOCKS proxy here; the server resolves names and connects.
  # socks:
  #   dynamic: 1080
  #   via: {via}
"""
_EMBEDDED = """\
  server:
    embedded: true        # an SSH server in the daemon, for a first try; it knows only `hello`
    # For a real server, replace the line above with:
    # hostname: server.example.com
    # user: alice
    # identity_file: ~/.ssh/id_ed25519
"""
_REAL = """\
  {host}: {{}}
    # hostname: server.example.com
    # user: alice
    # identity_file: ~/.ssh/id_ed25519
    # proxy_jump: [gateway]
"""
_PORT = 62890


def new_profile(name: str, host: str | None = None) -> str:
    """The text of a profile called `name`, for the server `host` or the built-in one."""
    stanza = _EMBEDDED if host is None else _REAL.format(host=host)
    return SCHEMA_LINE + _TEMPLATE.format(
        name=name,
        pad=" " * len(name),
        host=stanza,
        port=_PORT,
        remote=_PORT + 1,
        target="hello:80" if host is None else "127.0.0.1:80",
        via=host or "server",
    )
