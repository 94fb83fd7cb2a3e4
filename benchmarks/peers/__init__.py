"""The programs that are compared: one module for each family, started as its users start it.

A peer opens local forwards only. Must never be tuned beyond what its name says.
"""
