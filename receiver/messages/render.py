"""Turns a notification into what a person reads: first what is broken, then what to do, then the details.

Pure, but for the templates. The incident is the one of *now*, not of when the notification was owed: a page that
waited says what is true today.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from receiver.channels.base import Link, Message
from receiver.incident.model import Alert, Entry, Incident, Kind, Notification, State
from receiver.messages.i18n import Voice, one_line, span
from receiver.messages.templating import Templates

LISTED = 10  # alerts that a message lists
SUBJECT, HEADLINE, LINE, URL = 200, 300, 600, 2000  # characters; what is longer is cut, visibly
_ALERTS_IN_FIELD, _LINES_SO_FAR = 5, 6
_SEVERITIES = {"P1": "critical", "P2": "warning", "P3": "info", "P4": "info"}
_OWN_LABELS = {"alertname", "severity", "priority", "team", "drill", "__name__"}
_NOTES = {"remark", "late", "dead", "undelivered", "nobody", "fallback"}
_MILESTONES = {
    *("opened", "priority_raised", "paged", "acknowledged", "joined", "resolved", "reopened", "flapping"),
    *("paused", "resumed", "expired", "breached", "held"),
}
_BUILT_IN = Templates()


def render(  # noqa: PLR0913  # everything that a message says
    notification: Notification,
    incident: Incident,
    timeline: tuple[Entry, ...],
    *,
    delivery_id: str,
    thread: str,
    link: str,
    now: datetime,
    voice: Voice | None = None,
    name_of: Callable[[str], str] = str,
    templates: Templates = _BUILT_IN,
) -> Message:
    """Write the message; it never fails on what alerts contain. ``name_of`` gives the name to show for a person."""
    return _Writer(notification, incident, timeline, link, now, voice or Voice(), name_of).message(
        delivery_id, thread, templates
    )


def incident_key(incident: Incident, now: datetime) -> str:
    """Name an incident uniquely over all databases that ever were."""
    return f"heypeter-{incident.id}-{int((incident.opened_at or now).timestamp())}"


def incident_name(incident: Incident) -> str:
    """Name an incident to people."""
    return f"{incident.priority} #{incident.id} {_line(incident.title)}"


def severity(incident: Incident) -> str:
    """A P1 rings loud whatever its label says; else the worst that any alert says."""
    if incident.priority.value == "P1":
        return "critical"
    named = {alert.labels.get("severity", "") for alert in incident.firing or incident.alerts.values()}
    return next((word for word in _SEVERITIES.values() if word in named), _SEVERITIES[incident.priority.value])


class _Writer:
    def __init__(  # everything that a message says
        self,
        notification: Notification,
        incident: Incident,
        timeline: tuple[Entry, ...],
        link: str,
        now: datetime,
        voice: Voice,
        name_of: Callable[[str], str],
    ) -> None:
        self._notification, self._incident, self._timeline = notification, incident, timeline
        self._link, self._now, self._voice, self._say = link, now, voice, voice.say
        self._name_of = name_of

    def message(self, delivery_id: str, thread: str, templates: Templates) -> Message:
        notification, incident = self._notification, self._incident
        drill = f"{self._say('drill')} " if incident.drill else ""
        headline = one_line(f"{drill}{self._headline(incident_name(incident))}", HEADLINE)
        values = {**self._values(), "headline": headline}
        subject = f"{drill}[{incident.priority}] #{incident.id} {incident.title}"
        return Message(
            id=delivery_id,
            kind=notification.kind,
            address=notification.target.address,
            lane=notification.target.lane,
            incident=incident_key(incident, self._now),
            priority=incident.priority.value,
            severity=severity(incident),
            subject=one_line(subject, SUBJECT),
            headline=headline,
            text=templates.write("message.txt", values).strip(),
            html=templates.write("message.html", values),
            fields=self._fields(),
            links=self._links(),
            sent_at=self._now,
            thread=thread,
            number=incident.id,
            state=incident.state.value,
            labels=_shared(incident),
            image_url=next((a.annotations.get("image_url", "") for a in incident.firing), ""),
            opened_at=incident.opened_at,
        )

    def _headline(self, name: str) -> str:
        notification, incident, opened = self._notification, self._incident, self._incident.opened_at
        match notification.kind:
            case Kind.ACKNOWLEDGED:
                who, when = self._answer()
                return self._say("acknowledged_by", who=who, after=self._after(when, opened), name=name)
            case Kind.RESOLVED:
                who = self._name(incident.resolved_by) or self._say("somebody")
                by = "" if incident.resolved_by == "alerts" else self._say("by", who=who)
                return self._say("resolved", by=by, after=self._after(incident.resolved_at, opened), name=name)
            case Kind.UPDATE | Kind.REMINDER:
                return self._say("update", text=_line(notification.text), name=name)
            case Kind.PAGE if notification.round <= 1:
                return name
        return self._escalated(name)

    def _escalated(self, name: str) -> str:
        incident, paged = self._incident, self._paging()
        causes = {entry.kind for entry in self._timeline if paged and entry.at == paged.at}
        whom = self._spoken(self._notification.roles)
        if "priority_raised" in causes:
            return self._say("raised", priority=incident.priority, whom=whom, name=name)
        if "undelivered" in causes:
            return self._say("escalated_unreached", whom=whom, name=name)
        if causes & {"repeat", "expired", "reopened"}:
            return self._say("again", whom=whom, name=name)
        after = self._after(paged.at if paged else None, incident.opened_at)
        return self._say("escalated", whom=whom, after=after, name=name)

    def _values(self) -> dict[str, object]:
        """What the two templates may use."""
        incident, now, voice = self._incident, self._now, self._voice
        opened, links = incident.opened_at or now, self._links()
        alerts = [self._alert(alert) for alert in incident.firing[: LISTED + 1]]
        alerts = alerts or [self._alert(alert) for alert in incident.alerts.values()]
        since = incident.firing[0].starts_at if incident.firing else opened
        key, when = ("now", "") if now >= self._respond_by() else ("by_time", voice.clock(self._respond_by(), now))
        return {
            "say": self._say,
            "language": voice.language,
            "kind": self._notification.kind.value,
            "news": _line(self._notification.text),
            "state": incident.state.value,
            "priority": incident.priority.value,
            "number": incident.id,
            "team": _line(incident.team),
            "drill": incident.drill,
            "alert": alerts[0] if alerts else {"what": _line(incident.title), "where": ""},
            "others": alerts[1:LISTED],
            "firing": len(incident.firing) + incident.truncated,
            "more": max(0, len(incident.firing) - LISTED) + incident.truncated,
            "todo": self._say(key, what=links[0].label, time=when),
            "within": span(timedelta(seconds=incident.plan.response_time)),
            "since": voice.date(since if since.year > 1 else opened),  # year 1 is Go's "unknown"
            "opened": voice.date(opened),
            "resolved": voice.date(incident.resolved_at or now),
            "by_person": incident.resolved_by != "alerts",
            "links": links,
            **self._people(),
        }

    def _people(self) -> dict[str, object]:
        """Who was told, who is next, and what happened so far."""
        incident, notification = self._incident, self._notification
        first_page = notification.kind is Kind.PAGE and notification.round <= 1
        so_far = [] if first_page else [e for e in self._timeline if e.kind in _MILESTONES][-_LINES_SO_FAR:]
        return {
            "role": _role(notification.target.role),
            "paging": self._paging_whom(),
            "upcoming": self._upcoming(),
            "paused": _line(incident.paused.spoken) if incident.paused else "",
            "flapping": incident.flapping,
            "answered_by": self._answer()[0],
            "notes": [_line(entry.text).rstrip(".") for entry in self._timeline if entry.kind in _NOTES][-5:],
            "so_far": [self._entry(entry) for entry in so_far],
        }

    def _fields(self) -> tuple[tuple[str, str], ...]:
        """The facts that each channel shows in its own way."""
        incident, now, say = self._incident, self._now, self._say
        urgent = self._notification.kind in {Kind.PAGE, Kind.REMINDER}
        fields = [(say("priority"), incident.priority.value), (say("team"), _line(incident.team))]
        if urgent:
            respond_by = self._respond_by()
            passed = say("passed") if now >= respond_by else ""
            fields.append((say("paging"), self._paging_whom()))
            fields.append((say("answer_by"), self._voice.clock(respond_by, now) + passed))
            fields.append((say("told_next"), self._upcoming()))
        if incident.acknowledged_by:
            fields.append((say("acknowledged_field"), self._name(incident.acknowledged_by)))
        over, opened = incident.resolved_at, incident.opened_at or now
        duration = (say("was_open_for"), span(over - opened)) if over else None
        fields.append(duration or (say("open_since"), self._voice.date(opened)))
        if urgent:
            fields += self._where()
        return tuple((name, value) for name, value in fields if value)

    def _where(self) -> list[tuple[str, str]]:
        incident, say = self._incident, self._say
        alerts = [self._alert(alert) for alert in incident.firing[:_ALERTS_IN_FIELD]]
        count = len(incident.firing) + incident.truncated
        if count == 1:
            return [(say("where"), "".join(alert["where"] for alert in alerts))]
        if not alerts:
            return []
        lines = [f"{a['what']} ({a['where']})" if a["where"] else a["what"] for a in alerts]
        lines += [say("and_more", count=count - len(alerts))] if count > len(alerts) else []
        return [(say("alerts", count=count), "\n".join(lines))]

    def _alert(self, alert: Alert) -> dict[str, str]:
        labels = sorted((k, v) for k, v in alert.labels.items() if k not in _OWN_LABELS and v)
        told = (alert.annotations.get("description"), alert.annotations.get("summary"), alert.labels.get("alertname"))
        return {
            "what": next((line for line in (_line(text or "") for text in told) if line), self._say("no_name")),
            "where": one_line(", ".join(f"{k}={v}" for k, v in labels), LINE // 2),
        }

    def _links(self) -> tuple[Link, ...]:
        incident = self._incident
        words = {State.ACKNOWLEDGED: "see_or_resolve", State.RESOLVED: "see"}
        found = [Link(self._say(words.get(incident.state, "answer")), self._link)]
        for alert in incident.firing[:1] or tuple(incident.alerts.values())[:1]:
            for key, url in (
                ("runbook", alert.annotations.get("runbook_url", "")),
                ("dashboard", alert.annotations.get("dashboard_url", "")),
                ("query", alert.generator_url),
            ):
                if url.startswith(("https://", "http://")) and len(url) <= URL and _plain(url):
                    found.append(Link(self._say(key), url))
        return tuple(found)

    def _upcoming(self) -> str:
        """Who is told next and when; empty if the incident waits for nobody."""
        incident = self._incident
        if incident.paused is not None or incident.clocks.quiet_until is not None:
            return ""
        steps, due = incident.plan.steps, incident.clocks.next_due_at
        if due is not None and steps:
            step = steps[min(incident.next_step, len(steps) - 1)]
            when = self._voice.clock(due, self._now)
            return self._say("role_at", roles=self._spoken(step.roles), time=when)
        return self._say("last_step") if incident.state is State.TRIGGERED else ""

    def _answer(self) -> tuple[str, datetime | None]:
        """Who acknowledged and when; the timeline knows it even after a rise to P1 has taken it back."""
        entries = [entry for entry in self._timeline if entry.kind == "acknowledged"]
        who = self._incident.acknowledged_by or (entries[-1].actor if entries else "")
        when = self._incident.acknowledged_at or (entries[-1].at if entries else None)
        return self._name(who) or self._say("somebody"), when

    def _name(self, actor: str) -> str:
        """The display name of a person, or the text that somebody unknown sent as theirs."""
        return _line(self._name_of(actor))

    def _entry(self, entry: Entry) -> str:
        by = f" ({self._name(entry.actor)})" if entry.actor and entry.actor != "alerts" else ""
        return f"{entry.at:%H:%M:%S} {_line(entry.text)}{by}"

    def _paging(self) -> Entry | None:
        """The timeline's line of this round: each round writes one, and the newest is that of the newest round."""
        paged = [entry for entry in self._timeline if entry.kind == "paged"]
        index = len(paged) - 1 - max(0, self._incident.delivery.rounds - self._notification.round)
        return paged[index] if index >= 0 else None

    def _paging_whom(self) -> str:
        roles = self._notification.roles
        told = [t for t in self._incident.delivery.told if t.person and (t.role in roles or not roles)]
        people = dict.fromkeys(f"{self._name(t.person)} ({_role(t.role)})" for t in told)
        return ", ".join(people) or self._spoken(roles)

    def _respond_by(self) -> datetime:
        started = self._incident.clocks.started_at or self._incident.opened_at or self._now
        return started + timedelta(seconds=self._incident.plan.response_time)

    def _after(self, when: datetime | None, opened: datetime | None) -> str:
        return self._say("after", span=span(when - opened)) if when and opened else ""

    def _spoken(self, roles: tuple[str, ...]) -> str:
        return self._say("and").join(map(_role, roles)) or self._say("the_team")


def _shared(incident: Incident) -> dict[str, str]:
    """The labels that all alerts that fire have in common."""
    alerts = incident.firing or tuple(incident.alerts.values())
    first = alerts[0].labels if alerts else {}
    return {name: value for name, value in first.items() if all(a.labels.get(name) == value for a in alerts)}


def _plain(url: str) -> bool:
    """No character that could end the link in HTML, in Slack's <url|label> or on a terminal."""
    return url.isprintable() and not any(c.isspace() or c in "<>|\"'" for c in url)


def _role(role: str) -> str:
    return _line(role.replace("-", " ").replace("on call", "on-call"))


def _line(text: str) -> str:
    return one_line(text, LINE)
