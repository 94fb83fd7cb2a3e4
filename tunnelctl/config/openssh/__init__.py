"""The settings of ssh_config(5) for a name, from `ssh -G` or from a reader of our own.

Must never change anything on this machine.
"""
