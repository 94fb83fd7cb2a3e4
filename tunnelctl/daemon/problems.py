"""Errors in the control API: RFC 9457 `application/problem+json` with `code` and `hint`.

Owns the HTTP status of each failure.
"""

from __future__ import annotations

import re
from typing import Any

from aiohttp import web

from tunnelctl.config.yaml.mistakes import ProfileInvalid
from tunnelctl.daemon import sentences
from tunnelctl.errors import Code, Failure
from tunnelctl.home.extras import install_command

_STATUS = {
    Code.PROFILE_NOT_FOUND: 404,
    Code.CONNECTION_NOT_FOUND: 404,
    Code.CONFIG_INVALID: 422,
    Code.USAGE: 400,
    Code.NEEDS_INPUT: 409,
    Code.NAME_TAKEN: 409,
    Code.NOT_UP: 409,
    Code.PORT_IN_USE: 409,
    Code.PERMISSION_DENIED: 403,
    Code.INTERNAL: 500,
    Code.DAEMON_NOT_RUNNING: 503,  # the daemon is about to end
}
_OTHER = 502  # caused by a remote host


def as_problem(error: Exception) -> web.Response:
    """The answer for an error. For an unexpected one it names only the type; the log has the
    details."""
    if isinstance(error, web.HTTPException):
        return _from_http(error)
    if not isinstance(error, Failure):
        error = sentences.unexpected_error(type(error).__name__)
    problem: dict[str, Any] = {"detail": error.message, "code": str(error.code), "hint": error.hint}
    if isinstance(error, ProfileInvalid):
        problem["mistakes"] = [str(mistake) for mistake in error.mistakes]
        problem["more"] = error.more
    return _problem(_STATUS.get(error.code, _OTHER), problem)


def not_installed(what: str, extra: str) -> web.Response:
    """The answer if an extra that is not installed is needed."""
    problem = {"detail": what, "code": "not-implemented", "hint": install_command(extra)}
    return _problem(501, problem)


def _from_http(error: web.HTTPException) -> web.Response:
    problem = {
        "detail": error.text or error.reason,
        "code": _code_of(error),
        "hint": "",
    }
    response = _problem(error.status, problem)
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response


def _code_of(error: web.HTTPException) -> str:
    """`HTTPNotFound` is `not-found`; the phrases of http.HTTPStatus change with Python."""
    words = re.findall("[A-Z][a-z]+", type(error).__name__.removeprefix("HTTP"))
    return "-".join(words).lower()


def _problem(status: int, problem: dict[str, Any]) -> web.Response:
    title = web.Response(status=status).reason
    return web.json_response(
        {"type": "about:blank", "title": title, "status": status, **problem},
        status=status,
        content_type="application/problem+json",
    )
