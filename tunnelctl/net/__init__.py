"""Sockets without SSH: readiness, buffers, addresses."""
