"""To and from the files and command lines of other programs.

Must never lose anything silently: what cannot be carried over is noted.
"""
