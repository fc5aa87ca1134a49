"""A local server that takes any JSON, and the reader's side of Standard Webhooks, written from the specification.

github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import hashlib
import hmac
from typing import Any

from aiohttp import web

from tests.fakes.server import Call, FakeServer


class FakeEndpoint(FakeServer):
    """Answers 200 to everything."""

    def answer(self, _request: web.Request, _body: dict[str, Any]) -> web.Response:
        return web.json_response({})


def signed_by(call: Call, secret: str) -> bool:
    """Say whether one of the call's signatures is the secret's."""
    headers = {name.lower(): value for name, value in call.headers.items()}
    content = b".".join((headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), call.raw))
    key = base64.b64decode(secret.split("_", 1)[1])
    mac = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return any(signature.split(",") == ["v1", mac] for signature in headers["webhook-signature"].split(" "))
