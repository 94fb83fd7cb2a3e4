"""tunnelctl: a manager for SSH tunnels and port forwards.

Owns the version, and the names of the public API (docs/python.md), which are imported when they are
used first: `tunnelctl ps` needs none of them.
"""

TYPE_CHECKING = False  # as in typing, whose import takes longer than all of this
if TYPE_CHECKING:
    from tunnelctl.api.daemon import Daemon, Events, connect_daemon
    from tunnelctl.api.tunnels import Address, Tunnels, open, open_async
    from tunnelctl.errors import Failure
    from tunnelctl.state.documents.json_types import (
        ConnectionDocument,
        ConnectionsDocument,
        EventDocument,
        ForwardDocument,
        HostDocument,
        LogLineDocument,
        ProfileDocument,
        ReloadDocument,
        StatusDocument,
        VersionDocument,
    )

__version__ = "0.1.0"

__all__ = [
    "Address",
    "ConnectionDocument",
    "ConnectionsDocument",
    "Daemon",
    "EventDocument",
    "Events",
    "Failure",
    "ForwardDocument",
    "HostDocument",
    "LogLineDocument",
    "ProfileDocument",
    "ReloadDocument",
    "StatusDocument",
    "Tunnels",
    "VersionDocument",
    "__version__",
    "connect_daemon",
    "open",
    "open_async",
]

_MODULES = {
    "tunnelctl.api.daemon": ("Daemon", "Events", "connect_daemon"),
    "tunnelctl.api.tunnels": ("Address", "Tunnels", "open", "open_async"),
    "tunnelctl.errors": ("Failure",),
}


if not TYPE_CHECKING:  # for a type checker every other name is a mistake

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib

        homes = (module for module, names in _MODULES.items() if name in names)
        home = importlib.import_module(next(homes, "tunnelctl.state.documents.json_types"))
        value = globals()[name] = getattr(home, name)  # found directly from now on
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def is_compiled() -> bool:
    """Whether the data path of this installation is compiled (hatch_build.py)."""
    # One shared library contains all of it; this module is the cheapest to load.
    from tunnelctl import clock

    return not clock.__file__.endswith(".py")
