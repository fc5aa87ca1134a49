"""The channel `webhook`: what happened as JSON to any URL, signed by the Standard Webhooks specification.

github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
from datetime import UTC
from pathlib import Path
from typing import Annotated, NamedTuple
from urllib.parse import urlsplit

import aiohttp
import msgspec
import standardwebhooks

from process.addresses import is_http
from process.settings import Secret, Strict
from receiver.channels.base import Channel, Failure, Message, Receipt, SendError, standing
from receiver.channels.declaration import Declaration, Place, Setup, Timeout, unknown_name
from receiver.channels.http_call import failure, post

VERSION = 1  # of the body; it rises when a reader of the one before could be misled
_SHORTEST, _LONGEST = 24, 64  # bytes of a key, by the specification
_PREFIX = "whsec_"


class EndpointSettings(Strict, frozen=True):
    """One endpoint, and the secret that signs what it is sent."""

    url: str
    """URL to which notifications are posted"""
    secret: Secret | None = None
    """Secret that signs them, as Standard Webhooks writes it: `whsec_...`"""
    secret_file: Path | None = None


class Settings(Strict, frozen=True):
    """`channels.webhook`: your own programs, by signed JSON."""

    endpoints: Annotated[dict[str, EndpointSettings], msgspec.Meta(min_length=1)]
    """Endpoints, by the names that `contacts` use"""
    timeout: Timeout = Timeout(10)
    """Time for one attempt, at most 60s"""


class Endpoint(NamedTuple):
    """Where to, and the keys that sign: several while one replaces another."""

    url: Secret
    keys: tuple[bytes, ...]


class Webhook:
    """Posts to the endpoints by name."""

    def __init__(self, endpoints: dict[str, Endpoint], session: aiohttp.ClientSession, *, timeout: float = 10) -> None:
        self._endpoints, self._session, self._timeout = endpoints, session, timeout

    async def send(self, message: Message) -> Receipt:
        """Post once; any 2xx means that it was delivered."""
        endpoint = self._endpoints.get(message.address)
        if endpoint is None:
            text = f"no endpoint {message.address!r} in channels.webhook.endpoints"
            raise SendError(text, Failure.BAD_ADDRESS, permanent=True)
        who, body = f"the endpoint {message.address!r}", content(message)
        identity, sent_at = f"{message.incident}-{message.id}", message.sent_at.astimezone(UTC)
        headers = {
            "webhook-id": identity,  # the same on every attempt: the reader's idempotency key
            "webhook-timestamp": str(int(sent_at.timestamp())),
            "webhook-signature": " ".join(
                standardwebhooks.Webhook(key).sign(identity, sent_at, body.decode()) for key in endpoint.keys
            ),
        }
        answer = await post(self._session, who, endpoint.url, body, headers, self._timeout)
        if not 200 <= answer.status < 300:  # noqa: PLR2004  # the specification: "2xx is success"
            raise failure(f"{who} answered {answer.status}", answer.status, answer.retry_after)
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


def keys(secret: str) -> tuple[bytes, ...]:
    """Read a secret: one ``whsec_…``, or several while one replaces another; ValueError says what is wrong."""
    return tuple(_key(part) for part in secret.split())


def _key(text: str) -> bytes:
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not text.startswith(_PREFIX) or not _SHORTEST <= len(key) <= _LONGEST:
        raise ValueError(
            f"invalid secret (expected {_PREFIX} and the base64 of {_SHORTEST} to {_LONGEST} random bytes)"
        )
    return key


def _build(settings: Settings, setup: Setup) -> Channel:
    endpoints = {name: _endpoint(name, endpoint, setup) for name, endpoint in settings.endpoints.items()}
    return Webhook(endpoints, setup.session, timeout=settings.timeout)


def _endpoint(name: str, settings: EndpointSettings, setup: Setup) -> Endpoint:
    key = f".endpoints.{name}.secret"
    secret = setup.secret(key, settings.secret, settings.secret_file, several=True)
    try:
        return Endpoint(Secret(settings.url), keys(secret.reveal()))
    except ValueError as error:
        raise setup.place.error(key, str(error)) from None


def _check(settings: Settings, place: Place) -> None:
    for name, endpoint in settings.endpoints.items():
        if not is_http(endpoint.url):
            raise place.error(f".endpoints.{name}.url", "invalid URL (expected e.g. https://example.com/hook)")


def _host_of(settings: Settings, address: str) -> str:
    endpoint = settings.endpoints.get(address)
    return urlsplit(endpoint.url).netloc if endpoint else ""


CHANNEL = Declaration(
    settings=Settings,
    build=_build,
    check=_check,
    wrong_address=lambda settings, name: unknown_name("endpoint", name, settings.endpoints, "webhook.endpoints"),
    host_of=_host_of,
    read_by_people=False,
)
