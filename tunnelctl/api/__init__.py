"""tunnelctl in a Python program (docs/python.md): tunnels in its own process, and the daemon's API.

Owns what `tunnelctl.__all__` names. Must stay quick to import: what opens a tunnel is imported when
one is opened, in the thread that waits for it.
"""
