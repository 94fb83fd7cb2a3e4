"""From and to the files and command lines of other programs.

Must never lose anything silently: what cannot be converted is noted.
"""
