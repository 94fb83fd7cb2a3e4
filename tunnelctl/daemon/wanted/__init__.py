"""Which profiles are wanted up, by whom, from which files, and how that survives the daemon.

Must never speak HTTP.
"""
