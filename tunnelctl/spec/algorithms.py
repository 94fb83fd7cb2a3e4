"""The algorithms that are offered to a server, in order of preference.

An allow-list: algorithms that are not listed are never negotiated, whatever a library enables by
default.
"""

from __future__ import annotations

# First the ciphers that the data path seals and opens in place, the fastest of them first.
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
# Certificates are requested only if an authority is known for the host.
HOST_KEY_ALGORITHMS = (
    *(f"{name}-cert-v01@openssh.com" for name in _PLAIN_KEYS),
    *_PLAIN_KEYS,
)
# The signature algorithms of our own keys. The `sk-` keys are in hardware and are used through an
# agent.
USER_KEY_ALGORITHMS = (
    *_PLAIN_KEYS,
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)
# The signature algorithms of a certificate authority (ssh_config(5) CASignatureAlgorithms).
AUTHORITY_ALGORITHMS = USER_KEY_ALGORITHMS
