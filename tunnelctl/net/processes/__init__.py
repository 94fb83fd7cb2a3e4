"""Programs that we start: whose environment they have, what they start in turn, how they end."""
