"""The inspector: what it shows, what it must not keep, and that no byte changes."""
