"""Private and public keys: files, forms, certificates, agents, signatures.

Must never keep a passphrase, nor make or accept a signature with SHA-1.
"""
