"""The embedded SSH server, for demos, first steps and tests. It listens on loopback alone."""
