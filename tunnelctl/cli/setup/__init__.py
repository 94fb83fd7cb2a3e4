"""Commands that set tunnelctl up on a machine: the daemon and its service, completion, help."""
