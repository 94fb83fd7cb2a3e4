"""SSH: with sshd/, the only room that knows paramiko, which does key exchange and authentication."""
