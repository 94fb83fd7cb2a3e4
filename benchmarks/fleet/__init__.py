"""A fleet under random faults: never two holders, tokens that only grow, and how long the gaps are.

Real etcd members, a real sshd, and a daemon for each machine (tests/support/fleet.py).
"""
