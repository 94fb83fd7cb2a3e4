"""SSH. With sshd/ the only room that knows paramiko, which exchanges keys."""
