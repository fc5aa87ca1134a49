"""Decodes webhook bodies of Alertmanager, and of senders like it, into alert groups; takes all it can read. Pure.

- Alertmanager, Mimir and Cortex: prometheus.io/docs/alerting/latest/configuration/#webhook_config, version "4". Later
  releases add fields (`notification_reason`, `routeLabels`): unknown ones are passed over.
- Grafana's unified alerting: version "1", the same with fields of its own
  (grafana.com/docs/grafana/latest/alerting/configure-notifications/manage-contact-points/integrations/webhook-notifier).
- Scripts and gateways that send the same shape without `fingerprint`, `status` or `groupKey`.

The group's `commonLabels` are not read on purpose, and its `status` only where an alert has none: with `max_alerts`
Alertmanager computes both from what it left in the message.
"""

import functools
import hashlib
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec

from receiver.incident.model import UNKNOWN_START, Alert, AlertGroup

A = TypeVar("A")
T = TypeVar("T")

VERSIONS = ("4", "1")
_LONGEST_FINGERPRINT = 128  # characters; Alertmanager's have 16
_LONGEST_KEY = 4096  # characters of a group's key; it is an index of the database
_MOST_TRUNCATED = 1_000_000_000
_REASON_SHOWN = 200  # characters of a decoder's error
_BOM = b"\xef\xbb\xbf"
# An escaped half of a surrogate pair without the other one, or anything else after a backslash.
_ESCAPES = re.compile(
    rb"(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|\\u[dD][89a-fA-F][0-9a-fA-F]{2}|(\\.)", re.DOTALL
)
_FNV_OFFSET, _FNV_PRIME, _64_BITS = 0xCBF29CE484222325, 0x100000001B3, 0xFFFFFFFFFFFFFFFF
_LATEST = datetime(2200, 1, 1, tzinfo=UTC)  # a later time means "without end", and cannot be moved to every time zone
_LONGEST_TIME = 64  # characters
_SPELLED = ("firing", "resolved")  # as Alertmanager does
_STATUSES = {"firing": True, "alerting": True, "resolved": False, "ok": False}  # the second of each: Grafana's `state`


class PayloadError(Exception):
    """The body cannot be understood as alerts; the text names the field and what it should be."""


class Payload(msgspec.Struct, frozen=True):
    """What one body says: its groups, and why each alert that is in none of them was dropped."""

    groups: tuple[AlertGroup, ...]
    dropped: tuple[str, ...] = ()


class _UnusableError(Exception):
    """One alert says too little to be kept; the text says what is missing."""


# The fields hold whatever JSON the sender wrote: one of a wrong type must not cost the whole group.
class _Alert(msgspec.Struct, frozen=True, rename="camel"):
    status: Any = None
    labels: Any = None
    annotations: Any = None
    starts_at: Any = None
    ends_at: Any = None
    fingerprint: Any = None
    generator_url: Any = msgspec.field(default=None, name="generatorURL")
    dashboard_url: Any = msgspec.field(default=None, name="dashboardURL")
    panel_url: Any = msgspec.field(default=None, name="panelURL")
    value_string: Any = None


# As Alertmanager writes them, and nearly all come: decoded at once, for a third of the time.
class _PlainAlert(msgspec.Struct, frozen=True, rename="camel"):
    status: Literal["firing", "resolved"]
    labels: Annotated[dict[str, str], msgspec.Meta(min_length=1)]
    fingerprint: Annotated[str, msgspec.Meta(min_length=1, max_length=_LONGEST_FINGERPRINT)]
    annotations: dict[str, str] = {}  # msgspec copies a mutable default
    starts_at: Annotated[str, msgspec.Meta(max_length=_LONGEST_TIME)] = ""
    ends_at: Annotated[str, msgspec.Meta(max_length=_LONGEST_TIME)] = ""
    generator_url: str = msgspec.field(default="", name="generatorURL")
    dashboard_url: None = msgspec.field(default=None, name="dashboardURL")
    panel_url: None = msgspec.field(default=None, name="panelURL")
    value_string: None = None


class _Body(msgspec.Struct, Generic[A], frozen=True, rename="camel"):
    alerts: list[A] | None
    version: Any = None
    group_key: Any = None
    receiver: Any = None
    status: Any = None
    group_labels: Any = None
    truncated_alerts: Any = None


_body = msgspec.json.Decoder(_Body[msgspec.Raw])
_plain_body = msgspec.json.Decoder(_Body[_PlainAlert])
_alert = msgspec.json.Decoder(_Alert)


