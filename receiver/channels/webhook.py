"""The channel `webhook`: what happened as JSON to any URL, signed by the Standard Webhooks specification.

github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hmac
from typing import NamedTuple

import aiohttp
import msgspec

from process.settings import Secret
from receiver.channels.base import Failure, Message, Receipt, SendError, standing
from receiver.channels.http_call import post
from receiver.channels.http_status import failure

VERSION = 1  # of the body; it rises when a reader of the one before could be misled
_SHORTEST, _LONGEST = 24, 64  # bytes of a key, by the specification
_PREFIX = "whsec_"


class Endpoint(NamedTuple):
    """Where to, and the keys that sign: several while one takes over from another."""

    url: Secret
    keys: tuple[bytes, ...]


class Webhook:
    """Posts to the endpoints by name."""

    def __init__(self, endpoints: dict[str, Endpoint], session: aiohttp.ClientSession, *, timeout: float = 10) -> None:
        self._endpoints, self._session, self._timeout = endpoints, session, timeout

    async def send(self, message: Message) -> Receipt:
        """Post once; any 2xx means that it has arrived."""
        endpoint = self._endpoints.get(message.address)
        if endpoint is None:
            text = f"no endpoint {message.address!r} in channels.webhook.endpoints"
            raise SendError(text, Failure.BAD_ADDRESS, permanent=True)
        who, body = f"the endpoint {message.address!r}", content(message)
        identity, stamp = f"{message.incident}-{message.id}", str(int(message.sent_at.timestamp()))
        headers = {
            "webhook-id": identity,  # the same on every attempt: the reader's idempotency key
            "webhook-timestamp": stamp,
            "webhook-signature": " ".join(sign(key, identity, stamp, body) for key in endpoint.keys),
        }
        answer = await post(self._session, who, endpoint.url, body, headers, self._timeout)
        if not 200 <= answer.status < 300:  # noqa: PLR2004  # the specification: "2xx is success"
            raise failure(f"{who} answered {answer.status}", answer.status, answer.wish)
        return Receipt()


def content(message: Message) -> bytes:
    """Write the body; its schema is in docs/channels.md."""
    incident = {
        "key": message.incident,
        "number": message.number,
        "title": message.subject,
        "state": standing(message),
        "priority": message.priority,
        "severity": message.severity,
        "opened_at": message.opened_at,
        "labels": message.labels,
    }
    data = {
        "incident": incident,
        "headline": message.headline,
        "text": message.text,
        "facts": [{"name": name, "value": value} for name, value in message.fields],
        "links": message.links,
    }
    kind = f"incident.{message.kind.value}"
    return msgspec.json.encode({"type": kind, "version": VERSION, "timestamp": message.sent_at, "data": data})


def sign(key: bytes, identity: str, stamp: str, body: bytes) -> str:
    """Sign the identity, the time and the body with HMAC-SHA256."""
    mac = hmac.digest(key, f"{identity}.{stamp}.".encode() + body, "sha256")
    return f"v1,{base64.b64encode(mac).decode()}"


def keys(secret: str) -> tuple[bytes, ...]:
    """Read a secret: one ``whsec_…``, or several while one takes over; ValueError says what is wrong."""
    return tuple(_key(part) for part in secret.split())


def _key(text: str) -> bytes:
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not text.startswith(_PREFIX) or not _SHORTEST <= len(key) <= _LONGEST:
        raise ValueError(f"write {_PREFIX} and the base64 of {_SHORTEST} to {_LONGEST} random bytes")
    return key
