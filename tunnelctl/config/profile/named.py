"""A host that is in no profile: `[user@]NAME[:PORT]` on the command line, as `ssh` takes it.

Owns the way from there to a host, with the settings of NAME in ssh_config. Changes nothing on this
machine.
"""

from __future__ import annotations

from collections.abc import Mapping

from tunnelctl.config import sentences
from tunnelctl.config.openssh.lookup import SshConfig
from tunnelctl.config.profile.convert import Converter
from tunnelctl.config.profile.document import Document
from tunnelctl.config.profile.keys import SSH_KEYWORDS, HostMap
from tunnelctl.config.profile.routes import PlaceInDocument, Routes, Via, Written
from tunnelctl.config.values.reach import parse_jump
from tunnelctl.config.yaml.interpolate import Interpolator
from tunnelctl.config.yaml.mistakes import Mark, Mistakes
from tunnelctl.config.yaml.tree import Mapping as Tree
from tunnelctl.spec.host import Host


def host_named(
    destination: str, environ: Mapping[str, str], *, ssh_config: bool | str = True
) -> Host:
    """The host of `[user@]NAME[:PORT]` (or `ssh://…`); its name is NAME.

    `ssh_config` is True for the user's and the system's files, False for none, or the path of one.

    Raises:
        Failure: config-invalid; the name cannot be one, or ssh_config cannot be honoured.
    """
    try:
        jump = parse_jump(destination)
    except ValueError as error:
        raise sentences.destination_invalid(destination, str(error)) from None
    mistakes = Mistakes()
    interpolator = Interpolator(environ)
    document = Document(Tree(Mark(jump.name)), mistakes)
    below = Written("", HostMap(), document, ssh_config)
    look_up = SshConfig(environ, interpolator.asked, SSH_KEYWORDS)
    carriers = [Via(jump, PlaceInDocument(document, ()))]
    hosts = Routes((), below, carriers, Converter(interpolator), look_up).hosts()
    if mistakes:
        first = mistakes.first(jump.name)[0]
        raise sentences.destination_invalid(jump.name, first.message)
    return hosts[0]
