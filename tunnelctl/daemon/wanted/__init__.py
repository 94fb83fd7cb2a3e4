"""The profiles that are wanted up, their holders and files, and the list that outlives the daemon.

Must never speak HTTP.
"""
