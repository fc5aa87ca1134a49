"""Slack's chat.postMessage as its documentation describes it: token, channels, threads, errors inside a 200."""

import itertools
from typing import Any

from aiohttp import web

from tests.fakes.server import FakeServer


class FakeSlack(FakeServer):
    """``messages`` lists what was posted, each with its ``ts``."""

    def __init__(self, token: str, channels: set[str]) -> None:
        super().__init__()
        self._token, self._channels = token, channels
        self.messages: list[dict[str, Any]] = []
        self.errors: list[str] = []
        self._clock = itertools.count(1)

    def answer(self, request: web.Request, body: dict[str, Any]) -> web.Response:  # noqa: PLR0911  # one an error
        if request.path != "/api/chat.postMessage":
            return _error("unknown_method")
        if request.headers.get("Authorization") != f"Bearer {self._token}":
            return _error("invalid_auth")
        if self.errors:
            return _error(self.errors.pop(0))
        if body.get("channel") not in self._channels:
            return _error("channel_not_found")
        if not body.get("text") and not body.get("attachments"):
            return _error("no_text")
        if body.get("thread_ts") and body["thread_ts"] not in {m["ts"] for m in self.messages}:
            return _error("thread_not_found")
        message = {**body, "ts": f"1795000000.{next(self._clock):06}"}
        self.messages.append(message)
        return web.json_response({"ok": True, "channel": body["channel"], "ts": message["ts"], "message": {}})


def _error(code: str) -> web.Response:
    return web.json_response({"ok": False, "error": code})