def parse(body: bytes, now: datetime) -> Payload:
    """Turn the body of one webhook request into the groups that it speaks of; PayloadError names what is wrong.

    A body without `groupKey` and `groupLabels` gives one group for each alert name. PayloadError also when no alert of
    the body is usable. ``now`` is the end of a resolved alert that names none.
    """
    try:
        payload = _decoded(body)
    except (msgspec.DecodeError, RecursionError) as error:
        text = str(error)[:_REASON_SHOWN]
        raise PayloadError(f"not an Alertmanager webhook payload of version 4: {text}") from error
    version = _version(payload.version)
    if version not in VERSIONS:
        text = "Alertmanager 0.25 and later send '4', Grafana '1'"
        raise PayloadError(f"version: {version[:20]!r} is not supported; {text}")
    alerts, dropped = _usable(payload, now)
    if dropped and not alerts:
        raise PayloadError(f"no alert can be used: {dropped[0]}")
    # Of several mentions of an episode the last counts: nobody must take a resolve for newer that came before a firing.
    last = {(alert.fingerprint, alert.starts_at): alert for alert in alerts}
    return Payload(tuple(_groups(payload, list(last.values()), len(dropped))), tuple(dropped))


def fingerprint(labels: dict[str, str]) -> str:
    """Compute Alertmanager's fingerprint of a label set: FNV-1a over the sorted labels, 16 hexadecimal digits.

    github.com/prometheus/common/blob/main/model/labelset.go and fnv.go.
    """
    hashed = _FNV_OFFSET
    for byte in b"".join(
        name.encode() + b"\xff" + labels[name].encode() + b"\xff" for name in sorted(labels, key=str.encode)
    ):
        hashed = (hashed ^ byte) * _FNV_PRIME & _64_BITS
    return f"{hashed:016x}"


