"""Programs that we start: their environment, their own children, and their end."""
