"""One value of a profile at a time: durations, endpoints, algorithms, forward specs.

Each function takes what YAML gives and returns the checked value, or raises ValueError. Must never
read a file.
"""
