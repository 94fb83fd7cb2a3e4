"""The user and this machine, independent of any profile: paths, secrets, whole files.

Must never know the content of a profile.
"""
