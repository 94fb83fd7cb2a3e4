"""What each tunnel does next, decided without sockets, threads or clocks; time is an argument."""
