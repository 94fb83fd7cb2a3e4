"""The view model of the faces: rows, their order, their texts, and the command for each action.

Pure: made from the daemon's documents and the time. `ps`, `top` and the dashboard render it and
decide nothing themselves. Must never ask the daemon, and never draw.
"""
