"""Writes the draft of a post-mortem in Markdown: everything that the receiver knows of an incident. Pure."""

from collections.abc import Iterator
from datetime import datetime

import msgspec

from receiver.evidence.chart import Deployment
from receiver.evidence.markdown import plain, table
from receiver.evidence.similar import Similar, ending_text
from receiver.incident.alerts import ALERTS
from receiver.incident.model import UNKNOWN_START, Alert, Entry, EntryKind, Incident, Kind
from receiver.messages.i18n import Reader
from receiver.messages.render import what_broke, where
from receiver.messages.timeline import entry_text, folded, group_text

_ALERTS = 20  # that are listed
_LINE = 600  # characters
_DELIVERIES = frozenset({EntryKind.TOLD, EntryKind.DEAD, EntryKind.FALLBACK})
_ACTS = {
    EntryKind.ACKNOWLEDGED: "pm_acknowledged",
    EntryKind.RENEWED: "pm_acknowledged",
    EntryKind.TAKEN_OVER: "pm_acknowledged",
    EntryKind.JOINED: "pm_helped",
    EntryKind.RESOLVED_BY_HAND: "pm_resolved",
    EntryKind.NOTED: "pm_noted",
}
# What the policy decided, apart from what people did and what was sent.
_POLICY = frozenset(
    {
        *(EntryKind.PAGED, EntryKind.NOBODY, EntryKind.LATE, EntryKind.STEP_DELAYED, EntryKind.REPEAT),
        *(EntryKind.UNDELIVERED, EntryKind.WARNED, EntryKind.BREACHED, EntryKind.REMINDED, EntryKind.EXPIRED),
        *(EntryKind.PRIORITY_RAISED, EntryKind.PRIORITY_KEPT, EntryKind.RECORDED, EntryKind.PAUSED),
        *(EntryKind.RESUMED, EntryKind.HELD, EntryKind.UNPROVED, EntryKind.REOPENED, EntryKind.FLAPPING),
        EntryKind.SNOOZE_OVER,
        *(EntryKind.SEVERITY_MISSING, EntryKind.SEVERITY_UNKNOWN, EntryKind.TEAM_MISSING, EntryKind.TEAM_UNKNOWN),
    }
)


class Material(msgspec.Struct, frozen=True):
    """What is known of an incident; ``chart`` and ``page`` are addresses."""

    incident: Incident
    timeline: tuple[Entry, ...]
    similar: tuple[Similar, ...] = ()
    deployments: tuple[Deployment, ...] = ()
    chart: str = ""
    page: str = ""


def postmortem(material: Material, reader: Reader, now: datetime) -> str:
    """Write the draft, in the reader's language and time zone."""
    return "\n".join(_Writer(material, reader, now).lines()).rstrip() + "\n"


