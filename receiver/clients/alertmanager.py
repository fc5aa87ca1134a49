"""Speaks Alertmanager's API v2: which alerts it has, what silences them, and silences of our own.

github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal, TypeVar

import aiohttp
import msgspec

from receiver.clients.http_api import Access, ApiError, Failure, call
from receiver.incident.model import Alert

_TIMEOUT = 30.0  # seconds
_SOON = 3.0  # seconds
_PRESSED = 5.0  # seconds that somebody waits who has pressed a button
_LONGEST_REASON = 200  # characters of what Alertmanager says of what it refuses
T = TypeVar("T")
_When = Annotated[datetime, msgspec.Meta(tz=True)]


class Seen(msgspec.Struct, frozen=True):
    """One alert as the API shows it; ``mutes`` names what keeps it from being sent, by kind."""

    alert: Alert
    receivers: tuple[str, ...]
    silences: tuple[str, ...] = ()
    inhibitors: tuple[str, ...] = ()
    muted: tuple[str, ...] = ()
    updated_at: datetime | None = None  # when it was last posted; Alertmanager's own repeats do not move it

    @property
    def is_mute(self) -> bool:
        """Say whether Alertmanager sends nothing of it."""
        return bool(self.silences or self.inhibitors or self.muted)


class Silence(msgspec.Struct, frozen=True):
    """One silence."""

    id: str
    author: str
    comment: str
    ends_at: datetime


class Condition(msgspec.Struct, frozen=True, rename="camel"):
    """One matcher of a silence, as the API writes it."""

    name: str
    value: str
    is_regex: bool = False
    is_equal: bool = True


class Wanted(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A silence as it is posted: with an ``id``, that one is changed."""

    matchers: tuple[Condition, ...]
    starts_at: datetime
    ends_at: datetime
    created_by: str
    comment: str
    id: str = ""


class Known(msgspec.Struct, frozen=True, rename="camel"):
    """A silence as Alertmanager has it, active or not."""

    id: str
    matchers: tuple[Condition, ...]
    starts_at: _When
    ends_at: _When
    status: "_SilenceStatus"
    created_by: str = ""
    comment: str = ""

    @property
    def is_over(self) -> bool:
        """Say whether it has ended: a post under its id then makes another one."""
        return self.status.state == "expired"


class _Posted(msgspec.Struct, frozen=True):
    silenceID: Annotated[str, msgspec.Meta(max_length=200)]  # noqa: N815  # the API's; a UUID


class View(msgspec.Struct, frozen=True):
    """One reading of the API: alerts by fingerprint, silences by id."""

    alerts: dict[str, Seen]
    silences: dict[str, Silence]


class _Receiver(msgspec.Struct, frozen=True):
    name: str


class _Status(msgspec.Struct, frozen=True, rename="camel"):
    state: str
    silenced_by: tuple[str, ...] = ()
    inhibited_by: tuple[str, ...] = ()
    muted_by: tuple[str, ...] = ()


class _Alert(msgspec.Struct, frozen=True, rename="camel"):
    fingerprint: str
    starts_at: _When
    labels: dict[str, str]
    receivers: tuple[_Receiver, ...]
    status: _Status
    annotations: dict[str, str] = {}  # msgspec copies a mutable default
    generator_url: str = msgspec.field(default="", name="generatorURL")
    updated_at: _When | None = None


class _SilenceStatus(msgspec.Struct, frozen=True):
    state: str


class _Silence(msgspec.Struct, frozen=True, rename="camel"):
    id: str
    ends_at: _When
    status: _SilenceStatus
    created_by: str = ""
    comment: str = ""


