"""Reads Alertmanager's API v2: which alerts it has, and what silences them.

github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import aiohttp
import msgspec

from receiver.clients.http_api import Access, ApiError, Failure, call
from receiver.incident.model import Alert

_TIMEOUT = 30.0  # seconds
_SOON = 3.0  # seconds
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

    def __init__(self, url: str, session: aiohttp.ClientSession, access: Access | None = None) -> None:
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

    async def _read(
        self, path: str, kind: type[T], asked: Mapping[str, str] | None = None, seconds: float = _TIMEOUT
    ) -> T:
        status, body = await call(
            self._session,
            "GET",
            f"{self._url}{path}",
            name="Alertmanager",
            seconds=seconds,
            headers=self._access.headers,
            parameters=asked,
            trust=self._access.trust,
        )
        if status != 200:  # noqa: PLR2004  # OK
            raise ApiError(Failure.REFUSED, f"Alertmanager answered {status}")
        try:
            return msgspec.json.decode(body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ApiError(Failure.UNREADABLE, f"invalid answer, is it Alertmanager? ({error})") from error


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
