"""Asks each firing alert: who the incident belongs to, and whether it is a drill or under maintenance. Pure.

One group may mix teams, hosts and drills, so no answer is taken from one alert for all. An incident is a drill, or
under maintenance, only if every alert that fires is.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from receiver.incident.alerts import is_drill
from receiver.incident.model import Alert, Fact, Incident, Pause, Priority
from receiver.incident.policy import Policy, Ruling

_MOST_FACTS = 10  # remarks that one webhook adds to the timeline, however many alerts it carries


def lead(incident: Incident, policy: Policy, now: datetime) -> tuple[Alert, Ruling]:
    """Give the alert that the incident takes its title, team and labels from when it opens, rises or begins again.

    The most urgent one that fires and, of those, the oldest; one that is a drill or under maintenance only if all are.
    """

    def rank(ruled: tuple[Alert, Ruling]) -> tuple[bool, str, datetime, str]:
        alert, ruling = ruled
        stands_back = is_drill(alert) or policy.maintenance(alert.labels, now) is not None
        return stands_back, ruling.priority, alert.starts_at, alert.fingerprint

    return min(policy.rulings(incident), key=rank)


def named(incident: Incident, policy: Policy, now: datetime) -> dict[str, Any]:
    """Give the fields that say what the incident is called after, and whether it is a drill."""
    first, ruling = lead(incident, policy, now)
    team = incident.moved_to or ruling.team
    return {"title": title(first), "team": team, "labels": first.labels, "drill": all_drills(incident)}


def title(alert: Alert) -> str:
    """Give the alert's name and summary, or what there is of them."""
    name, told = alert.labels.get("alertname", ""), alert.annotations
    summary = told.get("summary") or told.get("message", "")  # `message` is how older rules call it
    return f"{name}: {summary}" if name and summary else name or summary


def priority(incident: Incident, policy: Policy) -> Priority:
    """Give the most urgent priority of what fires, without drills unless all are; Priority sorts as text, P1 first."""
    ruled = policy.rulings(incident)
    real = [ruling.priority for alert, ruling in ruled if not is_drill(alert)]
    return min(real or [ruling.priority for _, ruling in ruled])


def rises_to(incident: Incident, policy: Policy) -> Priority:
    """Give what the priority would rise to; drills that are left when all that was real has ended raise nothing."""
    left = all_drills(incident) and not was_drill(incident)
    return incident.priority if left else priority(incident, policy)


def teams(rulings: Iterable[Ruling]) -> tuple[str, ...]:
    """List the teams, each once."""
    return tuple(dict.fromkeys([ruling.team for ruling in rulings]))


def facts(rulings: Iterable[Ruling]) -> tuple[Fact, ...]:
    """List what was missing or unknown in the labels, each once and the first ten."""
    shared = {id(ruling): ruling for ruling in rulings}.values()
    all_facts = (fact for ruling in shared for fact in (ruling.about_priority, ruling.about_team))
    return tuple(dict.fromkeys(fact for fact in all_facts if fact is not None))[:_MOST_FACTS]


def all_drills(incident: Incident) -> bool:
    """Say whether everything that fires is a drill."""
    firing = incident.firing
    return all(map(is_drill, firing)) if firing else was_drill(incident)


def was_drill(incident: Incident) -> bool:
    """Say whether no real alert has been in it: only then it stays out of the statistics."""
    return not incident.real and all(map(is_drill, incident.alerts.values()))


def shared_labels(incident: Incident) -> tuple[tuple[str, str], ...]:
    """List the labels, by their names, that all that fires has in common; of what is over, that all had."""
    alerts = incident.firing or tuple(incident.alerts.values())
    first = alerts[0].labels if alerts else {}
    shared = ((name, value) for name, value in first.items() if value)
    return tuple(sorted(pair for pair in shared if all(one.labels.get(pair[0]) == pair[1] for one in alerts)))


def maintenance(incident: Incident, policy: Policy, now: datetime) -> Pause | None:
    """Give the window that ends first, if every firing alert stands in one; of each alert, the one that ends last."""
    windows = []
    for alert in incident.firing:
        window = policy.maintenance(alert.labels, now)
        if window is None:
            return None
        windows.append(window)
    return min(windows, key=lambda window: window.until or datetime.max.replace(tzinfo=now.tzinfo), default=None)


def maintenance_since(incident: Incident, policy: Policy, now: datetime) -> datetime | None:
    """Say since when every firing alert has stood in maintenance, if each does now."""
    since = [policy.maintenance_since(alert.labels, now) for alert in incident.firing]
    return max((at for at in since if at is not None), default=None) if None not in since else None
