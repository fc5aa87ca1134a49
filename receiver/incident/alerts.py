"""Merges what Alertmanager says of a group into an incident's alerts, however late or often it says it. Pure.

An episode is (fingerprint, startsAt): a cluster of Alertmanagers legitimately sends firing, resolved, firing,
resolved within seconds (github.com/prometheus/alertmanager/issues/4008), so a late "firing" of an episode that
is over must change nothing.
"""

from datetime import datetime, timedelta

import msgspec

from receiver.incident.event import AlertsReceived
from receiver.incident.model import Alert, Data, Decision, Entry, EntryKind, Incident

ALERTS = "alerts"  # who resolved it, when nobody did

# How long an episode that is over is remembered; longer than any repeat_interval, so that an alert which a person
# resolved by hand stays quiet while it goes on firing.
REMEMBER = timedelta(days=30)


def merge(incident: Incident, event: AlertsReceived, now: datetime) -> Decision:
    """Give the incident with the group's news taken in, and a line of timeline for each.

    An episode that Alertmanager's own API confirms to be firing is not over, unless a person has said so.
    """
    group = event.group
    by_hand = incident.resolved_by not in {"", ALERTS}
    alerts, ended = dict(incident.alerts), dict(incident.ended)
    entries: list[Entry] = []
    for alert in group.alerts:
        known = alerts.get(alert.fingerprint)
        if alert.firing:
            if _is_over(alert, ended) and (by_hand or not event.confirmed):
                continue
            current = _firing(alert, known)
            if known is None or not known.firing or current.starts_at > known.starts_at:
                entries.append(Entry(now, EntryKind.ALERT_FIRING, _named(alert)))
            alerts[alert.fingerprint] = current
        elif known is not None and known.firing and _ends(alert, known):
            alerts[alert.fingerprint] = msgspec.structs.replace(alert, starts_at=known.starts_at)
            ended[alert.fingerprint] = known.starts_at
            entries.append(Entry(now, EntryKind.ALERT_RESOLVED, _named(alert)))
    if group.truncated and group.truncated != incident.truncated:
        entries.append(Entry(now, EntryKind.ALERTS_TRUNCATED, Data(count=group.truncated)))
    if entries and event.found:
        entries.insert(0, Entry(now, event.found))
    taken = msgspec.structs.replace(
        incident,
        receiver=incident.receiver or group.receiver,
        group_labels=incident.group_labels or group.labels,
        alerts=alerts,
        ended=ended,
        truncated=group.truncated,
    )
    return Decision(taken, entries=tuple(entries))


def joined(before: Incident, after: Incident) -> tuple[Alert, ...]:
    """Give the alerts that have begun to fire, or begun again."""
    return tuple(
        alert
        for alert in after.firing
        if (known := before.alerts.get(alert.fingerprint)) is None
        or not known.firing
        or known.starts_at < alert.starts_at
    )


def end_all(incident: Incident) -> dict[str, datetime]:
    """Mark every episode that fires as over: what a resolve by hand means."""
    return {**incident.ended, **{a.fingerprint: a.starts_at for a in incident.firing}}


def remembered(ended: dict[str, datetime], now: datetime) -> dict[str, datetime]:
    """Give the endings that the next incident of the same group must still know."""
    return {fingerprint: start for fingerprint, start in ended.items() if now - start < REMEMBER}


def _is_over(alert: Alert, ended: dict[str, datetime]) -> bool:
    return alert.fingerprint in ended and alert.starts_at <= ended[alert.fingerprint]


def _firing(alert: Alert, known: Alert | None) -> Alert:
    """Alertmanager may move startsAt back (it merges overlapping alerts to the earliest): keep the newest known."""
    if known is not None and known.firing and alert.starts_at < known.starts_at:
        return msgspec.structs.replace(alert, starts_at=known.starts_at)
    return alert


def _ends(alert: Alert, known: Alert) -> bool:
    """A delayed resolve of an earlier episode must not end the present one."""
    return alert.starts_at >= known.starts_at or (alert.ends_at is not None and alert.ends_at > known.starts_at)


def _named(alert: Alert) -> Data:
    where = alert.labels.get("instance") or alert.labels.get("job") or ""
    return Data(alert=alert.labels.get("alertname", ""), where=where)
