"""Turns a notification into what a person reads: first what is broken, then what to do, then the details.

Pure, but for the templates, which it loads once. The incident is the one of *now*, not of when the notification was
owed: a page that waited says what is true today.
"""

from datetime import datetime, timedelta
from functools import cache

import jinja2

from receiver.channels.base import Link, Message
from receiver.incident import Alert, Entry, Incident, Kind, Notification

LISTED = 10  # alerts that a message lists
_SEVERITIES = {"P1": "critical", "P2": "warning", "P3": "info", "P4": "info"}
_OWN_LABELS = {"alertname", "severity", "priority", "team", "__name__"}


def render(  # everything that a message says
    notification: Notification,
    incident: Incident,
    timeline: tuple[Entry, ...],
    *,
    delivery_id: str,
    thread: str,
    link: str,
    now: datetime,
) -> Message:
    """Write the message; it never fails on what alerts contain."""
    opened = incident.opened_at or now
    name = f"{incident.priority} #{incident.id} {_one_line(incident.title)}"
    headline = _headline(notification, incident, name, now)
    links = _links(incident, link)
    values = {
        "kind": notification.kind.value,
        "incident": incident,
        "headline": headline,
        "role": _role(notification.target.role),
        "alerts": [_alert(alert) for alert in incident.firing[:LISTED]],
        "more": max(0, len(incident.firing) - LISTED),
        "respond_by": opened + timedelta(seconds=incident.response_time),
        "opened": opened,
        "upcoming": _upcoming(incident),
        "remarks": [_one_line(entry.text) for entry in timeline if entry.kind in {"remark", "late", "dead"}][-5:],
        "links": links,
        "span": span,
    }
    return Message(
        id=delivery_id,
        kind=notification.kind,
        address=notification.target.address,
        lane=notification.target.lane,
        incident=f"heypeter-{incident.id}-{int(opened.timestamp())}",
        priority=incident.priority.value,
        severity=_severity(incident),
        subject=f"[{incident.priority}] #{incident.id} {_one_line(incident.title)}"[:200],
        headline=headline,
        text=_templates().get_template("message.txt").render(values).strip(),
        html=_templates().get_template("message.html").render(values),
        fields=_fields(notification, incident, opened, now),
        links=links,
        sent_at=now,
        thread=thread,
    )


def span(delta: timedelta) -> str:
    """Write a length of time as people say it: 45s, 16m, 2h 5m, 3d 4h."""
    seconds = max(0, int(delta.total_seconds()))
    for size, letter, smaller, below in ((86400, "d", 3600, "h"), (3600, "h", 60, "m")):
        if seconds >= size:
            rest = seconds % size // smaller
            return f"{seconds // size}{letter}" + (f" {rest}{below}" if rest else "")
    return f"{seconds // 60}m" if seconds >= 60 else f"{seconds}s"  # noqa: PLR2004  # a minute


@cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("receiver"),
        undefined=jinja2.StrictUndefined,
        autoescape=jinja2.select_autoescape(["html"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _headline(notification: Notification, incident: Incident, name: str, now: datetime) -> str:
    age = span(now - (incident.opened_at or now))
    match notification.kind:
        case Kind.ACKNOWLEDGED:
            return f"Acknowledged by {_one_line(incident.acknowledged_by)} after {age}: {name}"
        case Kind.RESOLVED:
            by = "" if incident.resolved_by == "alerts" else f" by {_one_line(incident.resolved_by)}"
            return f"Resolved{by} after {age}: {name}"
        case Kind.PAGE:
            if notification.round == 1:
                return name
            return f"Escalated to {_spoken(notification.roles)} after {age} without an answer: {name}"


def _fields(
    notification: Notification, incident: Incident, opened: datetime, now: datetime
) -> tuple[tuple[str, str], ...]:
    """The facts that each channel shows in its own way."""
    fields = [("Priority", incident.priority.value), ("Team", incident.team)]
    if notification.kind is Kind.PAGE:
        fields.append(("Paging", _spoken(notification.roles)))
        fields.append(("Answer by", f"{opened + timedelta(seconds=incident.response_time):%H:%M} UTC"))
    if incident.acknowledged_by:
        fields.append(("Acknowledged by", _one_line(incident.acknowledged_by)))
    fields.append(
        ("Open for" if incident.resolved_at is None else "Was open for", span((incident.resolved_at or now) - opened))
    )
    if notification.kind is not Kind.RESOLVED:
        for alert in incident.firing[:3]:
            shown = _alert(alert)
            fields.append((shown["where"] or shown["name"], shown["description"] or shown["summary"] or "firing"))
        if len(incident.firing) > 3:  # noqa: PLR2004  # as many as were shown
            fields.append(("And", f"{len(incident.firing) - 3} more alerts"))
    return tuple(fields)


def _alert(alert: Alert) -> dict[str, str]:
    labels = sorted((k, v) for k, v in alert.labels.items() if k not in _OWN_LABELS and v)
    return {
        "name": _one_line(alert.labels.get("alertname", "")) or "Alert without a name",
        "summary": _one_line(alert.annotations.get("summary", "")),
        "description": _one_line(alert.annotations.get("description", "")),
        "where": _one_line(", ".join(f"{k}={v}" for k, v in labels))[:300],
        "since": f"{alert.starts_at:%Y-%m-%d %H:%M:%S} UTC",
    }


def _links(incident: Incident, link: str) -> tuple[Link, ...]:
    found = [Link("Acknowledge or resolve" if incident.acknowledged_at is None else "See it, or resolve it", link)]
    for alert in incident.firing[:1] or tuple(incident.alerts.values())[:1]:
        for label, url in (
            ("Runbook", alert.annotations.get("runbook_url", "")),
            ("Dashboard", alert.annotations.get("dashboard_url", "")),
            ("Query in Prometheus", alert.generator_url),
        ):
            if url.startswith(("https://", "http://")) and not any(c.isspace() or c in "<>|\"'" for c in url):
                found.append(Link(label, url))
    return tuple(found)


def _upcoming(incident: Incident) -> str:
    if incident.next_due_at is None:
        return "nobody: this was the last step" if incident.acknowledged_at is None else ""
    roles = _spoken(incident.steps[incident.next_step].roles)
    return f"{roles} at {incident.next_due_at:%H:%M:%S} UTC"


def _severity(incident: Incident) -> str:
    named = {alert.labels.get("severity", "") for alert in incident.firing}
    return next(
        (word for word in ("critical", "warning", "info") if word in named), _SEVERITIES[incident.priority.value]
    )


def _spoken(roles: tuple[str, ...]) -> str:
    return " and ".join(map(_role, roles)) or "the team"


def _role(role: str) -> str:
    return role.replace("-", " ").replace("on call", "on-call")


def _one_line(text: str) -> str:
    """One line of visible characters, of bounded length: it may end in a subject or on a terminal."""
    return "".join(c if c.isprintable() else " " for c in text[:2000]).strip()
