"""The one process per user: the control API, what is wanted, the log, and the service manager.

Must never decide anything about a tunnel: the supervisor does.
"""
