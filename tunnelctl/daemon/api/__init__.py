"""The control API over HTTP: its routes, its clients, metrics.

Must never decide which profiles are wanted: `daemon.wanted` does.
"""
