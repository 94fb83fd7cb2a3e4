"""Remote forwards: the listener asked of a server, its clients, and ports that servers hold."""
