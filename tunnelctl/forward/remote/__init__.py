"""Remote forwards: the listener on a server, its clients, and ports that servers hold."""
