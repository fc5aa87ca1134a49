"""Turns a notification into what a person reads: first what is broken, then what to do, then the details.

Pure, but for the templates. The incident is the one of *now*, not of when the notification was owed: a page that
waited says what is true today.
"""

import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial

from receiver.channels.base import PICTURE_ID, Link, Message, Picture, Words
from receiver.incident.acts import longest_snooze
from receiver.incident.alerts import ALERTS
from receiver.incident.group import title
from receiver.incident.model import Alert, Entry, EntryKind, Incident, Kind, Notification, Reason, State
from receiver.messages.i18n import Reader, one_line, several_lines
from receiver.messages.templating import Templates
from receiver.messages.timeline import LINE, entry_text, news, pause_text

LISTED = 10  # alerts that a message lists
SUBJECT, HEADLINE, URL = 200, 300, 2000  # characters; what is longer is cut, visibly
_ALERTS_IN_FIELD, _LINES_SO_FAR = 5, 6
_SEVERITIES = {"P1": "critical", "P2": "warning", "P3": "info", "P4": "info", "P5": "info"}
_FIRST = ("instance", "namespace", "pod")  # labels that are shown first
# Labels that name what an alert fires on, the most telling first, with the word for several of them.
_PLACES = {
    **dict.fromkeys(("instance", "host", "hostname", "node", "nodename", "server"), "hosts"),
    "pod": "pods",
    "container": "containers",
    "device": "devices",
    "service": "services",
    "job": "jobs",
    "namespace": "namespaces",
    "cluster": "clusters",
    "region": "regions",
}
_NAMED = 3  # places that a headline names
_OWN_LABELS = {"alertname", "severity", "priority", "team", "drill", "__name__"}
_NOTES = {
    *(EntryKind.MISSED, EntryKind.COMPLETED, EntryKind.CONFIRMED, EntryKind.VANISHED, EntryKind.ALERTS_TRUNCATED),
    EntryKind.ALERTS_DROPPED,
    *(EntryKind.SEVERITY_MISSING, EntryKind.SEVERITY_UNKNOWN, EntryKind.PRIORITY_UNKNOWN, EntryKind.PRIORITY_KEPT),
    *(EntryKind.TEAM_MISSING, EntryKind.TEAM_UNKNOWN, EntryKind.TEAMS_MIXED),
    *(EntryKind.LATE, EntryKind.STEP_DELAYED, EntryKind.NOBODY),
    *(EntryKind.FALLBACK, EntryKind.UNDELIVERED, EntryKind.DEAD, EntryKind.ACKNOWLEDGED_LATE),
    *(EntryKind.RESOLVED_LATE, EntryKind.REMARK),
}
_MILESTONES = {
    *(EntryKind.OPENED, EntryKind.PRIORITY_RAISED, EntryKind.PAGED, EntryKind.BREACHED, EntryKind.EXPIRED),
    *(EntryKind.ACKNOWLEDGED, EntryKind.JOINED, EntryKind.RECORDED, EntryKind.PAUSED, EntryKind.RESUMED),
    *(EntryKind.HELD, EntryKind.UNPROVED, EntryKind.REOPENED, EntryKind.FLAPPING),
    *(EntryKind.RESOLVED, EntryKind.RESOLVED_QUIET, EntryKind.RESOLVED_BY_HAND),
    EntryKind.RESOLVE_UNDONE,
    *(EntryKind.UNACKNOWLEDGED, EntryKind.SNOOZED, EntryKind.SNOOZE_OVER, EntryKind.TAKEN_OVER, EntryKind.ASKED),
    *(EntryKind.UNANSWERED, EntryKind.MOVED, EntryKind.ESCALATED_NOW, EntryKind.NOTED, EntryKind.ATTACHED),
    *(EntryKind.DETACHED, EntryKind.PARENT_ENDED, EntryKind.ADOPTED, EntryKind.RAISED),
}
_SNOOZES = (30, 60, 120, 240, 480, 720, 1440)  # minutes
_NEVER = datetime.min.replace(tzinfo=UTC)
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
    reader: Reader | None = None,
    templates: Templates = _BUILT_IN,
    picture: Picture | None = None,
) -> Message:
    """Write the message; it never fails on what alerts contain."""
    return _Writer(notification, incident, timeline, link, now, reader or Reader(), picture).message(
        delivery_id, thread, templates
    )


