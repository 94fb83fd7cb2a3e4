"""Decides the next step of each tunnel, without sockets, threads or clocks; time is an argument.

Must never do it: a decision is a value, which a layer above carries out.
"""
