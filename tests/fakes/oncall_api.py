"""Stands in for the public API of Grafana OnCall: lists by page, final schedules on one page, a bare token.

grafana.com/docs/oncall/latest/oncall-api-reference; engine/apps/public_api of grafana/oncall. It holds what a test
gives it, also the final shifts: it computes nothing.
"""

from typing import Any

from aiohttp import web

from tests.fakes.server import FakeServer

TOKEN = "oncall-token-3f9c1d7e"  # of the stand-in
SIZES = {"users": 100, "shift_swaps": 50}


class FakeOnCall(FakeServer):
    """``lists`` by name, ``finals`` by schedule."""

    def __init__(self, lists: dict[str, list[Any]], finals: dict[str, list[Any]]) -> None:
        super().__init__()
        self.lists, self.finals = lists, finals
        self.cut = ""  # the list whose pages are cut in mid-answer

    def answer(self, request: web.Request, _body: dict[str, Any]) -> web.Response:
        if request.headers.get("Authorization") != TOKEN:
            return web.json_response({"detail": "Invalid token."}, status=401)
        parts = request.path.strip("/").split("/")
        if parts[:2] != ["api", "v1"]:
            return web.json_response({"detail": "Not found."}, status=404)
        if parts[2] == "schedules" and parts[-1] == "final_shifts":
            found = self.finals.get(parts[3], [])
            return web.json_response({"count": len(found), "next": None, "previous": None, "results": found})
        return self._page(request, parts[2])

    def _page(self, request: web.Request, name: str) -> web.Response:
        found, size = self.lists.get(name, []), SIZES.get(name, 50)
        page = int(request.query.get("page", "1"))
        following = f"http://internal.invalid/api/v1/{name}/?page={page + 1}" if page * size < len(found) else None
        answer = {
            "count": len(found),
            "next": following,
            "previous": None,
            "results": found[(page - 1) * size : page * size],
            "current_page_number": page,
            "page_size": size,
        }
        response = web.json_response(answer)
        if self.cut == name:
            response.text = (response.text or "")[:-40]
        return response