def incident_key(incident: Incident, now: datetime) -> str:
    """Name an incident uniquely over all databases that ever were."""
    return f"heypeter-{incident.id}-{int((incident.opened_at or now).timestamp())}"


def incident_name(incident: Incident, reader: Reader) -> str:
    """Name an incident to people."""
    return f"{incident.priority} #{incident.id} {what_broke(incident, reader)}"


def subject_tag(priority: str, state: State, reader: Reader) -> str:
    """Begin a subject: [P1], or how the incident stands once somebody has answered, [P1 RESOLVED]."""
    stands = state in {State.ACKNOWLEDGED, State.RESOLVED}
    return f"[{priority} {reader.say(f'status_{state.value}').upper()}]" if stands else f"[{priority}]"


def respond_by(incident: Incident) -> datetime:
    """Say by when somebody should have acknowledged."""
    if incident.clocks.answer_due_at is not None:
        return incident.clocks.answer_due_at
    started = incident.clocks.started_at or incident.opened_at or _NEVER
    return started + timedelta(seconds=incident.plan.response_time)


def words(kind: Kind, incident: Incident, reader: Reader) -> Words:
    """Give what a channel with cards and buttons writes on them."""
    state = reader.say(f"status_{incident.state.value}") if incident.state is not State.NEW else ""
    status = reader.say(f"status_{kind.value}") if kind in {Kind.UPDATE, Kind.REMINDER} else state
    return Words(
        status,
        state,
        acknowledge=reader.say("acknowledge"),
        resolve=reader.say("resolve"),
        still_firing=reader.say("resolve_firing", count=incident.firing_count) if incident.firing else "",
        resolve_anyway=reader.say("resolve_anyway"),
        cancel=reader.say("cancel"),
        not_acknowledged=reader.say("push_not_acknowledged"),
        language=reader.language,
        reply=reader.say("twilio_reply", code="{code}"),
        press=reader.say("twilio_press"),
        see=reader.say("see"),
        more=reader.say("more"),
        snooze=reader.say("console_snooze"),
        snoozes=tuple((minutes, reader.duration(60 * minutes)) for minutes in snoozes(incident)),
    )


def snoozes(incident: Incident) -> tuple[int, ...]:
    """Give for how many minutes an incident may be snoozed, of those that are offered."""
    longest = longest_snooze(incident.priority).total_seconds() / 60
    return tuple(minutes for minutes in _SNOOZES if minutes <= longest)


def severity(incident: Incident) -> str:
    """A P1 rings loud whatever its label says; else the worst that any alert says."""
    if incident.priority.value == "P1":
        return "critical"
    named = {
        alert.labels.get("severity", "").strip().casefold() for alert in incident.firing or incident.alerts.values()
    }
    return next((word for word in _SEVERITIES.values() if word in named), _SEVERITIES[incident.priority.value])


