"""The inspector: HTTP/1 exchanges of forwards with `inspect: http`, from copies of their bytes.

`tap.py` copies on the loop, `worker.py` parses in a thread, `store.py` keeps what was found. Must
never change, reorder or hold back a byte of a connection, nor end one.
"""
