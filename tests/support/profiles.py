"""Profiles that many tests start from."""

from __future__ import annotations

# A server of our own with one forward that answers.
EMBEDDED = """\
version: 1
hosts:
  demo: {embedded: true}
forwards:
  hello: {local: 0, to: "hello:80", via: demo}
"""
