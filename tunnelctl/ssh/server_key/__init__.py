"""Verification of servers: known_hosts, pins, certificates, revocation.

Must never accept a key that nothing vouches for.
"""
