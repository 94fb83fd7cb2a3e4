"""The parts of an HTTP request that several routes have: its body, its query, a profile's name.

Owns their form. Must never know what a request is for.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from typing import Any

from aiohttp import web

from tunnelctl.config.profile.find import is_profile_name
from tunnelctl.daemon import sentences

_BODY_WITHIN = 5.0  # seconds
_FLAGS = {"": False, "0": False, "1": True}


async def read_bytes(request: web.Request) -> bytes:
    """The body.

    Raises:
        web.HTTPRequestTimeout: it did not arrive in time.
    """
    try:
        async with asyncio.timeout(_BODY_WITHIN):
            return await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout(text=sentences.body_not_in_time()) from None


async def read_body(request: web.Request) -> dict[str, Any]:
    """The JSON object in the body; an empty body is an empty object. A request with a body has no
    query.

    Raises:
        Failure: USAGE, it is something else, or there is a query.
        web.HTTPRequestTimeout: it did not arrive in time.
    """
    check_query(request)
    raw = await read_bytes(request)
    if not raw.strip():
        return {}
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise sentences.body_not_json() from None
    if not isinstance(body, dict):
        raise sentences.body_not_an_object()
    return body


def profile_in_path(request: web.Request) -> str:
    """The part `{name}` of the path.

    Raises:
        Failure: PROFILE_NOT_FOUND, no profile can have that name.
    """
    name = request.match_info["name"]
    if not is_profile_name(name):
        raise sentences.not_a_profile_name(name)
    return name


def profiles_in_query(request: web.Request) -> tuple[str, ...]:
    """The values of `?profile=`, which may be repeated.

    Raises:
        Failure: USAGE, one of them is not the name of a profile.
    """
    names = tuple(dict.fromkeys(request.query.getall("profile", ())))
    if not all(map(is_profile_name, names)):
        raise sentences.not_a_profile_in_query()
    return names


def check_query(
    request: web.Request, once: Collection[str] = (), repeatable: Collection[str] = ()
) -> None:
    """Check that the query has only keys that may be there `once`, or several times.

    Raises:
        Failure: USAGE, it has another one, or one too often.
    """
    for key in sorted(set(request.query)):
        if key not in once and key not in repeatable:
            raise sentences.unknown_key(key, "query")
        if key not in repeatable and len(request.query.getall(key)) > 1:
            raise sentences.not_once(key)


def number_in_query(request: web.Request, key: str, default: int) -> int:
    """A whole number.

    Raises:
        Failure: USAGE, it is none, or too large.
    """
    text = request.query.get(key, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise sentences.not_a_whole_number(key)
    return int(text)


def flag_in_query(request: web.Request, key: str) -> bool:
    """Whether it is 1; without it, False.

    Raises:
        Failure: USAGE, it is neither 1 nor 0.
    """
    flag = _FLAGS.get(request.query.get(key, ""))
    if flag is None:
        raise sentences.not_a_flag(key)
    return flag
