"""From a file to a profile, or to every mistake in it; and from other programs' words to a file.

The rooms, from the ground up: yaml, values, openssh, profile, exchange; none imports upward.
Must never connect to a host of a profile.
"""
