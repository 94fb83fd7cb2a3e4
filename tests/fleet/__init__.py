"""Tests of the fleet: the file, the store, and several daemons with real etcd members."""
