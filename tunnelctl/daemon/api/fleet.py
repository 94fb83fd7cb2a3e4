"""The part of the control API for fleets: `GET /v1/fleet`, `POST /v1/fleet/PROFILE/hand-over`.

Owns the routes. Decides nothing.
"""

from __future__ import annotations

from aiohttp import web

from tunnelctl.daemon import sentences
from tunnelctl.daemon.orders import refuse_unknown
from tunnelctl.daemon.request_parts import check_query, profile_in_path, read_body
from tunnelctl.daemon.wanted.member import FleetMember
from tunnelctl.state.documents.api_version import API_VERSION


def routes(member: FleetMember | None) -> list[web.RouteDef]:
    """The routes; without a fleet they answer that there is none."""

    def joined() -> FleetMember:
        if member is None:
            raise sentences.no_fleet()
        return member

    async def status(request: web.Request) -> web.Response:
        check_query(request)
        document = {"api_version": API_VERSION, "fleet": await joined().document()}
        return web.json_response(document)

    async def hand_over(request: web.Request) -> web.Response:
        refuse_unknown(await read_body(request), ())
        holder = await joined().hand_over(profile_in_path(request))
        return web.json_response({"api_version": API_VERSION, "holder": holder})

    return [
        web.get("/v1/fleet", status),
        web.post("/v1/fleet/{name}/hand-over", hand_over),
    ]