class _Writer:
    def __init__(  # everything that a message says
        self,
        notification: Notification,
        incident: Incident,
        timeline: tuple[Entry, ...],
        link: str,
        now: datetime,
        reader: Reader,
        picture: Picture | None,
    ) -> None:
        self._notification, self._incident, self._timeline = notification, incident, timeline
        self._picture = picture
        self._link, self._now, self._reader, self._say = link, now, reader, reader.say

    def message(self, delivery_id: str, thread: str, templates: Templates) -> Message:
        notification, incident = self._notification, self._incident
        drill = f"{self._say('drill')} " if incident.drill else ""
        headline = one_line(f"{drill}{self._headline(incident_name(incident, self._reader))}", HEADLINE)
        values = {**self._values(), "headline": headline, "product": templates.brand.name}
        tag = subject_tag(incident.priority.value, incident.state, self._reader)
        subject = f"{drill}{tag} #{incident.id} {what_broke(incident, self._reader)}"
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
            name=incident_name(incident, self._reader),
            lead=self._lead(),
            text=templates.write("message.txt", values).strip(),
            write_html=partial(templates.write, "message.html", values),
            fields=self._fields(),
            links=self._links(),
            sent_at=self._now,
            thread=thread,
            redraws=notification.is_redraw,
            number=incident.id,
            firing=incident.firing_count,
            begun=incident.begun,
            state=incident.state.value,
            labels=_shared(incident),
            picture=self._picture,
            image_url=next((a.annotations.get("image_url", "") for a in incident.shown if a.firing), ""),
            opened_at=incident.opened_at,
            next_step_at=incident.clocks.next_due_at,
            words=words(notification.kind, incident, self._reader),
            brand=templates.brand,
        )

    def _headline(self, name: str) -> str:
        notification, opened = self._notification, self._incident.opened_at
        if notification.is_redraw:
            return self._standing_headline(name)
        match notification.kind:
            case Kind.ACKNOWLEDGED if notification.reason is not None:
                return self._say("update", text=self._news(), name=name)
            case Kind.ACKNOWLEDGED:
                who, when = self._answer()
                return self._say("acknowledged_by", who=who, after=self._after(when, opened), name=name)
            case Kind.RESOLVED:
                return self._resolved_headline(name)
            case Kind.UPDATE | Kind.REMINDER:
                return self._say("update", text=self._news(), name=name)
        return self._page(name)

    def _standing_headline(self, name: str) -> str:
        """Write the headline of what tells no news: how it stands."""
        match self._incident.state:
            case State.ACKNOWLEDGED:
                who, when = self._answer()
                return self._say(
                    "acknowledged_by", who=who, after=self._after(when, self._incident.opened_at), name=name
                )
            case State.RESOLVED:
                return self._resolved_headline(name)
        return name

    def _resolved_headline(self, name: str) -> str:
        incident = self._incident
        by = "" if incident.resolved_by == ALERTS else self._say("by", who=self._reader.who(incident.resolved_by))
        return self._say("resolved", by=by, after=self._after(incident.resolved_at, incident.opened_at), name=name)

    def _page(self, name: str) -> str:
        """Say why somebody is paged; receivers up to schema 4 did not write it down."""
        notification, incident = self._notification, self._incident
        reason = notification.reason or (Reason.ESCALATED if notification.round > 1 else Reason.OPENED)
        after = self._after(notification.at, incident.opened_at)
        whom = self._reader.roles(map(_line, notification.roles))
        values = {"priority": incident.priority, "whom": whom, "who": self._reader.who(notification.data.person)}
        return self._say(f"page_{reason.value}", **values, after=after, name=name)

    def _news(self) -> str:
        return news(self._notification, self._reader, self._now)

    def _values(self) -> dict[str, object]:
        """What the two templates may use."""
        incident, now, reader = self._incident, self._now, self._reader
        opened, links = incident.opened_at or now, self._links()
        alerts = [self._alert(alert) for alert in incident.shown[: LISTED + 1]]
        since = incident.firing[0].starts_at if incident.firing else opened
        due = incident.asked.until if self._is_asked and incident.asked is not None else respond_by(incident)
        key, when = ("now", "") if now >= due else ("by_time", reader.time(due, now))
        return {
            "say": self._say,
            "language": reader.language,
            "zone": reader.zone,
            "kind": self._notification.kind.value,
            "news": self._news(),
            "state": incident.state.value,
            "asked": self._is_asked,
            "raised_by": reader.who(incident.raised_by) if incident.raised_by else "",
            "priority": incident.priority.value,
            "number": incident.id,
            "team": _line(incident.team),
            "drill": incident.drill,
            "alert": alerts[0] if alerts else {"what": _title(incident, reader), "line": "", "where": ""},
            "others": alerts[1:LISTED],
            "firing": len(incident.firing) + incident.truncated,
            "more": max(0, len(incident.firing) - LISTED) + incident.truncated,
            "todo": self._say(key, what=links[0].label, time=when),
            "within": reader.duration(incident.plan.response_time),
            "since": reader.moment(since if since.year > 1 else opened),  # year 1 is Go's "unknown"
            "opened": reader.moment(opened),
            "resolved": reader.moment(incident.resolved_at or now),
            "by_person": incident.resolved_by != ALERTS,
            "links": links,
            "chart": self._inline(),
            **self._people(),
        }

    def _people(self) -> dict[str, object]:
        """Who was told, who is next, and what happened so far."""
        incident, notification, reader = self._incident, self._notification, self._reader
        first_page = notification.kind is Kind.PAGE and notification.round <= 1
        so_far = [] if first_page else [e for e in self._timeline if e.kind in _MILESTONES][-_LINES_SO_FAR:]
        return {
            "role": self._own_role(),
            "paging": self._paging_whom(),
            "upcoming": self._upcoming("next_step", "last_step"),
            "paused": pause_text(incident.paused, reader, self._now) if incident.paused else "",
            "flapping": incident.flapping,
            "answered_by": self._answer()[0],
            "notes": [entry_text(e, reader).rstrip(".") for e in self._timeline if e.kind in _NOTES][-5:],
            "so_far": [self._timed(entry) for entry in so_far],
        }

    def _fields(self) -> tuple[tuple[str, str], ...]:
        """The facts that each channel shows in its own way."""
        incident, now, say, reader = self._incident, self._now, self._say, self._reader
        urgent = self._urges
        fields = [(say("priority"), incident.priority.value), (say("team"), _line(incident.team))]
        if urgent:
            due = respond_by(incident)
            passed = say("passed") if now >= due else ""
            fields.append((say("paging"), self._paging_whom()))
            fields.append((say("answer_by"), reader.time(due, now) + passed))
            fields.append((say("escalates"), self._upcoming("role_at", "escalates_no_further")))
        if incident.acknowledged_by:
            fields.append((say("acknowledged_field"), reader.who(incident.acknowledged_by)))
        fields += self._arrangements()
        over, opened = incident.resolved_at, incident.opened_at or now
        duration = (say("was_open_for"), reader.duration(over - opened)) if over else None
        fields.append(duration or (say("open_since"), reader.moment(opened)))
        if urgent:
            fields += self._where()
        return tuple((name, value) for name, value in fields if value)

    @property
    def _urges(self) -> bool:
        """Say whether whoever reads this should answer; a card that is redrawn does while nobody has."""
        if self._notification.is_redraw:
            return self._incident.state is State.TRIGGERED
        return self._notification.kind in {Kind.PAGE, Kind.REMINDER}

    def _arrangements(self) -> list[tuple[str, str]]:
        """What people have agreed on for now."""
        incident, now, say, reader = self._incident, self._now, self._say, self._reader
        if incident.state is State.RESOLVED:
            return []
        fields = [(say("snoozed_field"), reader.time(incident.snoozed_until, now))] if incident.snoozed_until else []
        if incident.asked is not None:
            until = reader.time(incident.asked.until, now)
            fields.append((say("asked_field"), say("asked_until", who=reader.who(incident.asked.person), until=until)))
        if incident.attached_to:
            fields.append((say("attached_field"), f"#{incident.attached_to}"))
        if incident.paused is not None:
            fields.append((say("paused_field"), pause_text(incident.paused, reader, now)))
        return fields

    def _where(self) -> list[tuple[str, str]]:
        incident, say = self._incident, self._say
        alerts = [self._alert(alert) for alert in incident.shown[:_ALERTS_IN_FIELD] if alert.firing]
        count = len(incident.firing) + incident.truncated
        if count == 1:
            return [(say("where"), "".join(alert["where"] for alert in alerts))]
        if not alerts:
            return []
        lines = [f"{a['line']} ({a['where']})" if a["where"] else a["line"] for a in alerts]
        lines += [say("and_more", count=count - len(alerts))] if count > len(alerts) else []
        return [(say("alerts", count=count), "\n".join(lines))]

    def _alert(self, alert: Alert) -> dict[str, str]:
        told = (*map(alert.annotations.get, ("description", "message", "summary")), alert.labels.get("alertname"))
        what = next((text for text in (several_lines(text or "", LINE) for text in told) if text), self._say("no_name"))
        return {"what": what, "line": _line(what), "where": where(alert.labels, LINE // 2)}

    def _lead(self) -> str:
        """Give the first thing to read of a page, as its author broke it into lines."""
        if not (self._urges or self._notification.is_redraw):
            return ""
        return next((self._alert(alert)["what"] for alert in self._incident.shown if alert.firing), "")

    @property
    def _is_asked(self) -> bool:
        """Say whether the reader is asked to take over what somebody has, and still is."""
        asked, notification = self._incident.asked, self._notification
        here = notification.kind is Kind.PAGE and self._incident.state is State.ACKNOWLEDGED
        return here and asked is not None and asked.person == notification.target.person

    def _links(self) -> tuple[Link, ...]:
        incident = self._incident
        words = {State.ACKNOWLEDGED: "see_or_resolve", State.RESOLVED: "see"}
        label = "answer_asked" if self._is_asked else words.get(incident.state, "answer")
        links = [Link(self._say(label), self._link)]
        for alert in incident.shown[:1]:
            for key, url in (
                ("runbook", annotated_url(alert, "runbook")),
                ("dashboard", annotated_url(alert, "dashboard")),
                ("query", alert.generator_url if safe_url(alert.generator_url) else ""),
            ):
                links += [Link(self._say(key), url)] if url else []
        if self._picture is not None and not (self._picture.png or self._picture.public):
            links.append(Link(self._say("chart"), self._picture.url))
        return tuple(links)

    def _inline(self) -> dict[str, str] | None:
        """The picture that the message itself carries."""
        if self._picture is None or not self._picture.png:
            return None
        return {"src": f"cid:{PICTURE_ID}", "words": self._picture.words}

    def _upcoming(self, step_key: str, last_key: str) -> str:
        """Who is paged next and when; empty if the incident waits for nobody."""
        incident, due, steps = self._incident, self._incident.clocks.next_due_at, self._incident.plan.steps
        if incident.paused is not None or incident.clocks.quiet_until is not None:
            return ""
        if due is not None and steps:
            roles = self._reader.roles(map(_line, steps[min(incident.next_step, len(steps) - 1)].roles))
            return self._say(step_key, roles=roles, time=self._reader.time(due, self._now))
        return self._say(last_key) if incident.state is State.TRIGGERED else ""

    def _own_role(self) -> str:
        """As what the reader is paged: who holds a role of the first step is the primary."""
        role, steps = self._notification.target.role, self._incident.plan.steps
        if role and steps and role in steps[0].roles:
            return self._say("primary")
        return _line(self._reader.name("role", role)) if role else ""

    def _answer(self) -> tuple[str, datetime | None]:
        """Who acknowledged and when; the timeline knows it even after a rise to P1 has taken it back."""
        entries = [entry for entry in self._timeline if entry.kind is EntryKind.ACKNOWLEDGED]
        who = self._incident.acknowledged_by or (entries[-1].actor if entries else "")
        when = self._incident.acknowledged_at or (entries[-1].at if entries else None)
        return self._reader.who(who), when

    def _paging_whom(self) -> str:
        roles, reader = self._notification.roles, self._reader
        told = [t for t in self._incident.delivery.told if t.person and (t.role in roles or not roles)]
        people = dict.fromkeys(
            f"{reader.who(t.person)} ({_line(reader.name('role', t.role))})" if t.role else reader.who(t.person)
            for t in told
        )
        return ", ".join(people) or reader.roles(map(_line, roles))

    def _after(self, when: datetime | None, opened: datetime | None) -> str:
        return self._say("after", span=self._reader.duration(when - opened)) if when and opened else ""

    def _timed(self, entry: Entry) -> str:
        form = "%H:%M:%S" if self._now - entry.at < timedelta(days=1) else "%Y-%m-%d %H:%M:%S"
        return f"{self._reader.local(entry.at, form)} {entry_text(entry, self._reader)}"


def _shared(incident: Incident) -> dict[str, str]:
    """The labels that all alerts that fire have in common."""
    alerts = incident.firing or tuple(incident.alerts.values())
    first = alerts[0].labels if alerts else {}
    return {name: value for name, value in first.items() if all(a.labels.get(name) == value for a in alerts)}


def in_order(labels: dict[str, str]) -> list[tuple[str, str]]:
    """List the labels that say where an alert fires, what people look for first of all."""
    shown = [(name, value) for name, value in labels.items() if name not in _OWN_LABELS and value]
    return sorted(shown, key=lambda label: (_FIRST.index(label[0]) if label[0] in _FIRST else len(_FIRST), label[0]))


def where(labels: dict[str, str], limit: int) -> str:
    """Write them on one line."""
    return one_line(", ".join(f"{name}={value}" for name, value in in_order(labels)), limit)


def what_broke(incident: Incident, reader: Reader) -> str:
    """Say what fires and on how many: HighMemoryUsage on 40 hosts (web-1, web-2, …)."""
    alerts = incident.shown
    count, names = len(alerts) + incident.truncated, Counter(a.labels.get("alertname", "") for a in alerts)
    if count <= 1 or not names:
        return _title(incident, reader)
    names[alerts[0].labels.get("alertname", "")] += count  # what it is called after comes first
    shown = [_line(name) or reader.say("no_name") for name, _ in names.most_common()]
    if len(shown) > 1:
        return reader.say("broke_alerts", alerts=_some(shown), count=count)
    for label, places in _PLACES.items():
        values = {_host(alert.labels.get(label, "")) for alert in alerts} - {""}
        if len(values) > 1:
            named = _some(sorted(values, key=_numbers_in_order))
            of = {"count": len(values) + incident.truncated, "places": reader.name("places", places)}
            return reader.say("broke_places", alert=shown[0], named=named, **of)
    return reader.say("broke_alerts", alerts=_title(incident, reader), count=count)


# web-1:9100, [2001:db8::1]:9100, https://web-1:8443; without brackets, an IPv6 address has no port.
_WITH_PORT = re.compile(r"((?:https?://)?(?:\[[^\]]*\]|[^:]+)):\d{1,5}")


def _some(values: list[str]) -> str:
    """List up to three, or two and an ellipsis."""
    few = [one_line(value, LINE // 10) for value in values[:_NAMED]]
    return ", ".join(few if len(values) <= _NAMED else [*few[:2], "…"])


def _host(value: str) -> str:
    """Leave the port of an instance away, which is the exporter's and says nothing of the host."""
    named = _WITH_PORT.fullmatch(value)
    return named[1] if named else value


def _numbers_in_order(value: str) -> list[tuple[int, str]]:
    """Sort web-2 before web-10."""
    return [
        (int(part), "") if part.isascii() and part.isdigit() else (0, part) for part in re.split(r"(\d{1,9})", value)
    ]


def annotated_url(alert: Alert, what: str) -> str:
    """Give the URL of the annotation `runbook_url` or `runbook`, and so on; "" if neither can be shown."""
    urls = (alert.annotations.get(name, "").strip() for name in (f"{what}_url", what))
    return next((url for url in urls if safe_url(url)), "")


def safe_url(url: str) -> bool:
    """Say whether a URL of an alert may be made a link."""
    return url.startswith(("https://", "http://")) and len(url) <= URL and _plain(url)


def _plain(url: str) -> bool:
    """No character that could end the link in HTML, in Slack's <url|label> or on a terminal."""
    return url.isprintable() and not any(c.isspace() or c in "<>|\"'" for c in url)


def _title(incident: Incident, reader: Reader) -> str:
    """What it is called after may have ended while others fire."""
    firing = incident.shown[:1] if incident.firing else ()
    gone = any(alert.labels != incident.labels for alert in firing)
    return _line(title(firing[0]) if gone else incident.title) or reader.say("no_name")


def _line(text: str) -> str:
    return one_line(text, LINE)
