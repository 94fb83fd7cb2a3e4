"""Uses the control API over the unix socket, and starts the daemon if none answers."""

from tunnelctl.client.client import Client, DaemonElsewhere, EventStream, SocketUnusable
from tunnelctl.client.http import API_VERSION, Document, Exchange, Problem

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
