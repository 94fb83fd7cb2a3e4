"""The agent and the shell of whoever asks, which are looked up when they are used."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.conftest import Folder
from tests.config.sshconfigs import WAYS, configure
from tunnelctl.config.exchange.to_ssh import as_blocks
from tunnelctl.config.profile.canonical import as_yaml
from tunnelctl.spec.environment import Environment
from tunnelctl.spec.host import USERS_SHELL
from tunnelctl.ssh.keys.agent import agent_path


@pytest.mark.parametrize("environ", WAYS)
def test_an_agent_of_a_variable_is_looked_up_when_it_is_asked(
    folder: Folder, environ: dict[str, str]
) -> None:
    """Another session makes no other host; ssh goes without an agent where it is not set."""
    configure(folder, "Host b\n  IdentityAgent $MY_AGENT\n")
    one = folder.host("", environ)
    assert one == folder.host("", {**environ, "MY_AGENT": "/run/agent"})
    assert agent_path(one, Environment()) is None
    assert agent_path(one, Environment({"MY_AGENT": "/run/agent"})) == Path("/run/agent")


@pytest.mark.parametrize("written", ["SSH_AUTH_SOCK", "$$SSH_AUTH_SOCK", "${SSH_AUTH_SOCK}", "$$A"])
def test_the_forms_of_an_agent_in_a_profile(folder: Folder, written: str) -> None:
    variables = {"SSH_AUTH_SOCK": "/run/agent", "A": "/run/agent"}
    profile = folder.load(f"hosts: {{b: {{identity_agent: '{written}'}}}}\n", variables).profile
    (host,) = profile.hosts
    assert agent_path(host, Environment(variables)) == Path("/run/agent")
    assert folder.load(as_yaml(profile), variables).profile.hosts == (host,)


def test_what_is_no_variable_is_refused(folder: Folder) -> None:
    (mistake,) = folder.mistakes("hosts: {b: {identity_agent: $$no-name}}\n")
    assert "no-name' is not the name of an environment variable" in mistake


def test_a_line_for_a_shell_there_and_back(folder: Folder) -> None:
    """From ssh_config to a host, to a profile, and to ssh_config again."""
    line = "nc -x $PROXY %h %p 2> >(logger)"
    configure(folder, f"Host b\n  ProxyCommand {line}\n")
    profile = folder.load("hosts: {b: {}}\nforwards: {f: {local: 1, to: 2, via: b}}\n").profile
    (host,) = profile.hosts
    assert host.proxy_command == (USERS_SHELL, "-c", f"exec {line}")
    assert folder.load(as_yaml(profile)).profile.hosts == (host,)
    assert f"    ProxyCommand {line}" in as_blocks(profile).lines
