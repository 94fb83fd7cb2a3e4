"""From a host to a login: when an attempt may begin, who answers its questions, and what makes a
refused one worth another try.
"""
