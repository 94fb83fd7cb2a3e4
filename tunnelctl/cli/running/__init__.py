"""Commands on profiles that the daemon runs, or is to run: one module a command.

Must never read a profile's file in another way than `cli.profiles.files`.
"""
