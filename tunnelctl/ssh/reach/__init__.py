"""The way to a host: TCP, a proxy, a program, or a channel through another host.

Must never start an attempt that its caller cannot stop.
"""
