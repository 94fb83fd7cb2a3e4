"""The forwards of a tunnel: when each is opened, closed and probed, and what its clients show."""
