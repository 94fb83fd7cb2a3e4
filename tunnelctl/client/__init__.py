"""Uses the control API over the unix socket, and starts the daemon if none answers.

Must never decide anything about tunnels, and never import what only the daemon needs: every command
waits for this import.
"""

from tunnelctl.client.client import Client, DaemonElsewhere, EventStream, SocketUnusable
from tunnelctl.client.http import Document, Exchange, Problem
from tunnelctl.state.documents.api_version import API_VERSION

__all__ = [
    "API_VERSION",
    "Client",
    "DaemonElsewhere",
    "Document",
    "EventStream",
    "Exchange",
    "Problem",
    "SocketUnusable",
]
