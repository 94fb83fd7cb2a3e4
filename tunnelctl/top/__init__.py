"""`top`: forwards, hosts, connections and the log, live in a terminal.

Renders the view model with textual, which the extra `top` installs. Must never decide what a row
says, and never block its screen: the daemon is asked in threads.
"""
