"""Signs and reads the links in messages: who may answer which incident, until when. Pure.

A link needs no login, so it is the credential: HMAC-SHA256 over the incident, the person and the end of its life.
"""

import base64
import hmac
from datetime import datetime
from enum import StrEnum

import msgspec


class Refusal(StrEnum):
    """Why the page behind a link cannot be shown, or its button has no effect."""

    INCOMPLETE = "incomplete"
    FORGED = "forged"
    EXPIRED = "expired"
    UNKNOWN = "unknown"  # the incident has been deleted
    NO_VERB = "no_verb"  # the form did not say which button was pressed
    STORE = "store"  # the database cannot be used


class LinkError(Exception):
    """The link is not ours, was changed, or is too old; an expired one was ours, and says whose it is."""

    def __init__(self, refusal: Refusal, person: str = "") -> None:
        super().__init__(refusal.value)
        self.refusal, self.person = refusal, person


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
        raise LinkError(Refusal.INCOMPLETE) from error
    if not hmac.compare_digest(given, _mac(content, secret)):
        raise LinkError(Refusal.FORGED)
    grant = msgspec.json.decode(content, type=Grant)
    if grant.expires < now.timestamp():
        raise LinkError(Refusal.EXPIRED, grant.person)
    return grant


def _mac(body: bytes, secret: str) -> bytes:
    return hmac.digest(secret.encode(), b"answer-link:" + body, "sha256")


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
