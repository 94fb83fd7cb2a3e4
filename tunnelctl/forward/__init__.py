"""Forwards: who listens, who is dialled, and the bytes between a socket and a channel."""
