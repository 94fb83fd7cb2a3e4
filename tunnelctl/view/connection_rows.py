"""The rows of connections, open and ended.

Pure: the time is an argument. Texts that come from other machines are printable.
"""

from __future__ import annotations

from datetime import datetime

from tunnelctl.errors import printable
from tunnelctl.state.documents.connection_status import (
    ConnectionEnd,
    ConnectionState,
    ConnectionStatus,
)
from tunnelctl.view.condition import Condition, ShownState
from tunnelctl.view.rows import ConnectionRow
from tunnelctl.view.texts import NOTHING, age_text, both_ways


def connection_row(connection: ConnectionStatus, now: datetime) -> ConnectionRow:
    """One connection as it is shown."""
    shown = _shown(connection)
    process = connection.process
    identity = ""
    if process is not None:
        known = (str(process.pid) if process.pid is not None else "", process.user)
        identity = f"{process.name} ({', '.join(filter(None, known))})".strip()
    is_open = connection.state is not ConnectionState.ENDED
    return ConnectionRow(
        id=connection.id,
        profile=connection.profile,
        forward=connection.forward,
        client=printable(connection.client),
        process=printable(identity),
        target=printable(connection.target or NOTHING),
        host=connection.host,
        status=shown.text,
        condition=shown.condition,
        is_open=is_open,
        bytes_in=connection.bytes_in,
        bytes_out=connection.bytes_out,
        moved=both_ways(connection.bytes_in, connection.bytes_out),
        rate_in=connection.rate_in,
        rate_out=connection.rate_out,
        rates=both_ways(connection.rate_in, connection.rate_out),
        since=connection.since,
        age=age_text(connection.since, now),
        until=connection.until,
        how=str(connection.how or ""),
        error=printable(str(connection.error)) if connection.error else "",
    )


def _shown(connection: ConnectionStatus) -> ShownState:
    if connection.state is not ConnectionState.ENDED:
        is_open = connection.state is ConnectionState.OPEN
        return ShownState(connection.state, Condition.UP if is_open else Condition.NOT_UP)
    if connection.how in (ConnectionEnd.REFUSED, ConnectionEnd.SESSION_LOST) and connection.error:
        return ShownState(f"{connection.how}: {connection.error.code}", Condition.FAILED)
    if connection.how is ConnectionEnd.RESET and connection.reset_by is not None:
        return ShownState(f"reset by the {connection.reset_by}", Condition.STOPPED)
    return ShownState(connection.how or connection.state, Condition.STOPPED)
