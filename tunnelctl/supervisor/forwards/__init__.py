"""The forwards of a tunnel: when each is opened, closed and probed."""
