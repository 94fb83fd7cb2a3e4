"""What belongs to the user and this machine, not to a profile: paths, secrets, whole files.

Must never know the content of a profile.
"""
