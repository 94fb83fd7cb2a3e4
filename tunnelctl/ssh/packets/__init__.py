"""The packet layer (RFC 4253): ciphers, key exchange, and the stream of packets on the event loop.

Must never interpret a channel message.
"""
