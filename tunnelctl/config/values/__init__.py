"""The values of a profile: durations, endpoints, algorithms, forward specs.

Each function takes a value from YAML and returns the checked one, or raises ValueError. Must never
read a file.
"""
