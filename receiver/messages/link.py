"""Signs and reads the links in messages: who may answer which incident, until when. Pure.

A link needs no login, so it is the credential: HMAC-SHA256 over the incident, the person and the end of its life.
"""

import base64
import hmac
from datetime import datetime

import msgspec


class LinkError(Exception):
    """The link is not ours, was changed, or is too old; the text may be shown to whoever followed it."""


class Grant(msgspec.Struct, frozen=True, array_like=True):
    """What a link allows: to answer ``incident`` as ``person`` until ``expires`` (seconds since 1970)."""

    incident: int
    person: str
    expires: int


def sign(grant: Grant, secret: str) -> str:
    """Write the grant as a token for a URL."""
    body = msgspec.json.encode(grant)
    return f"{_text(body)}.{_text(_mac(body, secret))}"


def read(token: str, secret: str, now: datetime) -> Grant:
    """Check and read a token; LinkError if it grants nothing."""
    body, _, mac = token.partition(".")
    try:
        content, given = _bytes(body), _bytes(mac)
    except ValueError as error:
        raise LinkError("This link is not complete. Open it from the message again.") from error
    if not hmac.compare_digest(given, _mac(content, secret)):
        raise LinkError("This link was not made here, or it was changed on its way.")
    grant = msgspec.json.decode(content, type=Grant)
    if grant.expires < now.timestamp():
        raise LinkError("This link is too old. Use the newest message of the incident.")
    return grant


def _mac(body: bytes, secret: str) -> bytes:
    return hmac.digest(secret.encode(), b"answer-link:" + body, "sha256")


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
