"""tunnelctl: a manager for SSH tunnels and port forwards. Owns only the version."""

__version__ = "0.1.0"


def is_compiled() -> bool:
    """Whether the data path of this installation is compiled (hatch_build.py)."""
    # One shared library contains all of it; this module is the cheapest to load.
    from tunnelctl import clock

    return not clock.__file__.endswith(".py")
