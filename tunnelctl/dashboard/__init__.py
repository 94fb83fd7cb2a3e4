"""The page on 127.0.0.1: a process of its own between a browser and the control API.

Owns the login, the checks of every request, and the files of the page. Must never open a port that
other machines can reach, answer a request without the cookie, or decide what is shown: the view
model does.
"""
