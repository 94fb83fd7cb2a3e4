"""From a file to a profile, or to every mistake in it; and from and to the files of other programs.

The rooms, from the lowest: yaml, values, openssh, profile, exchange; none imports upward. Must
never connect to a host of a profile.
"""
