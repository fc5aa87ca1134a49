"""Entity tags of what the API shows: nothing is sent twice, and an act can be for an incident as it was seen."""

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from receiver.incident.model import Incident

View = Callable[[Incident], dict[str, object]]
_LENGTH = 16  # characters: 64 bits, of which nobody gains by finding two that are the same


def version(incident: Incident, view: View) -> str:
    """Give what changes with anything that is shown of an incident but its timeline."""
    return _hashed((view(incident), incident.alerts))


def tagged(request: web.Request, shown: dict[str, Any], tag: str = "") -> web.Response:
    """Answer with ``shown``, or 304 if whoever asks has it; the tag is ``tag`` and what all of it hashes to."""
    whole = f"{tag}.{_hashed(shown)}" if tag else _hashed(shown)
    headers = {"ETag": f'"{whole}"', "Cache-Control": "private, no-cache"}
    known = request.if_none_match or ()
    if any(one.value in {whole, "*"} for one in known):
        return web.Response(status=304, headers=headers)
    return web.json_response(shown, headers=headers)


def as_seen(request: web.Request, view: View) -> Callable[[Incident], bool] | None:
    """Give the condition of the header If-Match: how the incident was when it was read; None without one."""
    wanted = request.if_match
    if wanted is None or any(one.value == "*" for one in wanted):
        return None
    versions = {one.value.partition(".")[0] for one in wanted}
    return lambda incident: version(incident, view) in versions


def _hashed(value: object) -> str:
    return hashlib.sha256(msgspec.json.encode(value)).hexdigest()[:_LENGTH]
