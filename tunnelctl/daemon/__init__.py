"""The one process per user: the control API, the wanted profiles, the log, the service manager.

Must never decide anything about a tunnel: the supervisor does.
"""
