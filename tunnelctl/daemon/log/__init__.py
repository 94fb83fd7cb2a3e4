"""The daemon's log: its destinations, the thread that writes it, and its last lines in memory."""
