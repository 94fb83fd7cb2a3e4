"""The list of connections, and the history of traffic and round trips."""
