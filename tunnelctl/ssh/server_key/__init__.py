"""Whether a server is the one that is meant: known_hosts, pins, certificates, revocation.

Must never accept a key that nothing vouches for.
"""
