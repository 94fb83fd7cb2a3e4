"""Exchanges as an HTTP Archive, HAR 1.2 (http://www.softwareishard.com/blog/har-12-spec/).

Pure. Must never write what an exchange does not have: what is not known is -1, as HAR wants it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tunnelctl import __version__
from tunnelctl.state.documents.exchange import HttpExchange, HttpMessage

_UNKNOWN = -1


def archive(exchanges: Iterable[HttpExchange]) -> dict[str, Any]:
    """The document of those that have a response; HAR has no place for others."""
    answered = [exchange for exchange in exchanges if exchange.response is not None]
    return {
        "log": {
            "version": "1.2",
            "creator": {"name": "tunnelctl", "version": __version__},
            "entries": [_entry(exchange) for exchange in answered],
        }
    }


def _entry(exchange: HttpExchange) -> dict[str, Any]:
    assert exchange.response is not None
    duration = exchange.duration_ms or 0
    entry: dict[str, Any] = {
        "startedDateTime": exchange.started_at,
        "time": duration,
        "request": _request(exchange),
        "response": _response(exchange, exchange.response),
        "cache": {},
        "timings": {"send": 0, "wait": duration, "receive": 0},
        "connection": exchange.connection,
        "comment": f"request {exchange.id} from {exchange.client}",
    }
    if exchange.websocket:
        entry["_webSocketMessages"] = [frame.as_json() for frame in exchange.websocket]
    return entry


def _request(exchange: HttpExchange) -> dict[str, Any]:
    request, url = exchange.request, _url(exchange)
    document = {
        "method": exchange.method,
        "url": url,
        "queryString": _pairs(parse_qsl(urlsplit(url).query, keep_blank_values=True)),
        **_common(request),
    }
    if request.body:
        document["postData"] = {
            "mimeType": request.value("content-type"),
            **_text(request, with_encoding=False),
        }
    return document


def _response(exchange: HttpExchange, response: HttpMessage) -> dict[str, Any]:
    return {
        "status": exchange.status,
        "statusText": "",
        "redirectURL": response.value("location"),
        "content": {
            "size": response.size,
            "mimeType": response.value("content-type"),
            **_text(response, with_encoding=True),
        },
        **_common(response),
    }


def _common(message: HttpMessage) -> dict[str, Any]:
    return {
        "httpVersion": message.version,
        "cookies": [],  # their values are not kept
        "headers": _pairs(message.headers),
        "headersSize": _UNKNOWN,
        "bodySize": message.size,
    }


def _text(message: HttpMessage, *, with_encoding: bool) -> dict[str, str]:
    """The body; HAR says for content alone that it is encoded."""
    document = message.as_json()
    fields: dict[str, str] = {"text": document["body"] or ""}
    if document["body"] is None:
        fields["text"] = base64.b64encode(message.body).decode()
        if with_encoding:
            fields["encoding"] = "base64"
        else:
            fields["comment"] = "base64"
    if message.truncated:
        fields["comment"] = "; ".join(filter(None, (fields.get("comment"), "truncated")))
    return fields


def _url(exchange: HttpExchange) -> str:
    """The absolute URL; the scheme is what was seen on the wire."""
    if "://" in exchange.path.partition("?")[0]:
        return exchange.path
    host = exchange.request.value("host") or "localhost"
    return f"http://{host}{exchange.path if exchange.path.startswith('/') else '/'}"


def _pairs(pairs: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in pairs]
