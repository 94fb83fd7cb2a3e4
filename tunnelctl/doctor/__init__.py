"""Tests the connection to every target of a profile once, and reports each step.

Uses the same parts as tunnels (ssh/connect.py, forward/), in this process and not in the daemon.
Must never change anything: nothing is recorded, and nothing stays on a server.
"""
