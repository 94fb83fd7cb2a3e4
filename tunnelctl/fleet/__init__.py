"""Several machines, each profile run by exactly one: leases in etcd (docs/fleet.md).

Owns the fleet's file, the conversation with etcd and the lease of this daemon. Decides nothing:
`state/election.py` does. Must never serve past the deadline that it computed.
"""
