"""A supervisor inside another program: `tunnelctl.open` and `tunnelctl.sshtunnel` stand on it."""
