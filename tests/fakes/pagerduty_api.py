"""Stands in for PagerDuty's REST API v2: a token, pages by offset and `more`, schedules rendered between two times.

developer.pagerduty.com/api-reference. Lists of schedules have no layers. It computes nothing but the cut of entries.
"""

from typing import Any

from aiohttp import web

from tests.fakes.server import FakeServer

TOKEN = "pd-token-51c0ffee"
Json = dict[str, Any]


class FakePagerDutyRest(FakeServer):
    """``lists`` by name; ``rendered`` and ``overrides`` by schedule."""

    def __init__(
        self, lists: dict[str, list[Json]], rendered: dict[str, list[Json]], overrides: dict[str, Any]
    ) -> None:
        super().__init__()
        self.lists, self.rendered, self.overrides = lists, rendered, overrides

    def answer(self, request: web.Request, _body: Json) -> web.Response:
        if request.headers.get("Authorization") != f"Token token={TOKEN}":
            return web.json_response({"error": {"message": "Unauthorized", "code": 2006}}, status=401)
        parts = request.path.strip("/").split("/")
        if parts[0] == "schedules" and len(parts) > 1:
            return self._schedule(request, parts)
        found, query = self.lists.get(parts[0], []), request.query
        limit, offset = int(query.get("limit", "25")), int(query.get("offset", "0"))
        if parts[0] == "schedules":
            found = [{key: one[key] for key in ("id", "name", "time_zone") if key in one} for one in found]
        if offset + limit > 10_000:
            return web.json_response({"error": {"message": "Invalid Input Provided"}}, status=400)
        page = found[offset : offset + limit]
        more = offset + limit < len(found)
        return web.json_response({parts[0]: page, "limit": limit, "offset": offset, "more": more, "total": None})

    def _schedule(self, request: web.Request, parts: list[str]) -> web.Response:
        if parts[-1] == "overrides":
            return web.json_response({"overrides": self.overrides.get(parts[1], [])})
        (whole,) = (one for one in self.lists["schedules"] if one["id"] == parts[1])
        since, until = request.query.get("since"), request.query.get("until")
        entries = []
        if since and until:
            for entry in self.rendered.get(parts[1], []):
                start, end = max(entry["start"], since), min(entry["end"], until)
                if start < end:
                    entries.append({**entry, "start": start, "end": end})
        final = {"name": "Final Schedule", "rendered_schedule_entries": entries}
        return web.json_response({"schedule": {**whole, "final_schedule": final}})
