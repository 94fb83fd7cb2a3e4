"""YAML text to values that know their place in the file.

Owns the syntax, variables, and how a mistake is written. Must never know a key of a profile.
"""
