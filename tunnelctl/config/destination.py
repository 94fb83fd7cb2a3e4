"""A host that no profile has: whatever `ssh DESTINATION` would reach.

For commands that name a server instead of a profile. Owns nothing but the way in.
"""

from __future__ import annotations

from collections.abc import Mapping

from tunnelctl.config.convert import Converter
from tunnelctl.config.document import Document
from tunnelctl.config.interpolate import Interpolator
from tunnelctl.config.mistakes import Mark, Mistakes
from tunnelctl.config.models import HostMap
from tunnelctl.config.routes import Place, Routes, Written
from tunnelctl.config.sshconfig import SshConfig
from tunnelctl.config.tree import Mapping as Tree
from tunnelctl.config.ways import parse_jump
from tunnelctl.errors import Code, Failure
from tunnelctl.spec.host import Host


def find_host(destination: str, environ: Mapping[str, str]) -> Host:
    """The host that `[user@]name[:port]`, `[user@][v6]:port` or an ssh:// URI stands for.

    Its `name` is the name alone; what is not written comes from ssh_config.

    Raises:
        Failure: USAGE, that is no destination; CONFIG_INVALID, its ssh_config cannot be used.
    """
    try:
        jump = parse_jump(destination)
    except ValueError as error:
        raise Failure(Code.USAGE, f"not a host: {error}") from None
    given = {"user": jump.user, "port": jump.port}
    model = HostMap.model_validate({k: value for k, value in given.items() if value is not None})
    mistakes = Mistakes()
    document = Document(Tree(Mark(destination)), mistakes)
    interpolator = Interpolator(environ)
    routes = Routes(
        [Written(jump.name, model, document, source=True)],
        Written("", HostMap(), document, source=True),
        Converter(interpolator),
        SshConfig(environ, interpolator.asked),
    )
    (host,) = routes.hosts({jump.name: Place(document, ())})
    if mistakes:
        first = mistakes.ordered(destination)[0]
        raise Failure(Code.CONFIG_INVALID, f"{destination}: {first.message}")
    return host
