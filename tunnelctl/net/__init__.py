"""Sockets without SSH: readiness, buffers, addresses.

Must never know what the bytes mean, or to which profile they belong.
"""
