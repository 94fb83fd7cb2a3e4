"""Logins: when an attempt may begin, who answers its questions, and when a refused one is tried
again.
"""
