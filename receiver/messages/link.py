"""Signs and reads the links in messages: who may answer which incident, until when. Pure.

A link needs no login, so it is the credential: HMAC-SHA256 over the installation, the incident with its opening and its
newest reopening, the person and the end of its life.
"""

import base64
import hmac
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from itertools import accumulate, pairwise
from typing import TypeVar

import msgspec

from receiver.incident.model import Incident

_MILLISECONDS = 1000  # of a second


class Refusal(StrEnum):
    """Why the page behind a link cannot be shown, or its button has no effect."""

    INCOMPLETE = "incomplete"
    FORGED = "forged"
    EXPIRED = "expired"
    UNKNOWN = "unknown"  # the incident has been deleted
    OTHER = "other"  # it is of another database: the number there was another incident
    OLDER = "older"  # the incident has fired again since
    TOO_LATE = "too_late"  # its resolve cannot be undone any more
    ENDED = "ended"  # its alerts have ended since the resolve: there is nothing to undo
    LEFT = "left"  # the person is not configured any more
    NO_VERB = "no_verb"  # the form did not say which button was pressed
    STORE = "store"  # the database cannot be used
    UNREADABLE = "unreadable"  # this incident cannot be read in it
    STUCK = "stuck"  # an error of the receiver keeps the incident from changing


class LinkError(Exception):
    """The link is not ours, was changed, or is too old; an expired one was ours, and says whose it is."""

    def __init__(self, refusal: Refusal, person: str = "") -> None:
        super().__init__(refusal.value)
        self.refusal, self.person = refusal, person


class Grant(msgspec.Struct, frozen=True, array_like=True):
    """What a link allows: to answer ``incident`` as ``person`` until ``expires`` (seconds since 1970).

    ``opened`` and ``fired`` are when it was opened, and last opened or reopened, in seconds since 1970;
    ``installation`` is the store's. Links of older versions have none of the three.
    """

    incident: int
    person: str
    expires: int
    opened: int = 0
    fired: int = 0
    installation: int = 0

    @classmethod
    def of(cls, incident: Incident, person: str, expires: int, installation: int) -> "Grant":
        """Grant the incident as it is open now."""
        opening = incident.opening
        return cls(incident.id, person, expires, opening.opened, opening.fired, installation)

    def refusal(self, incident: Incident, installation: int, valid_for: float) -> Refusal | None:
        """Say why this link cannot answer the incident of its number; None if it can."""
        if not self.opened:
            made_at = self.expires - valid_for
            return None if made_at >= incident.opening.fired - 1 else Refusal.OLDER
        now = Grant.of(incident, self.person, self.expires, installation)
        if (self.installation, self.opened) != (installation, now.opened):
            return Refusal.OTHER
        return Refusal.OLDER if self.fired != now.fired else None


class DigestGrant(msgspec.Struct, frozen=True, array_like=True):
    """What the link of a digest allows: to see and acknowledge its incidents as ``person`` until ``expires``.

    ``steps`` are the distances from one number to the next, which are short, and ``opened`` is when the first incident
    opened, in seconds since 1970: the numbers alone could be of another database. ``fired`` is when the last of them
    fired, in milliseconds: one that has fired again since is another one. ``installation`` is the store's. Links of
    older versions have neither of the last two.
    """

    first: int
    steps: tuple[int, ...]
    opened: int
    person: str
    expires: int
    fired: int = 0
    installation: int = 0

    @classmethod
    def of(cls, incidents: Iterable[Incident], person: str, expires: int, installation: int) -> "DigestGrant":
        """Grant these incidents as they are open now."""
        known = {incident.id: incident for incident in incidents}
        numbers = sorted(known)
        steps = tuple(later - earlier for earlier, later in pairwise(numbers))
        fired = max(map(_fired, known.values()))
        return cls(numbers[0], steps, known[numbers[0]].opening.opened, person, expires, fired, installation)

    def is_ours(self, first: Incident | None, installation: int) -> bool:
        """Say whether these are incidents of this store: ``first`` is the one of the first number here."""
        if self.installation:
            return self.installation == installation
        return first is not None and first.opening.opened == self.opened

    def has_seen(self, incident: Incident, valid_for: float) -> bool:
        """Say whether an incident is still as it was when the digest was written: it has not fired again."""
        made_at = (self.expires - valid_for + 1) * _MILLISECONDS  # of an older version
        return _fired(incident) <= (self.fired or made_at)

    @property
    def incidents(self) -> tuple[int, ...]:
        """Give the numbers."""
        return tuple(accumulate(self.steps, initial=self.first))


class ChartGrant(msgspec.Struct, frozen=True, array_like=True):
    """What the address of a picture allows: to see the chart of ``incident``, as ``person`` reads times.

    Slack and PagerDuty fetch it, and whoever reads there sees it: it lets nobody do anything else.
    """

    incident: int
    person: str
    expires: int
    opened: int
    installation: int

    @classmethod
    def of(cls, incident: Incident, person: str, expires: int, installation: int) -> "ChartGrant":
        """Grant the chart of an incident."""
        return cls(incident.id, person, expires, incident.opening.opened, installation)

    def is_ours(self, incident: Incident, installation: int) -> bool:
        """Say whether it is of this incident, and not of another one with its number."""
        return (self.installation, self.opened) == (installation, incident.opening.opened)


def _fired(incident: Incident) -> int:
    at = incident.reopened[-1] if incident.reopened else incident.opened_at
    return int(at.timestamp() * _MILLISECONDS) if at else 0


G = TypeVar("G", Grant, DigestGrant, ChartGrant)


def sign(grant: Grant, secret: str) -> str:
    """Write the grant as a token for a URL."""
    return _signed(grant, b"answer-link:", secret)


def sign_digest(grant: DigestGrant, secret: str) -> str:
    """Write the grant of a digest as a token for a URL."""
    return _signed(grant, b"digest-link:", secret)


def sign_chart(grant: ChartGrant, secret: str) -> str:
    """Write the grant of a picture as a token for a URL."""
    return _signed(grant, b"chart-link:", secret)


def read(token: str, secret: str, now: datetime) -> Grant:
    """Check and read a token; LinkError if it grants nothing."""
    return _read(token, Grant, b"answer-link:", secret, now)


def read_digest(token: str, secret: str, now: datetime) -> DigestGrant:
    """Check and read the token of a digest; LinkError if it grants nothing."""
    return _read(token, DigestGrant, b"digest-link:", secret, now)


def read_chart(token: str, secret: str, now: datetime) -> ChartGrant:
    """Check and read the token of a picture; LinkError if it grants nothing."""
    return _read(token, ChartGrant, b"chart-link:", secret, now)


def _signed(grant: Grant | DigestGrant | ChartGrant, use: bytes, secret: str) -> str:
    body = msgspec.json.encode(grant)
    return f"{_text(body)}.{_text(_mac(body, use, secret))}"


def _read(token: str, kind: type[G], use: bytes, secret: str, now: datetime) -> G:
    body, _, mac = token.partition(".")
    try:
        content, signature = _bytes(body), _bytes(mac)
    except ValueError as error:
        raise LinkError(Refusal.INCOMPLETE) from error
    if not hmac.compare_digest(signature, _mac(content, use, secret)):
        raise LinkError(Refusal.FORGED)
    grant = msgspec.json.decode(content, type=kind)
    if grant.expires < now.timestamp():
        raise LinkError(Refusal.EXPIRED, grant.person)
    return grant


def _mac(body: bytes, use: bytes, secret: str) -> bytes:
    return hmac.digest(secret.encode(), use + body, "sha256")


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
