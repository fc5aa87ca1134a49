"""Stands in for GoAlert's GraphQL API: one fixed query by a bearer key, connections page by page. It computes nothing.

graphql2/ of target/goalert.
"""

from typing import Any

from aiohttp import web

from tests.fakes.server import FakeServer

TOKEN = "goalert-key-77f0aa21"
SIZES = {"users": 100, "schedules": 1}
Json = dict[str, Any]


class FakeGoAlert(FakeServer):
    """``lists`` by the name of the connection; ``error`` is what it answers instead."""

    def __init__(self, lists: dict[str, list[Json]]) -> None:
        super().__init__()
        self.lists, self.error = lists, ""

    def answer(self, request: web.Request, body: Json) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}" or request.path != "/api/graphql":
            return web.Response(status=401, text="unauthorized")
        if self.error:
            return web.json_response({"errors": [{"message": self.error, "path": ["schedules"]}], "data": None})
        data, variables = {}, body["variables"]
        for name, nodes in self.lists.items():
            assert f"{name}(" in body["query"]
            size, start = SIZES.get(name, 50), int(variables[name] or 0)
            page = {"endCursor": str(min(start + size, len(nodes))), "hasNextPage": start + size < len(nodes)}
            data[name] = {"nodes": nodes[start : start + size], "pageInfo": page}
        return web.json_response({"data": data})
