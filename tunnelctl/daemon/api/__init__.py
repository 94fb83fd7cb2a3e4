"""The control API over HTTP: its routes, who may connect, metrics.

Must never decide what is wanted: that is `daemon.wanted`.
"""
