"""RFC 4254 as bytes in and bytes out: no sockets, no threads, no clock."""
