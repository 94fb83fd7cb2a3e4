"""tunnelctl: a manager for SSH tunnels and port forwards. Owns nothing but the version."""

__version__ = "0.1.0"
