"""The running profiles: each host's state machine gets events, and its actions are carried out.

Must never move a byte of a forward.
"""
