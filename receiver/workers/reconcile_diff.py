"""Compares our incidents with what Alertmanager's own API says, and gives the events that make them agree. Pure.

A webhook is not everything: Alertmanager says nothing of what is silenced, nothing of what it forgot in a restart,
and nothing of the alerts that it left out of a truncated message.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

import msgspec
from msgspec.structs import replace

from receiver.clients.alertmanager import Seen, View
from receiver.incident.alerts import ALERTS, ended_by_hand
from receiver.incident.event import AlertsReceived, Event, Paused, Resumed
from receiver.incident.model import Alert, AlertGroup, EntryKind, Incident, Pause, PauseKind, State, merged_into
from receiver.store.base import Outline

Maintenance = Callable[[dict[str, str]], Pause | None]  # labels -> the window of receiver.yml that they stand in
VANISHED = timedelta(minutes=5)  # an Alertmanager that has just started knows nothing until Prometheus repeats itself
STILL_FIRING = timedelta(minutes=15)  # after a resolve by hand, for which what fires on is what the person expects
CONFIRMED = timedelta(seconds=90)  # a resolve and its API may disagree for a moment


class Finding(msgspec.Struct, frozen=True):
    """What is to be told to an incident, and what kind of difference it was."""

    kind: str
    event: Event


class Since:
    """Remembers since when something has been so, for as long as it is seen in every round.

    ``elapsed`` is a clock that nobody sets: one that is set must not make what has just begun look old.
    """

    def __init__(self, elapsed: Callable[[], float]) -> None:
        self._elapsed = elapsed
        self._since: dict[tuple[object, ...], float] = {}
        self._now: dict[tuple[object, ...], float] = {}

    def lasted(self, *what: object) -> timedelta:
        """Say for how long it has been seen."""
        passed = self._elapsed()
        self._now[what] = self._since.get(what, passed)
        return timedelta(seconds=passed - self._now[what])

    def next_round(self) -> None:
        """Forget what was not seen in this one."""
        self._since, self._now = self._now, {}


class Overview:
    """Looks at the outline of each open incident of a source: who has something to learn, and what nobody has."""

    def __init__(self, view: View, source: str) -> None:
        self._view, self._source = view, source
        self._firing = set[str]()
        self._receivers: dict[str, None] = {}

    def concerns(self, one: Outline) -> bool:
        """Say whether the API says anything of an incident that it may not know; see ``compare`` and ``missed``."""
        if not one.receiver or one.source != self._source:
            return False
        self._receivers[one.receiver] = None
        seen = self._view.alerts
        firing = [name for name, alert in one.alerts.items() if alert.firing]
        self._firing.update(firing)
        if one.truncated or (one.paused is not None and one.paused.kind is not PauseKind.MAINTENANCE):
            return True
        if any(name not in seen or seen[name].is_mute for name in firing):
            return True
        over = [name for name, alert in one.alerts.items() if not alert.firing]
        return any(name in seen for name in (*over, *one.ended, *one.ended_ahead))

    @property
    def receivers(self) -> tuple[str, ...]:
        """Name the receivers that have led to these incidents."""
        return tuple(self._receivers)

    def loose(self) -> View:
        """Show what fires, and in none of these incidents."""
        alerts = self._view.alerts.items()
        return replace(self._view, alerts={n: one for n, one in alerts if n not in self._firing and not one.is_mute})


def compare(  # what is known, what is seen, and since when
    incident: Incident,
    view: View,
    since: Since,
    now: datetime,
    *,
    blind: bool,
    maintenance: Maintenance = lambda _labels: None,
) -> list[Finding]:
    """Give what one incident has to learn, in order; one that is over, only that it fires on."""
    if incident.state is State.RESOLVED:
        return _confirmed(incident, view, since)
    findings = [*_completed(incident, view, blind=blind), *_confirmed(incident, view, since)]
    findings += _vanished(incident, view, since, now, blind=blind)
    return findings or _muted(incident, view, now, maintenance)


def merge_receivers(view: View, merged: tuple[str, ...]) -> View:
    """Show the alerts of several receivers as those of the first: they lead to the same incidents."""
    if not merged:
        return view

    def renamed(seen: Seen) -> Seen:
        return replace(seen, receivers=tuple(dict.fromkeys(merged_into(name, merged) for name in seen.receivers)))

    return replace(view, alerts={name: renamed(seen) for name, seen in view.alerts.items()})


def fired_on(loose: Iterable[str], view: View, receivers: Iterable[str], now: datetime) -> set[str]:
    """Give those of these alerts that are ours and have fired for so long that a person may have resolved them."""
    ours = set(receivers)
    seen = ((name, view.alerts[name]) for name in loose)
    return {
        name
        for name, one in seen
        if now - one.alert.starts_at >= STILL_FIRING and (not ours or ours & set(one.receivers))
    }


def still_firing(closed: Iterable[Incident], names: Iterable[str], view: View, now: datetime) -> dict[int, int]:
    """Count these alerts by the incident that a person resolved while they fired, if that is a while ago.

    ``closed``: incidents that are over, newest first; an alert counts in the newest that knows it.
    """
    left, counts = set(names), dict[int, int]()
    for incident in closed:
        known = left & incident.alerts.keys()
        left -= known
        if incident.resolved_at is None or now - incident.resolved_at < STILL_FIRING:
            continue
        count = sum(ended_by_hand(view.alerts[name].alert, incident) for name in known)
        if count and incident.resolved_by != ALERTS:
            counts[incident.id] = count
    return counts


def missed(  # what is known, what is seen, and since when
    incidents: Iterable[Incident],
    lately: Iterable[Incident],
    view: View,
    receivers: Iterable[str],
    after: timedelta,
    since: Since,
    now: datetime,
) -> list[AlertGroup]:
    """Give the alerts that fire, are ours, have been so for long enough to have been sent, and that nobody has.

    ``lately``: incidents that are over and may reopen; ``compare`` looks after their alerts.
    """
    incidents, ours = tuple(incidents), set(receivers)
    known = {name for incident in incidents if incident.state is not State.RESOLVED for name in incident.alerts}
    known |= {name for incident in lately for name in incident.alerts}
    groups, names = dict[str, list[Alert]](), dict[str, str]()
    for fingerprint, seen in view.alerts.items():
        receiver = next((name for name in seen.receivers if name in ours), "")
        if not receiver or fingerprint in known or seen.is_mute:
            continue
        lasted = now - seen.alert.starts_at
        if lasted < timedelta(0):  # its start lies in the future: what counts is how long we have seen it
            lasted = since.lasted("missed", fingerprint)
        if lasted < after or any(ended_by_hand(seen.alert, incident) for incident in incidents):
            continue
        key = f"{receiver}|reconciled:{seen.alert.labels.get('alertname', fingerprint)}"
        names[key] = receiver
        groups.setdefault(key, []).append(seen.alert)
    return [AlertGroup(key, tuple(alerts), receiver=names[key]) for key, alerts in groups.items()]


def _completed(incident: Incident, view: View, *, blind: bool) -> list[Finding]:
    """What a truncated message left out is in the API; what is muted would not have been in the message."""
    if not incident.truncated:
        return []
    alerts = tuple(
        seen.alert
        for seen in view.alerts.values()
        if not seen.is_mute
        and incident.receiver in seen.receivers
        and incident.group_labels.items() <= seen.alert.labels.items()
    )
    group = AlertGroup(incident.key, alerts, receiver=incident.receiver)
    return [Finding("completed", AlertsReceived(group, drift=EntryKind.COMPLETED, blind=blind))]


def _confirmed(incident: Incident, view: View, since: Since) -> list[Finding]:
    """An episode that we think over fires according to the API, and goes on doing so."""
    alerts = [
        view.alerts[alert.fingerprint].alert
        for alert in incident.alerts.values()
        if alert.fingerprint in view.alerts
        and not view.alerts[alert.fingerprint].is_mute
        and _is_over(incident, alert, view.alerts[alert.fingerprint].alert)
        and since.lasted("confirmed", incident.id, alert.fingerprint) >= CONFIRMED
    ]
    group = AlertGroup(incident.key, tuple(alerts), incident.truncated)
    event = AlertsReceived(group, drift=EntryKind.CONFIRMED, confirmed=True)
    return [Finding("confirmed", event)] if alerts else []


def _is_over(incident: Incident, known: Alert, seen: Alert) -> bool:
    """We hold what the API shows for over, and no person has said so; a new episode may have begun meanwhile."""
    if ended_by_hand(seen, incident):
        return False
    return not known.firing or (incident.state is State.RESOLVED and seen.starts_at > known.starts_at)


def _vanished(incident: Incident, view: View, since: Since, now: datetime, *, blind: bool) -> list[Finding]:
    """What Alertmanager no longer knows is over, though it never said so."""
    gone = [
        replace(alert, firing=False, ends_at=now)
        for alert in incident.firing
        if alert.fingerprint not in view.alerts and since.lasted("vanished", incident.id, alert.fingerprint) >= VANISHED
    ]
    if not gone:
        return []
    group = AlertGroup(incident.key, tuple(gone), incident.truncated)
    return [Finding("vanished", AlertsReceived(group, drift=EntryKind.VANISHED, blind=blind))]


def _muted(incident: Incident, view: View, now: datetime, maintenance: Maintenance) -> list[Finding]:
    """Pause what is silenced, also with a part under maintenance; let it go on when some of it is not any more."""
    seen = [(alert, view.alerts.get(alert.fingerprint)) for alert in incident.firing]
    mutes = [_mute(one, view, now) for _, one in seen]
    windows = [maintenance(alert.labels) for alert, _ in seen]
    covers = [_longer(*pair) for pair in zip(mutes, windows, strict=True)]
    by_alertmanager = [pause for pause in mutes if pause is not None]
    if None in covers and any(one is None for _, one in seen):
        return []  # what is not seen is not known to be silenced
    if by_alertmanager and None not in covers:
        first = _first(tuple(by_alertmanager))
        until = _first(tuple(pause for pause in covers if pause is not None)).until
        return [Finding("silenced", Paused(replace(first, until=until)))]
    goes_on = incident.paused is not None and incident.paused.kind is not PauseKind.MAINTENANCE
    return [Finding("unsilenced", Resumed())] if goes_on and incident.firing else []


def _mute(seen: Seen | None, view: View, now: datetime) -> Pause | None:
    """Why Alertmanager sends nothing of an alert; of several silences, the one that ends last."""
    if seen is None or not seen.is_mute:
        return None
    if seen.inhibitors or seen.muted:  # until when is unknown
        names = [view.alerts[name].alert.labels.get("alertname", "") for name in seen.inhibitors if name in view.alerts]
        if names:
            return Pause(PauseKind.INHIBITION, names[0])
        return Pause(PauseKind.MUTE_TIME, seen.muted[0] if seen.muted else "")
    silences = [view.silences[name] for name in seen.silences if name in view.silences]
    current = [silence for silence in silences if silence.ends_at > now]
    if not current:
        return Pause(PauseKind.SILENCE, seen.silences[0][:8])
    last = max(current, key=lambda silence: silence.ends_at)
    comment = " ".join(last.comment.split())[:100]
    return Pause(PauseKind.SILENCE, last.id[:8], last.author[:100], last.ends_at, comment=comment)


def _end(pause: Pause) -> datetime:
    return pause.until or datetime.max.replace(tzinfo=UTC)


def _longer(one: Pause | None, other: Pause | None) -> Pause | None:
    return max((pause for pause in (one, other) if pause is not None), key=_end, default=None)


def _first(pauses: tuple[Pause, ...]) -> Pause:
    return min(pauses, key=_end)
