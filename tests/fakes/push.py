"""A local push service with browsers that have subscribed: it checks what RFC 8030 and 8292 ask, and can decrypt."""

import base64
import hashlib
import json
import os
from typing import Any

import http_ece
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from py_vapid import Vapid02

from receiver.store.push import Subscription
from tests.fakes.server import Call, FakeServer
from tests.receiver.example_site import START

_LARGEST = 4096


class FakePush(FakeServer):
    """Answers 201 to what is signed and whole, and what ``statuses`` says for a path."""

    def __init__(self) -> None:
        super().__init__()
        self.statuses: dict[str, int] = {}
        self._browsers: dict[str, tuple[ec.EllipticCurvePrivateKey, bytes]] = {}

    def subscribe(self, device: str = "phone", person: str = "linh") -> Subscription:
        """Let a browser subscribe."""
        key, auth = ec.generate_private_key(ec.SECP256R1()), os.urandom(16)
        self._browsers[f"/push/{device}"] = (key, auth)
        point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        endpoint = f"{self.url}/push/{device}"
        return Subscription(
            hashlib.sha256(endpoint.encode()).hexdigest(), person, endpoint, _text(point), _text(auth), device, START
        )

    def read(self, call: Call) -> dict[str, Any]:
        """Decrypt what was sent to the browser, as it does."""
        key, auth = self._browsers[call.path]
        content: dict[str, Any] = json.loads(http_ece.decrypt(call.raw, private_key=key, auth_secret=auth))
        return content

    def answer(self, request: web.Request, _body: dict[str, Any]) -> web.Response:
        if request.path in self.statuses:
            return web.Response(status=self.statuses[request.path])
        headers = request.headers
        if not (headers["TTL"].isdigit() and headers["Content-Encoding"] == "aes128gcm"):
            return web.Response(status=400)
        if (request.content_length or 0) > _LARGEST or len(headers["Topic"]) > 32:
            return web.Response(status=413)
        claims = self.claims(headers["Authorization"])
        if claims["aud"] != self.url or not Vapid02.verify(headers["Authorization"]):
            return web.Response(status=403)
        return web.Response(status=201, headers={"Location": f"{self.url}/message/1"})

    @staticmethod
    def claims(authorization: str) -> dict[str, Any]:
        """Read what the sender says of itself."""
        token = authorization.removeprefix("vapid t=").split(",")[0].split(".")[1]
        content: dict[str, Any] = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return content


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
