"""Real counterparts for tests: sshd, services, a proxy that misbehaves, and ways to wait."""
