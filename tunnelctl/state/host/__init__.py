"""The state machine of one host: what it does next at each event."""
