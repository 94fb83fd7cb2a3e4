"""Forwards: who listens, who is dialled, and the connections in between."""
