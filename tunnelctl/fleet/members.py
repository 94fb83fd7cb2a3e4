"""The members of etcd, as `fleet status` shows them. Asked only then."""

from __future__ import annotations

import asyncio

from tunnelctl.errors import Failure
from tunnelctl.fleet import sentences
from tunnelctl.fleet.document import StoreMember
from tunnelctl.fleet.etcd import Etcd, Json, Member

_NO_SPACE = "alarm:NOSPACE"


async def members(etcd: Etcd, seconds: float) -> tuple[StoreMember, ...]:
    """Each endpoint, within so many seconds."""
    names: dict[str, str] = {}
    urls = etcd.settings.endpoints
    try:
        await etcd.open()
    except Failure as failure:  # the renewals fail for the same reason, which is shown
        why = failure.message
        return tuple(StoreMember(url, None, None, is_leader=False, error=why) for url in urls)
    found = await asyncio.gather(*(_one(etcd, url, seconds, names) for url in urls))
    return tuple(found)


async def _one(etcd: Etcd, url: str, seconds: float, names: dict[str, str]) -> StoreMember:
    member = Member(etcd, url)
    try:
        async with asyncio.timeout(seconds):
            status = await member.post("/v3/maintenance/status", {})
            identity = str(status["header"]["member_id"])
            if identity not in names:
                listed = await member.post("/v3/cluster/member/list", {})
                names.update({str(one["ID"]): str(one.get("name", "")) for one in _list(listed)})
    except TimeoutError:
        why = sentences.endpoint_silent(url, seconds)
        return StoreMember(url, None, None, is_leader=False, error=why.detail)
    except Failure as failure:
        return StoreMember(url, None, None, is_leader=False, error=failure.detail)
    except (KeyError, TypeError):
        return StoreMember(url, None, None, is_leader=False, error=sentences.answers_otherwise())
    # A member lists each alarm once for each member that raised it.
    complaints = dict.fromkeys(_complaint(url, str(one)) for one in status.get("errors", ()))
    return StoreMember(
        url,
        names.get(identity),
        str(status.get("version", "")),
        is_leader=str(status.get("leader", "")) == identity,
        error=", ".join(complaints) or None,
    )


def _complaint(url: str, words: str) -> str:
    """What a member says is wrong with it."""
    return sentences.no_space(url).detail if _NO_SPACE in words else words


def _list(answer: Json) -> list[Json]:
    listed = answer.get("members", [])
    return listed if isinstance(listed, list) else []
