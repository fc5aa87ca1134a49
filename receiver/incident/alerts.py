"""Merges what Alertmanager says of a group into an incident's alerts, however late or often it says it. Pure.

An episode is (fingerprint, startsAt): a cluster of Alertmanagers legitimately sends firing, resolved, firing,
resolved within seconds (github.com/prometheus/alertmanager/issues/4008), so a "firing" of an episode that has just
ended is an echo. One that comes later is a refire: Prometheus keeps startsAt when a rule fails for a moment.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from receiver.incident.event import AlertsReceived
from receiver.incident.model import (
    UNKNOWN_START,
    Alert,
    AlertGroup,
    Data,
    Decision,
    Ending,
    Entry,
    EntryKind,
    Incident,
    State,
)

ALERTS = "alerts"  # who resolved it, when nobody did

# How long an episode that a person has ended is remembered; longer than any repeat_interval, so that it stays quiet
# while it goes on firing.
REMEMBER = timedelta(days=30)
DRILL = "drill"  # the label of an alert that is an exercise
LISTED = 50  # alerts that have resolved and stay listed: what a late webhook or the API may still speak of
_NAMED = 10  # alerts that one webhook names in the timeline
_MOST_ENDED = 1000  # episodes that a person has ended and that are remembered
_MOST_ECHOES = 5000  # episodes that have just ended, of which another replica may still say that they fire
_MOST_DOUBTED = 50
ECHO = timedelta(seconds=90)  # how long after the end of an episode another replica may still say that it fires


def merge(incident: Incident, event: AlertsReceived, now: datetime) -> Decision:
    """Give the incident with the group's news taken in, and a line of timeline for each.

    An episode that Alertmanager's own API confirms to be firing is not over, unless a person has said so.
    """
    group, alerts = event.group, dict(incident.alerts)
    echoes = {name: ending for name, ending in incident.echoes.items() if now - ending.at < ECHO}
    believed = event.confirmed or incident.held  # what is held back has not ended
    by_hand = incident.ended or incident.ended_ahead
    begun, over = list[Alert](), list[Alert]()
    for alert in group.alerts:
        known = alerts.get(alert.fingerprint)
        if not alert.firing:
            if known is not None and known.firing and _ends(alert, known, now):
                del alerts[alert.fingerprint]  # it is the newest of those that have resolved
                alerts[alert.fingerprint] = msgspec.structs.replace(alert, starts_at=known.starts_at)
                echoes[alert.fingerprint] = Ending(alert.starts_at, now)
                over.append(alert)
        elif not (by_hand and ended_by_hand(alert, incident)) and (
            believed or not (echoes and _is_echo(alert, echoes))
        ):
            alerts[alert.fingerprint] = current = _firing(alert, known, now)
            if _begins(current, known):
                begun.append(alert)
    entries = _lines(begun, EntryKind.ALERT_FIRING, EntryKind.ALERTS_FIRING, now)
    entries += _lines(over, EntryKind.ALERT_RESOLVED, EntryKind.ALERTS_RESOLVED, now)
    entries += _not_listed(incident, group, now)
    if entries and event.drift:
        entries.insert(0, Entry(now, event.drift))
    taken = msgspec.structs.replace(
        incident,
        source=group.source if incident.state is State.NEW else incident.source,
        receiver=incident.receiver or group.receiver,
        group_labels=incident.group_labels or group.labels,
        alerts=alerts,
        echoes=_newest(echoes) if entries and not event.drift else incident.echoes,  # what the API shows has no echo
        doubted=_doubted(incident, group, alerts) if echoes or incident.doubted else {},
        truncated=group.truncated,
        dropped=group.dropped,
    )
    resolved = [name for name, alert in alerts.items() if not alert.firing]
    return Decision(without(taken, resolved[:-LISTED]), entries=tuple(entries))


def _lines(alerts: list[Alert], one: EntryKind, more: EntryKind, now: datetime) -> list[Entry]:
    """Name the first alerts of a webhook in the timeline, and count the others."""
    named = [Entry(now, one, _named(alert)) for alert in alerts[:_NAMED]]
    return named + ([Entry(now, more, Data(count=len(alerts) - _NAMED))] if len(alerts) > _NAMED else [])


def without(incident: Incident, names: Iterable[str]) -> Incident:
    """Take alerts that have resolved off the list: a group may never end, and its new pods never come back."""
    dropped = set(names)
    if not dropped:
        return incident
    return msgspec.structs.replace(
        incident,
        alerts={name: alert for name, alert in incident.alerts.items() if name not in dropped},
        unlisted=incident.unlisted + len(dropped),
        real=incident.real or not all(is_drill(incident.alerts[name]) for name in dropped),
    )


def is_drill(alert: Alert) -> bool:
    """Say whether an alert is an exercise."""
    return alert.labels.get(DRILL) == "true"


def joined(before: Incident, after: Incident) -> tuple[Alert, ...]:
    """Give the alerts that have begun to fire, or begun again."""
    known = before.alerts
    if not known:
        return after.firing
    return tuple([alert for alert in after.firing if _begins(alert, known.get(alert.fingerprint))])


def _begins(alert: Alert, known: Alert | None) -> bool:
    return known is None or not known.firing or known.starts_at < alert.starts_at


def end_all(so_far: Decision, now: datetime) -> Decision:
    """Mark every episode that fires as ended by a person."""
    incident = so_far.incident
    ahead = {alert.fingerprint: alert.starts_at for alert in incident.firing if alert.starts_at > now}
    ended = {alert.fingerprint: min(alert.starts_at, now) for alert in incident.firing}
    return so_far.change(ended={**incident.ended, **ended}, ended_ahead={**incident.ended_ahead, **ahead})


def ended_by_hand(alert: Alert, incident: Incident) -> bool:
    """Say whether a person has ended this episode: it stays quiet as long as it goes on firing.

    One without a start cannot be told from the next, so it may page again.
    """
    name, start = alert.fingerprint, alert.starts_at
    if start <= UNKNOWN_START:
        return False
    return (name in incident.ended and start <= incident.ended[name]) or start == incident.ended_ahead.get(name)


def following(last: Incident | None, number: int, key: str, now: datetime) -> Incident:
    """Give the next incident of a group: it still knows the episodes that are over."""
    if last is None:
        return Incident(id=number, key=key)
    ended, ahead = _remembered(last.ended, now), _remembered(last.ended_ahead, now)
    return Incident(id=number, key=key, ended=ended, ended_ahead=ahead, echoes=last.echoes)


def _remembered(ended: dict[str, datetime], now: datetime) -> dict[str, datetime]:
    kept = [(fingerprint, start) for fingerprint, start in ended.items() if now - start < REMEMBER]
    return dict(sorted(kept, key=lambda one: one[1])[-_MOST_ENDED:])


def _newest(echoes: dict[str, Ending]) -> dict[str, Ending]:
    """Forget the oldest: a sender may end as many episodes within ``ECHO`` as it likes."""
    if len(echoes) <= _MOST_ECHOES:
        return echoes
    return dict(sorted(echoes.items(), key=lambda one: one[1].at)[-_MOST_ECHOES:])


def _is_echo(alert: Alert, echoes: dict[str, Ending]) -> bool:
    """A start in the future is compared as it is, for a real one that comes after it is earlier.

    What has no start was not sent by a cluster of Alertmanagers, but by a tool that says once that it fires again.
    """
    ending = echoes.get(alert.fingerprint)
    if ending is None or alert.starts_at <= UNKNOWN_START:
        return False
    return alert.starts_at == ending.starts_at or alert.starts_at <= min(ending.starts_at, ending.at)


def _doubted(incident: Incident, group: AlertGroup, alerts: dict[str, Alert]) -> dict[str, Alert]:
    """Give what was last called firing and was taken for an echo; a person's word is no doubt."""
    named = {alert.fingerprint for alert in group.alerts}
    doubted = {name: alert for name, alert in incident.doubted.items() if name not in named}
    for alert in group.alerts:
        known = alerts.get(alert.fingerprint)
        if alert.firing and not (known is not None and known.firing) and not ended_by_hand(alert, incident):
            doubted[alert.fingerprint] = alert
    return dict(list(doubted.items())[:_MOST_DOUBTED])


