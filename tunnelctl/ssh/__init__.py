"""From a host to an authenticated link, and the bytes between its channels and local sockets.

`connect` leads through the rooms: reach (the way to the host), packets (the packet layer),
server_key (the server's identity), login (our identity), keys, and link (channels). With sshd/ the
only room that may import paramiko.
"""
