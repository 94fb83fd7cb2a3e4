"""From a file to a profile, or to every mistake in it; and from other programs' words to a file.

Must never connect to a host of a profile.
"""
