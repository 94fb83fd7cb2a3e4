"""One authenticated connection (RFC 4254), and the relay between its channels and local sockets.

Must never show a client a clean end that the far side did not send.
"""
