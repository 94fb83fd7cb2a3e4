"""The way from here to every target of a profile, walked once and told step by step.

Uses what tunnels are made of (ssh/connect.py, forward/), in this process and not in the daemon's.
Must never change anything: nothing is recorded, and nothing stays on a server.
"""
