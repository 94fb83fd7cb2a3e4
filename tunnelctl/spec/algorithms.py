"""The algorithms that are offered to a server, in order of preference.

An allow-list: what is not here is never negotiated, whatever a library has on by default.
"""

from __future__ import annotations

# GCM first: the data path seals and opens it in place.
CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "aes256-ctr",
    "aes192-ctr",
    "aes128-ctr",
)
