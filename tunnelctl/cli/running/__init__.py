"""Commands for profiles in the daemon, or to be started there: one module for each command.

Must never read a profile's file except through `cli.profiles.profile_files`.
"""