class AlertmanagerApi:
    """One Alertmanager (any of a cluster knows the same)."""

    def __init__(
        self, url: str, session: aiohttp.ClientSession, access: Access | None = None, *, patience: float = _PRESSED
    ) -> None:
        """``patience``: seconds of one call that somebody waits for who has pressed a button."""
        self._patience = patience
        self._url, self._session, self._access = url.rstrip("/"), session, access or Access()

    async def view(self) -> View:
        """Read alerts and silences; ApiError if either cannot be had."""
        alerts = await self._read("/api/v2/alerts", tuple[_Alert, ...])
        silences = await self._read("/api/v2/silences", tuple[_Silence, ...])
        return View(
            alerts={alert.fingerprint: _seen(alert) for alert in alerts},
            silences={
                s.id: Silence(s.id, s.created_by, s.comment, s.ends_at.astimezone(UTC))
                for s in silences
                if s.status.state == "active"
            },
        )

    async def watchdogs(self, name: str) -> list[Seen]:
        """Read the alerts of one name; ApiError if they cannot be had soon, for somebody waits for the answer."""
        asked = {"filter": f'alertname="{name}"'}
        alerts = await self._read("/api/v2/alerts", tuple[_Alert, ...], asked, seconds=_SOON)
        return [_seen(alert) for alert in alerts]

    async def silences(self) -> dict[str, Known]:
        """Read the silences by their ids, those that have ended lately too; ApiError if they cannot be had soon."""
        listed = await self._read("/api/v2/silences", tuple[Known, ...], seconds=self._patience)
        return {one.id: one for one in listed}

    async def matching(self, matchers: Sequence[str]) -> list[Seen]:
        """Read the alerts that a silence with these matchers would mute; ApiError if they cannot be had soon."""
        asked = [("filter", matcher) for matcher in matchers]
        alerts = await self._read("/api/v2/alerts", tuple[_Alert, ...], asked, seconds=self._patience)
        return [_seen(alert) for alert in alerts]

    async def post(self, wanted: Wanted) -> str:
        """Make or change a silence; gives its id, which may be another one than before. ApiError if that failed."""
        sent = msgspec.json.encode(wanted)
        status, body = await self._call("POST", "/api/v2/silences", self._patience, body=sent)
        return _decode(status, body, _Posted).silenceID

    async def expire(self, silence: str) -> bool:
        """End a silence, again if need be; False if Alertmanager has forgotten it. ApiError if that failed."""
        status, body = await self._call("DELETE", f"/api/v2/silence/{silence}", self._patience)
        if status not in {200, 404}:
            raise ApiError(Failure.REFUSED, _refusal(status, body))
        return status == 200  # noqa: PLR2004  # OK

    async def _call(
        self,
        method: Literal["GET", "POST", "DELETE"],
        path: str,
        seconds: float,
        asked: Mapping[str, str] | Sequence[tuple[str, str]] | None = None,
        body: bytes | None = None,
    ) -> tuple[int, bytes]:
        return await call(
            self._session,
            method,
            f"{self._url}{path}",
            name="Alertmanager",
            seconds=seconds,
            headers={**self._access.headers, **({"Content-Type": "application/json"} if body is not None else {})},
            parameters=asked,
            body=body,
            trust=self._access.trust,
        )

    async def _read(
        self,
        path: str,
        kind: type[T],
        asked: Mapping[str, str] | Sequence[tuple[str, str]] | None = None,
        seconds: float = _TIMEOUT,
    ) -> T:
        return _decode(*await self._call("GET", path, seconds, asked), kind)


def _decode(status: int, body: bytes, kind: type[T]) -> T:
    if status != 200:  # noqa: PLR2004  # OK
        raise ApiError(Failure.REFUSED, _refusal(status, body))
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ApiError(Failure.UNREADABLE, f"invalid answer, is it Alertmanager? ({error})") from error


def _refusal(status: int, body: bytes) -> str:
    """Say what Alertmanager answered; of a 400 also why, which is a JSON text about what was sent."""
    try:
        said = msgspec.json.decode(body, type=str) if status == 400 else ""  # noqa: PLR2004  # bad request
    except (msgspec.DecodeError, UnicodeDecodeError):
        said = ""
    why = " ".join(said.split())[:_LONGEST_REASON]
    return f"Alertmanager answered {status}{': ' if why else ''}{why}"


def _seen(alert: _Alert) -> Seen:
    starts_at = alert.starts_at.astimezone(UTC) if alert.starts_at.year > 1 else datetime(1970, 1, 1, tzinfo=UTC)
    return Seen(
        alert=Alert(alert.fingerprint, True, starts_at, None, alert.labels, alert.annotations, alert.generator_url),  # noqa: FBT003  # it fires
        receivers=tuple(receiver.name for receiver in alert.receivers),
        silences=alert.status.silenced_by,
        inhibitors=alert.status.inhibited_by,
        muted=alert.status.muted_by,
        updated_at=alert.updated_at.astimezone(UTC) if alert.updated_at and alert.updated_at.year > 1 else None,
    )
