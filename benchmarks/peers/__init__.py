"""The programs that are compared: one module a family, each started as its users start it.

A peer opens local forwards and nothing else. Must never be tuned beyond what its name says.
"""
