"""Forwards: listeners, targets, and the connections between them."""