def decoded(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Decode, as Go does: what is no UTF-8, and half a surrogate pair, is U+FFFD (some senders cut texts within emoji).

    Raises msgspec.DecodeError, or RecursionError.
    """
    body = body.removeprefix(_BOM)
    try:
        body.decode()
    except UnicodeDecodeError:
        body = body.decode("utf-8", "replace").encode()
    try:
        return decoder.decode(body)
    except msgspec.DecodeError:
        mended = _ESCAPES.sub(lambda match: match[1] or match[2] or rb"\ufffd", body)
        if mended == body:
            raise
        return decoder.decode(mended)


def _decoded(body: bytes) -> _Body[_PlainAlert] | _Body[msgspec.Raw]:
    """Decode all alerts at once; where any of them is written in another way, each by itself."""
    try:
        return _plain_body.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return decoded(body, _body)


def _version(value: object) -> str:
    """Read it as text or as a number, which other languages write as 4.0; none is Alertmanager's."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return _text(value).removesuffix(".0") or VERSIONS[0]


def _usable(payload: _Body[Any], now: datetime) -> tuple[list[Alert], list[str]]:
    if payload.alerts and isinstance(payload.alerts[0], _PlainAlert):
        return [_as_it_is(alert, now) for alert in payload.alerts], []
    alerts: list[Alert] = []
    dropped: list[str] = []
    group_is_firing = _STATUSES.get(_word(payload.status), True)
    for number, raw in enumerate(payload.alerts or ()):
        try:
            alerts.append(_read(_alert.decode(raw), group_is_firing, now))
        except (msgspec.DecodeError, RecursionError) as error:
            dropped.append(f"alerts[{number}]: {str(error)[:_REASON_SHOWN]}")
        except _UnusableError as error:
            dropped.append(f"alerts[{number}]{error}")
    return alerts, dropped


def _as_it_is(alert: _PlainAlert, now: datetime) -> Alert:
    """Give what ``_read`` would."""
    start, end, firing = _instant(alert.starts_at), _instant(alert.ends_at), alert.status == "firing"
    return Alert(
        alert.fingerprint,
        firing,
        start or UNKNOWN_START,
        end if firing or start or end else now,
        alert.labels,
        alert.annotations,
        alert.generator_url,
    )


def _read(alert: _Alert, group_is_firing: bool, now: datetime) -> Alert:  # noqa: FBT001  # the group's own status
    labels = _labels(alert.labels)
    sent = _text(alert.fingerprint)
    if not labels and not sent:
        raise _UnusableError(".labels: missing; an alert is known by its labels")
    start, end = _time(alert.starts_at), _time(alert.ends_at)
    firing = _is_firing(alert, end, group_is_firing, now)
    return Alert(
        fingerprint=sent if 0 < len(sent) <= _LONGEST_FINGERPRINT else fingerprint(labels or {"fingerprint": sent}),
        firing=firing,
        starts_at=start or UNKNOWN_START,
        # A resolve that gives no times still ends what fires.
        ends_at=end if firing or start or end else now,
        labels=labels,
        annotations=_annotations(alert),
        generator_url=_text(alert.generator_url),
    )


def _is_firing(alert: _Alert, end: datetime | None, group_is_firing: bool, now: datetime) -> bool:  # noqa: FBT001  # as above
    status = alert.status if alert.status in _SPELLED else _word(alert.status)
    if status:
        if status not in _STATUSES:
            raise _UnusableError(f".status: invalid {status[:20]!r} (expected firing or resolved)")
        return _STATUSES[status]
    return end > now if end is not None else group_is_firing


def _labels(value: object) -> dict[str, str]:
    plain = _plain(value)
    if plain is not None:
        return plain
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _UnusableError(f".labels: expected an object, got {type(value).__name__}")
    nested = next((name for name, content in value.items() if isinstance(content, dict | list)), None)
    if nested is not None:
        raise _UnusableError(f".labels[{nested[:60]!r}]: expected text")
    return _texts(value)


def _annotations(alert: _Alert) -> dict[str, str]:
    """The sender's own, and from Grafana's fields what it says nowhere else."""
    annotations = _texts(alert.annotations)
    if alert.panel_url is None and alert.dashboard_url is None and alert.value_string is None:
        return annotations
    dashboard = _text(alert.panel_url) or _text(alert.dashboard_url)
    if dashboard:
        annotations.setdefault("dashboard_url", dashboard)
    values = _text(alert.value_string)
    if values and not {"summary", "description", "message"} & annotations.keys():
        annotations["description"] = values
    return annotations


def _groups(payload: _Body[Any], alerts: list[Alert], dropped: int) -> Iterable[AlertGroup]:
    # The receiver's name arrives regex-quoted: "web.hook" as "web\.hook" (Alertmanager's template.go, QuoteMeta).
    receiver = re.sub(r"\\(.)", r"\1", _text(payload.receiver))
    labels, truncated = _texts(payload.group_labels), _count(payload.truncated_alerts)
    members: dict[str, list[Alert]] = {}
    key = _text(payload.group_key)
    if key or isinstance(payload.group_labels, dict):
        members[key or _group_key(labels)] = alerts
    else:
        for alert in alerts:
            name = alert.labels.get("alertname", "")
            members.setdefault(_group_key({"alertname": name} if name else {}), []).append(alert)
    for name, listed in members.items():
        yield AlertGroup(
            key=_bounded(f"{receiver}|{name}"),
            alerts=tuple(listed),
            truncated=truncated,
            receiver=receiver,
            labels=labels,
            dropped=dropped,
        )


def _count(value: object) -> int:
    """Read how many it is, as a number or as text; what is no number is none."""
    text = _word(value).removesuffix(".0")
    if not (text.isascii() and text.isdigit()):
        return 0
    return min(int(text), _MOST_TRUNCATED) if len(text) < _LONGEST_TIME else _MOST_TRUNCATED


def _group_key(labels: dict[str, str]) -> str:
    """Write the key that Alertmanager gives to a group of its root route."""
    inner = ", ".join(f'{name}="{value}"' for name, value in sorted(labels.items()))
    return f"{{}}:{{{inner}}}"


def _bounded(key: str) -> str:
    if len(key) <= _LONGEST_KEY:
        return key
    return f"{key[:200]}…{hashlib.sha256(key.encode()).hexdigest()}"


def _plain(value: object) -> dict[str, str] | None:
    """Copy an object that holds nothing but texts, as nearly all do; None for everything else."""
    try:
        return msgspec.convert(value, dict[str, str])
    except msgspec.ValidationError:
        return None


def _texts(value: object) -> dict[str, str]:
    """Give what is text, numbers and truth values as text; null and what is nested is left out."""
    if not isinstance(value, dict):
        return {}
    plain = _plain(value)
    if plain is not None:
        return plain
    return {name: _text(content) for name, content in value.items() if isinstance(content, str | int | float)}


def _text(value: object) -> str:
    if type(value) is str:  # the rule, and the first to be asked: each webhook asks it hundreds of times
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else ""


def _word(value: object) -> str:
    return _text(value).strip().lower()


def _time(value: object) -> datetime | None:
    """Read RFC 3339; None for what is no time.

    Go's zero time, 0001-01-01T00:00:00Z, means "not yet"; near both ends of the calendar a time with an offset cannot
    even be moved to UTC.
    """
    return _instant(value) if isinstance(value, str) and len(value) <= _LONGEST_TIME else None


@functools.lru_cache(maxsize=256)  # most alerts of a webhook begin together, and none of them has ended
def _instant(text: str) -> datetime | None:
    try:
        when = datetime.fromisoformat(text.strip())
        moved = (when if when.tzinfo else when.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return moved if UNKNOWN_START < moved < _LATEST else None
