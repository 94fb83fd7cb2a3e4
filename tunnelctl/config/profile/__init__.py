"""A profile: its keys, and the way from its files to the frozen values of the spec.

Must never connect to anything.
"""
