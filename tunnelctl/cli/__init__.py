"""What people type and read: one command a module, imported when it is called.

Must never decide anything about a tunnel: it asks the daemon and shows what that says.
"""
