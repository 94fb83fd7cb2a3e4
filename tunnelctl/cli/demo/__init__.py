"""`demo`: the whole story in one command, with a server, a service and a client of its own."""
