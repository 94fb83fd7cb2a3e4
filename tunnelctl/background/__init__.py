"""A supervisor inside another program: `tunnelctl.open` and `tunnelctl.sshtunnel` stand on it.

Must never touch the program's own loop, signals or logging, and never outlive its `close`.
"""
