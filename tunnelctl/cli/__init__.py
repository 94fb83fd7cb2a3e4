"""The command line: one module for each command, imported when it is called.

Must never decide anything about a tunnel: it asks the daemon and shows the answer.
"""