def _not_listed(incident: Incident, group: AlertGroup, now: datetime) -> list[Entry]:
    """Say once how many alerts of the group are not in the message, or could not be read in it."""
    counts = (
        (EntryKind.ALERTS_TRUNCATED, group.truncated, incident.truncated),
        (EntryKind.ALERTS_DROPPED, group.dropped, incident.dropped),
    )
    return [Entry(now, kind, Data(count=count)) for kind, count, before in counts if count not in {0, before}]


def _firing(alert: Alert, known: Alert | None, now: datetime) -> Alert:
    """Alertmanager may move startsAt back (it merges overlapping alerts to the earliest): keep the newest known."""
    if known is not None and known.firing and alert.starts_at < known.starts_at:
        return msgspec.structs.replace(alert, starts_at=known.starts_at)
    return alert if alert.starts_at > UNKNOWN_START else msgspec.structs.replace(alert, starts_at=now)


def _ends(alert: Alert, known: Alert, now: datetime) -> bool:
    """A delayed resolve of an earlier episode must not end the present one, unless it has not even begun."""
    over = alert.ends_at is not None and alert.ends_at > known.starts_at
    return alert.starts_at >= known.starts_at or over or known.starts_at > now


def _named(alert: Alert) -> Data:
    where = alert.labels.get("instance") or alert.labels.get("job") or ""
    return Data(alert=alert.labels.get("alertname", ""), where=where)
