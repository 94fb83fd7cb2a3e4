"""The profiles that are wanted, as tunnels: machines are told what happens, and their acts done.

Must never move a byte of a forward.
"""
