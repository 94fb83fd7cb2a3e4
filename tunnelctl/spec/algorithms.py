"""The algorithms that are offered to a server, in order of preference.

An allow-list: what is not here is never negotiated, whatever a library has on by default.
"""

from __future__ import annotations

# Those that the data path seals and opens in place first, the fastest of them before the others.
CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes256-ctr",
    "aes192-ctr",
    "aes128-ctr",
)
KEX_ALGORITHMS = (
    "mlkem768x25519-sha256",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",  # the same method under its older name (RFC 8731)
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group18-sha512",
    "diffie-hellman-group-exchange-sha256",
    "diffie-hellman-group14-sha256",  # for servers with nothing else (RFC 9142)
)
MACS = (
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha2-256",
    "hmac-sha2-512",
)
_PLAIN_KEYS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
# Certificates are asked for only where an authority is known for the host.
HOST_KEY_ALGORITHMS = (
    *(f"{name}-cert-v01@openssh.com" for name in _PLAIN_KEYS),
    *_PLAIN_KEYS,
)
# What our own keys sign with. The `sk-` keys live in hardware and are reached through an agent.
USER_KEY_ALGORITHMS = (
    *_PLAIN_KEYS,
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)
# What a certificate authority signs with (ssh_config(5) CASignatureAlgorithms).
AUTHORITY_ALGORITHMS = USER_KEY_ALGORITHMS
