"""The daemon's log: where its lines go, the thread that writes them, the last ones in memory."""
