"""`demo`: a tunnel, a server, a service and a client in one process, to show a reconnect."""
