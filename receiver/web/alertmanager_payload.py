"""Decodes Alertmanager's webhook payload, version 4, into an AlertGroup; tolerant of what it does not know. Pure.

prometheus.io/docs/alerting/latest/configuration/#webhook_config. Later releases add fields (`notification_reason`,
`routeLabels`): unknown ones are passed over. `status` and `commonLabels` of the group are not read on purpose: with
`max_alerts` Alertmanager computes them from what it left in the message.
"""

import re
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec

from receiver.incident.model import Alert, AlertGroup

_When = Annotated[datetime, msgspec.Meta(tz=True)]


class PayloadError(Exception):
    """The body is no version 4 payload; the text names the field and what it should be."""


class _Alert(msgspec.Struct, frozen=True, rename="camel"):
    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    starts_at: _When
    fingerprint: Annotated[str, msgspec.Meta(min_length=1)]
    annotations: dict[str, str] = {}
    ends_at: _When | None = None
    generator_url: str = msgspec.field(default="", name="generatorURL")


class _Payload(msgspec.Struct, frozen=True, rename="camel"):
    version: str
    group_key: Annotated[str, msgspec.Meta(min_length=1)]
    receiver: str
    alerts: tuple[_Alert, ...]
    group_labels: dict[str, str] = {}  # msgspec copies a mutable default
    truncated_alerts: Annotated[int, msgspec.Meta(ge=0)] = 0


_decoder = msgspec.json.Decoder(_Payload)


def parse(body: bytes) -> AlertGroup:
    """Turn the body of one webhook request into the group that it speaks of; PayloadError names what is wrong."""
    try:
        payload = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PayloadError(f"not an Alertmanager webhook payload of version 4: {error}") from error
    if payload.version != "4":
        raise PayloadError(f"version: {payload.version!r} is not supported; Alertmanager 0.25 and later send '4'")
    # The receiver's name arrives regex-quoted: "web.hook" as "web\.hook" (Alertmanager's template.go, QuoteMeta).
    receiver = re.sub(r"\\(.)", r"\1", payload.receiver)
    return AlertGroup(
        key=f"{receiver}|{payload.group_key}",
        alerts=tuple(_alert(alert) for alert in payload.alerts),
        truncated=payload.truncated_alerts,
        receiver=receiver,
        labels=payload.group_labels,
    )


def _alert(alert: _Alert) -> Alert:
    return Alert(
        fingerprint=alert.fingerprint,
        firing=alert.status == "firing",
        starts_at=_utc(alert.starts_at) or datetime.min.replace(tzinfo=UTC),
        ends_at=_utc(alert.ends_at),
        labels=alert.labels,
        annotations=alert.annotations,
        generator_url=alert.generator_url,
    )


def _utc(when: datetime | None) -> datetime | None:
    """Go's zero time, 0001-01-01T00:00:00Z, means "not yet"; with an offset it cannot even be moved to UTC."""
    return when.astimezone(UTC) if when is not None and when.year > 1 else None
