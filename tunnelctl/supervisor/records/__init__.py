"""What the supervisor tells about connections, and remembers of traffic and round trips."""
