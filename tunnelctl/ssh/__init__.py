"""From a host to an authenticated link, and the bytes between its channels and local sockets.

`connect` leads through the rooms: reach (how to get there), packets (what flows), server_key (who
is there), login (who we are), keys, and link (what is carried). With sshd/ the only room that may
import paramiko.
"""