class _Writer:
    def __init__(self, material: Material, reader: Reader, now: datetime) -> None:
        self._material, self._incident, self._timeline = material, material.incident, material.timeline
        self._reader, self._say, self._now = reader, reader.say, now

    def lines(self) -> Iterator[str]:
        incident, say = self._incident, self._say
        named = plain(what_broke(incident, self._reader), _LINE)
        yield f"# {say('pm_title', priority=incident.priority.value, title=named)}"
        yield ""
        drill = f" {say('drill_note')}" if incident.drill else ""
        yield say("pm_draft", number=incident.id, at=self._reader.moment(self._now)) + drill
        parts: tuple[tuple[str, Iterator[str]], ...] = (
            ("pm_summary", self._summary(named)),
            ("pm_impact", self._impact()),
            ("pm_times", self._times()),
            ("chart", self._chart()),
            ("pm_timeline", self._lines()),
            ("pm_people", self._people()),
            ("pm_delivery", self._delivery()),
            ("pm_policy", self._policy()),
            ("pm_similar", self._similar()),
            ("pm_why", iter((say("pm_why_ask"),))),
            ("pm_actions", iter(table([say("pm_action"), say("pm_owner"), say("pm_due")], [("", "", "")]))),
        )
        for heading, written in parts:
            body = list(written)
            yield from ("", f"## {say(heading)}", "", *(body or [say("pm_none")]))

    def _summary(self, named: str) -> Iterator[str]:
        incident, say = self._incident, self._say
        opened, over = incident.opened_at or self._now, incident.resolved_at
        length = self._reader.duration((over or self._now) - opened)
        team = plain(incident.team)
        yield say("pm_was_open" if over else "pm_is_open", title=named, team=team, length=length)
        first = next((entry for entry in self._timeline if entry.kind is EntryKind.ACKNOWLEDGED), None)
        if first is None:
            yield say("pm_nobody_acknowledged")
        else:
            after = self._reader.duration(first.at - opened)
            yield say("pm_who_acknowledged", who=plain(self._reader.who(first.actor)), after=after)
        if over and incident.resolved_by == ALERTS:
            yield say("pm_alerts_ended")
        elif over:
            yield say("pm_who_resolved", who=plain(self._reader.who(incident.resolved_by)))

    def _impact(self) -> Iterator[str]:
        incident, say = self._incident, self._say
        yield f"- {say('pm_who_affected')}"
        kept = "pm_breached" if incident.breached_at else "pm_in_time"
        within = self._reader.duration(incident.plan.response_time)
        yield f"- {say(kept, priority=incident.priority.value, within=within)}"
        yield f"- {say('pm_alerts', count=incident.begun or len(incident.alerts))}"
        yield ""
        alerts = sorted(incident.alerts.values(), key=lambda alert: alert.starts_at)
        head = [say("pm_alert"), say("where"), say("pm_from"), say("pm_until")]
        yield from table(head, [self._alert(alert) for alert in alerts[:_ALERTS]])
        more = len(alerts) - _ALERTS + incident.unlisted
        if more > 0:
            yield from ("", say("and_more", count=more))

    def _alert(self, alert: Alert) -> tuple[str, ...]:
        name = alert.labels.get("alertname") or self._say("no_name")
        begun = self._at(alert.starts_at) if alert.starts_at > UNKNOWN_START else ""
        ended = self._at(alert.ends_at) if alert.ends_at and not alert.firing else self._say("pm_still_fires")
        return name, where(alert.labels, _LINE // 2), begun, ended

    def _times(self) -> Iterator[str]:
        incident, say = self._incident, self._say
        opened = incident.opened_at
        known = [alert.starts_at for alert in incident.alerts.values() if alert.starts_at > UNKNOWN_START]
        moments = (
            ("pm_began", min(known, default=None)),
            ("pm_opened", opened),
            ("pm_first_page", self._first(EntryKind.TOLD)),
            ("status_acknowledged", self._first(EntryKind.ACKNOWLEDGED)),
            ("pm_breach", incident.breached_at),
            ("status_resolved", incident.resolved_at),
        )
        rows = [
            (say(key), self._at(at), self._reader.duration(at - opened) if opened and at >= opened else "")
            for at, key in sorted((at, key) for key, at in moments if at is not None)
        ]
        yield from table([say("pm_moment"), say("pm_when", zone=self._reader.zone), say("pm_since_opening")], rows)
        if self._material.deployments:
            yield from ("", f"{say('pm_deployments')}:", "")
            for one in self._material.deployments:
                yield f"- {self._at(one.at)} {plain(one.name)}".rstrip()

    def _first(self, kind: EntryKind) -> datetime | None:
        page = (entry for entry in self._timeline if entry.kind is kind)
        return next((e.at for e in page if kind is not EntryKind.TOLD or e.data.notification is Kind.PAGE), None)

    def _chart(self) -> Iterator[str]:
        if self._material.chart:
            yield f"![{self._say('chart')}]({self._material.chart})"
        if self._material.page:
            yield from ("", f"<{self._material.page}>")

    def _lines(self) -> Iterator[str]:
        for group in folded(self._timeline):
            yield f"- {self._at(group[0].at)} {plain(group_text(group, self._reader), _LINE)}"

    def _people(self) -> Iterator[str]:
        """Say who was paged as what, and what each has done."""
        found: dict[str, dict[str, None]] = {}
        for entry in self._timeline:
            if entry.kind is EntryKind.PAGED:
                for holder in entry.data.people:
                    role = self._reader.name("role", holder.role)
                    found.setdefault(self._reader.who(holder.person), {})[self._say("pm_paged_as", role=role)] = None
            elif entry.kind in _ACTS and entry.actor not in {"", ALERTS}:
                found.setdefault(self._reader.who(entry.actor), {})[self._say(_ACTS[entry.kind])] = None
        for who, what in found.items():
            yield f"- {plain(who)}: {plain(', '.join(what))}"

    def _delivery(self) -> Iterator[str]:
        say, reader = self._say, self._reader
        rows = []
        for entry in self._timeline:
            data = entry.data
            if entry.kind not in _DELIVERIES or entry.text:
                continue
            failure = reader.name("failure", data.failure.value) if data.failure else ""
            result = say("pm_sent") if entry.kind is EntryKind.TOLD else failure or say("pm_not_sent")
            what = reader.name("notification", data.notification.value) if data.notification else ""
            whom = reader.who(data.person) if data.person else data.address
            rows.append((self._at(entry.at), what, whom, reader.name("channel", data.channel), result))
        if rows:
            yield from table(
                [say("pm_when", zone=reader.zone), say("pm_what"), say("pm_whom"), say("pm_way"), say("pm_result")],
                rows,
            )

    def _policy(self) -> Iterator[str]:
        say, incident = self._say, self._incident
        for step in incident.plan.steps:
            after, roles = self._reader.duration(step.after), plain(self._reader.roles(step.roles))
            hours = f" ({plain(step.hours)})" if step.hours else ""
            yield f"- {say('pm_step', after=after, roles=roles)}{hours}"
        done = [entry for entry in self._timeline if entry.kind in _POLICY and not entry.text]
        if done:
            yield from ("", f"{say('pm_done')}:", "")
        for entry in done:
            yield f"- {self._at(entry.at)} {plain(entry_text(entry, self._reader), _LINE)}"

    def _similar(self) -> Iterator[str]:
        for one in self._material.similar:
            past = one.incident
            opened = self._at(past.opened_at) if past.opened_at else ""
            length = ""
            if past.opened_at and past.resolved_at:
                length = f", {self._reader.duration(past.resolved_at - past.opened_at)}"
            text = ending_text(one, self._reader)
            said = f": {plain(text, _LINE)}" if text else ""
            yield f"- #{past.id} {plain(past.title)} ({opened}{length}){said}"

    def _at(self, when: datetime) -> str:
        return self._reader.local(when, "%Y-%m-%d %H:%M:%S")
