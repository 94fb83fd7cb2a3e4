"""Authentication (RFC 4252): which keys and answers are offered, and what a failed login means.

Must never keep a secret after it was sent.
"""
