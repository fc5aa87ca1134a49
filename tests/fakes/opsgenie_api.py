"""Stands in for Opsgenie's API v2: a GenieKey, lists with `paging.next`, timelines as a test gives them.

docs.opsgenie.com/docs/api-overview. It computes nothing.
"""

import json
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from tests.fakes.server import FakeServer

TOKEN = "genie-key-9d2e77b1"


class FakeOpsgenie(FakeServer):
    """``answers`` by path: a list is answered by page."""

    def __init__(self, answers: dict[str, Any]) -> None:
        super().__init__()
        self.answers = answers
        self.cut = ""  # the path whose answer is cut in the middle

    def answer(self, request: web.Request, _body: dict[str, Any]) -> web.Response:
        if request.headers.get("Authorization") != f"GenieKey {TOKEN}":
            return web.json_response({"message": "Could not authenticate", "took": 0.001}, status=401)
        path = request.path.lstrip("/")
        found = self.answers.get(path, [])
        answer = {"data": found, "took": 0.01, "requestId": "r"}
        if isinstance(found, list):
            size, offset = int(request.query.get("limit", "100")), int(request.query.get("offset", "0"))
            answer["data"] = found[offset : offset + size]
            if offset + size < len(found):
                query = urlencode({"limit": size, "offset": offset + size})
                answer["paging"] = {"next": f"https://api.opsgenie.com/{path}?{query}"}
        text = json.dumps(answer)
        return web.Response(text=text[:-20] if self.cut == path else text, content_type="application/json")
