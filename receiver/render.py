"""Turns a notification into what a person reads: first what is broken, then what to do, then the details.

Pure, but for the templates, which it loads once. The incident is the one of *now*, not of when the notification was
owed: a page that waited says what is true today.
"""

from datetime import datetime, timedelta
from functools import cache

import jinja2

from receiver.channels.base import Link, Message
from receiver.incident import Alert, Entry, Incident, Kind, Notification
from receiver.state import State

LISTED = 10  # alerts that a message lists
SUBJECT, HEADLINE, LINE, URL = 200, 300, 600, 2000  # characters; what is longer is cut, visibly
_ALERTS_IN_FIELD, _LINES_SO_FAR = 5, 6
_SEVERITIES = {"P1": "critical", "P2": "warning", "P3": "info", "P4": "info"}
_OWN_LABELS = {"alertname", "severity", "priority", "team", "__name__"}
_NOTES = {"remark", "late", "dead", "undelivered"}
_MILESTONES = {"opened", "priority_raised", "paged", "acknowledged", "joined", "resolved"}


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
    name = f"{incident.priority} #{incident.id} {one_line(incident.title)}"
    headline = one_line(_headline(notification, incident, timeline, name), HEADLINE)
    values = _values(notification, incident, timeline, _links(incident, link), now)
    values["headline"] = headline
    return Message(
        id=delivery_id,
        kind=notification.kind,
        address=notification.target.address,
        lane=notification.target.lane,
        incident=f"heypeter-{incident.id}-{int(opened.timestamp())}",
        priority=incident.priority.value,
        severity=_severity(incident),
        subject=one_line(f"[{incident.priority}] #{incident.id} {incident.title}", SUBJECT),
        headline=headline,
        text=_templates().get_template("message.txt").render(values).strip(),
        html=_templates().get_template("message.html").render(values),
        fields=_fields(notification, incident, now),
        links=_links(incident, link),
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


def one_line(text: str, limit: int = LINE) -> str:
    """One line of visible characters, of bounded length: it may end in a subject or on a terminal."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * limit]).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


@cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("receiver"),
        undefined=jinja2.StrictUndefined,
        autoescape=jinja2.select_autoescape(["html"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _headline(notification: Notification, incident: Incident, timeline: tuple[Entry, ...], name: str) -> str:
    opened = incident.opened_at
    match notification.kind:
        case Kind.ACKNOWLEDGED:
            who, when = _answer(incident, timeline)
            return f"Acknowledged by {who}{_after(when, opened)}: {name}"
        case Kind.RESOLVED:
            by = "" if incident.resolved_by == "alerts" else f" by {one_line(incident.resolved_by) or 'somebody'}"
            return f"Resolved{by}{_after(incident.resolved_at, opened)}: {name}"
        case Kind.PAGE if notification.round <= 1:
            return name
    paged = _paging(notification, incident, timeline)
    causes = {entry.kind for entry in timeline if paged and entry.at == paged.at}
    whom = _spoken(notification.roles)
    if "priority_raised" in causes:
        return f"Raised to {incident.priority}, paging {whom}: {name}"
    if "undelivered" in causes:
        return f"Escalated to {whom}, nobody before could be reached: {name}"
    return f"Escalated to {whom}{_after(paged.at if paged else None, opened)} without an answer: {name}"


def _values(
    notification: Notification, incident: Incident, timeline: tuple[Entry, ...], links: tuple[Link, ...], now: datetime
) -> dict[str, object]:
    """What the two templates may use."""
    opened = incident.opened_at or now
    respond_by = _respond_by(incident, now)
    alerts = [_alert(alert) for alert in incident.firing[: LISTED + 1]] or [_alert(a) for a in incident.alerts.values()]
    first_page = notification.kind is Kind.PAGE and notification.round <= 1
    since = incident.firing[0].starts_at if incident.firing else opened
    return {
        "kind": notification.kind.value,
        "state": incident.state.value,
        "priority": incident.priority.value,
        "number": incident.id,
        "team": one_line(incident.team),
        "alert": alerts[0] if alerts else {"what": one_line(incident.title), "where": ""},
        "others": alerts[1:LISTED],
        "firing": len(incident.firing) + incident.truncated,
        "more": max(0, len(incident.firing) - LISTED) + incident.truncated,
        "todo": f"{links[0].label} {'now' if now >= respond_by else f'by {_clock(respond_by, now)}'}",
        "within": span(timedelta(seconds=incident.response_time)),
        "since": _date(since if since.year > 1 else opened),  # year 1 is Go's "unknown"
        "opened": _date(opened),
        "resolved": _date(incident.resolved_at or now),
        "by_person": incident.resolved_by != "alerts",
        "role": _role(notification.target.role),
        "paging": _paging_whom(notification, incident),
        "upcoming": _upcoming(incident, now),
        "answered_by": _answer(incident, timeline)[0],
        "notes": [one_line(entry.text).rstrip(".") for entry in timeline if entry.kind in _NOTES][-5:],
        "so_far": [] if first_page else [_line(e) for e in timeline if e.kind in _MILESTONES][-_LINES_SO_FAR:],
        "links": links,
    }


def _fields(notification: Notification, incident: Incident, now: datetime) -> tuple[tuple[str, str], ...]:
    """The facts that each channel shows in its own way."""
    fields = [("Priority", incident.priority.value), ("Team", one_line(incident.team))]
    if notification.kind is Kind.PAGE:
        fields.append(("Paging", _paging_whom(notification, incident)))
        respond_by = _respond_by(incident, now)
        fields.append(("Answer by", _clock(respond_by, now) + (" (passed)" if now >= respond_by else "")))
        fields.append(("Told next", _upcoming(incident, now)))
    if incident.acknowledged_by:
        fields.append(("Acknowledged by", one_line(incident.acknowledged_by)))
    over = incident.resolved_at
    opened = incident.opened_at or now
    fields.append(("Was open for", span(over - opened)) if over else ("Open since", _date(opened)))
    if notification.kind is Kind.PAGE:
        alerts = [_alert(alert) for alert in incident.firing[:_ALERTS_IN_FIELD]]
        count = len(incident.firing) + incident.truncated
        if count == 1:
            fields.append(("Where", "".join(alert["where"] for alert in alerts)))
        elif alerts:
            lines = [f"{a['what']} ({a['where']})" if a["where"] else a["what"] for a in alerts]
            lines += [f"and {count - len(alerts)} more"] if count > len(alerts) else []
            fields.append((f"{count} alerts", "\n".join(lines)))
    return tuple((name, value) for name, value in fields if value)


def _alert(alert: Alert) -> dict[str, str]:
    labels = sorted((k, v) for k, v in alert.labels.items() if k not in _OWN_LABELS and v)
    told = (alert.annotations.get("description"), alert.annotations.get("summary"), alert.labels.get("alertname"))
    return {
        "what": next((line for line in (one_line(text or "") for text in told) if line), "An alert without a name"),
        "where": one_line(", ".join(f"{k}={v}" for k, v in labels), LINE // 2),
    }


def _links(incident: Incident, link: str) -> tuple[Link, ...]:
    words = {State.ACKNOWLEDGED: "See it, or resolve it", State.RESOLVED: "See what happened"}
    found = [Link(words.get(incident.state, "Acknowledge or resolve"), link)]
    for alert in incident.firing[:1] or tuple(incident.alerts.values())[:1]:
        for label, url in (
            ("Runbook", alert.annotations.get("runbook_url", "")),
            ("Dashboard", alert.annotations.get("dashboard_url", "")),
            ("Query in Prometheus", alert.generator_url),
        ):
            if url.startswith(("https://", "http://")) and len(url) <= URL and _plain(url):
                found.append(Link(label, url))
    return tuple(found)


def _plain(url: str) -> bool:
    """No character that could end the link in HTML, in Slack's <url|label> or on a terminal."""
    return url.isprintable() and not any(c.isspace() or c in "<>|\"'" for c in url)


def _upcoming(incident: Incident, now: datetime) -> str:
    """Who is told next and when; empty if the incident waits for nobody."""
    if incident.next_due_at is not None and incident.next_step < len(incident.steps):
        roles = _spoken(incident.steps[incident.next_step].roles)
        return f"{roles} at {_clock(incident.next_due_at, now)}"
    return "nobody, this was the last step" if incident.state is State.TRIGGERED else ""


def _severity(incident: Incident) -> str:
    """A P1 rings loud whatever its label says; else the worst that any alert says."""
    if incident.priority.value == "P1":
        return "critical"
    named = {alert.labels.get("severity", "") for alert in incident.firing or incident.alerts.values()}
    return next((word for word in _SEVERITIES.values() if word in named), _SEVERITIES[incident.priority.value])


def _answer(incident: Incident, timeline: tuple[Entry, ...]) -> tuple[str, datetime | None]:
    """Who acknowledged and when; the timeline knows it even after a rise to P1 has taken it back."""
    entries = [entry for entry in timeline if entry.kind == "acknowledged"]
    who = incident.acknowledged_by or (entries[-1].actor if entries else "")
    return one_line(who) or "somebody", incident.acknowledged_at or (entries[-1].at if entries else None)


def _paging(notification: Notification, incident: Incident, timeline: tuple[Entry, ...]) -> Entry | None:
    """The timeline's line of this round: each round writes one, and the newest is that of the newest round."""
    paged = [entry for entry in timeline if entry.kind == "paged"]
    index = len(paged) - 1 - max(0, incident.rounds - notification.round)
    return paged[index] if index >= 0 else None


def _paging_whom(notification: Notification, incident: Incident) -> str:
    told = [t for t in incident.told if t.person and t.role in notification.roles]
    people = dict.fromkeys(f"{one_line(t.person)} ({_role(t.role)})" for t in told)
    return ", ".join(people) or _spoken(notification.roles)


def _respond_by(incident: Incident, now: datetime) -> datetime:
    return (incident.clock_started_at or incident.opened_at or now) + timedelta(seconds=incident.response_time)


def _after(when: datetime | None, opened: datetime | None) -> str:
    return f" after {span(when - opened)}" if when and opened else ""


def _clock(when: datetime, now: datetime) -> str:
    return f"{when:%H:%M} UTC" + (f" on {when:%Y-%m-%d}" if when.date() != now.date() else "")


def _date(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC"


def _line(entry: Entry) -> str:
    by = f" ({one_line(entry.actor)})" if entry.actor and entry.actor != "alerts" else ""
    return f"{entry.at:%H:%M:%S} {one_line(entry.text)}{by}"


def _spoken(roles: tuple[str, ...]) -> str:
    return " and ".join(map(_role, roles)) or "the team"


def _role(role: str) -> str:
    return one_line(role.replace("-", " ").replace("on call", "on-call"))
