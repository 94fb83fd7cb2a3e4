"""Shared by all commands at the terminal: output, questions to a person, the table of forwards.

Must never talk to the daemon.
"""
