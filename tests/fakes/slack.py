"""Slack's chat.postMessage as its documentation describes it: token, channels, threads, errors inside a 200."""

import itertools
import json
from typing import Any

from aiohttp import web

from tests.fakes.server import FakeServer

MOST_ATTACHMENTS = 100
LONGEST = 13_000  # characters in all that were seen to pass (slackapi/bolt-js issue 2509)


class FakeSlack(FakeServer):
    """``messages`` lists what was posted, each with its ``ts``."""

    def __init__(self, token: str, channels: set[str]) -> None:
        super().__init__()
        self._token, self._channels = token, channels
        self.messages: list[dict[str, Any]] = []
        self.errors: list[str] = []
        self._clock = itertools.count(1)

    def answer(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        """Name the first thing that is wrong, as Slack does, or post."""
        attachments = body.get("attachments") or []
        given = request.headers.get("Authorization", "")
        roots = {m["ts"] for m in self.messages if m["channel"] == body.get("channel") and "thread_ts" not in m}
        checks = (
            ("unknown_method", request.path != "/api/chat.postMessage"),
            ("not_authed", not given),
            ("invalid_auth", given != f"Bearer {self._token}"),
            (self.errors.pop(0), True) if self.errors else ("", False),
            ("channel_not_found", body.get("channel") not in self._channels),
            ("no_text", not body.get("text") and not attachments),
            ("too_many_attachments", len(attachments) > MOST_ATTACHMENTS),
            ("msg_too_long", len(body.get("text", "")) + len(json.dumps(attachments, ensure_ascii=False)) > LONGEST),
            ("invalid_thread_ts", bool(body.get("thread_ts")) and body["thread_ts"] not in roots),
        )
        error = next((code for code, applies in checks if applies), "")
        if error:
            return _error(error)
        message = {**body, "ts": f"1795000000.{next(self._clock):06}"}
        self.messages.append(message)
        return web.json_response({"ok": True, "channel": body["channel"], "ts": message["ts"], "message": {}})


def _error(code: str) -> web.Response:
    return web.json_response({"ok": False, "error": code})
