"""The profile that `tunnelctl init` writes: it works as it is, and says what to change."""

from __future__ import annotations

from tunnelctl.config.profile.schema import FILE_NAME

SCHEMA_LINE = f"# yaml-language-server: $schema=./{FILE_NAME}\n"
_TEMPLATE = """\
#
#   tunnelctl check {name}      says what is wrong in this file, with line and column
#   tunnelctl up {name}         brings it up and stays; Ctrl-C takes it down again
#   tunnelctl ps{pad}          shows each forward and how it is
#
# Every key is explained by `tunnelctl schema`, and by an editor that reads the first line.
version: 1
description: Made by tunnelctl init

# What every host below has that does not say otherwise.
# defaults:
#   server_alive_interval: 15s

# The servers to connect to, in the words of ssh_config(5). What a host leaves open comes from
# ~/.ssh/config, so a name that works with `ssh NAME` works here, and in `via` without an entry.
hosts:
{host}
# Each forward has one side that listens (local: here, remote: on the server), and leads `to` an
# address that the other side connects to. Only loopback listens, unless `expose: true` is said.
forwards:
  # A client of 127.0.0.1:{port} on this machine reaches {target} as the server sees it.
  web:
    local: {port}
    to: "{target}"
    via: {via}

  # A client of port {remote} on the server reaches 127.0.0.1:{port} on this machine.
  # back:
  #   remote: {remote}
  #   to: "127.0.0.1:{port}"
  #   via: {via}

  # SOCKS: its clients say what the server connects them to.
  # socks:
  #   dynamic: 1080
  #   via: {via}
"""
_EMBEDDED = """\
  server:
    embedded: true        # an SSH server in this process, to try it out; it knows `hello` alone
    # For a real one, in the place of the line above:
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
    """The text of a profile called `name`, on the server `host` or on one of our own."""
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
