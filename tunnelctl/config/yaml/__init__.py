"""From YAML text to values that know their place in the file.

Owns the syntax, variables, and the form of a mistake. Must never know a key of a profile.
"""
