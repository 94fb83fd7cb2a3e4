"""Commands on profiles as files and on the hosts that they name. None of them needs a daemon."""
