"""Writes the page behind a message's link, where a person acknowledges or resolves, and its refusals."""

from collections.abc import Callable, Sequence
from datetime import datetime

import jinja2

from receiver.incident.alerts import ALERTS
from receiver.incident.model import Alert, Entry, Incident, State
from receiver.incident.undo import can_undo, has_ended, resolve_of
from receiver.messages.i18n import Reader, several_lines
from receiver.messages.link import Refusal
from receiver.messages.render import annotated_url, in_order, incident_name, respond_by, what_broke
from receiver.messages.timeline import LINE, folded, group_text, pause_text

_UNDO = {Refusal.TOO_LATE, Refusal.ENDED}  # the link works, and the undo does not
LISTED = 20  # alerts that the page shows


class AnswerPageRenderer:
    """Renders the pages; ``nonce`` is what the Content-Security-Policy allows the style by."""

    def __init__(self) -> None:
        self._pages = jinja2.Environment(
            loader=jinja2.PackageLoader("receiver.messages"),
            undefined=jinja2.StrictUndefined,
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def refused(self, refusal: Refusal, reader: Reader, nonce: str, since: str = "") -> str:
        """Write why the link or the button did nothing, and what happened ``since``."""
        title, heading = ("refused_undo", "refused_undo") if refusal in _UNDO else ("refused_title", "refused")
        values = {
            "title": reader.say(title),
            "heading": reader.say(heading),
            "reason": reader.say(f"refused_{refusal.value}"),
            "since": since,
            "say": reader.say,
            "language": reader.language,
        }
        return self._pages.get_template("refused.html").render(nonce=nonce, **values)

    def digest(
        self,
        incidents: Sequence[Incident],
        link_of: Callable[[Incident], str],
        reader: Reader,
        now: datetime,
        nonce: str,
    ) -> str:
        """Write how the incidents of a digest stand, and one button that acknowledges those that nobody has.

        ``link_of`` is empty for one that has fired again since: it is shown, and not acknowledged.
        """
        rows = [
            {
                "state": incident.state.value,
                "name": incident_name(incident, reader),
                "status": status_text(incident, reader, now),
                "link": link_of(incident),
            }
            for incident in incidents
        ]
        values = {"say": reader.say, "language": reader.language, "zone": reader.zone, "rows": rows}
        values["unanswered"] = sum(row["state"] == State.TRIGGERED and row["link"] != "" for row in rows)
        return self._pages.get_template("digest.html").render(nonce=nonce, **values)

    def answer(  # what a page shows
        self,
        incident: Incident,
        timeline: Sequence[Entry],
        person: str,
        reader: Reader,
        now: datetime,
        nonce: str,
        *,
        asking: bool = False,
    ) -> str:
        """Write how the incident stands, its buttons, its alerts and its timeline, newest first.

        ``asking``: in place of the buttons, the question whether to resolve what still fires.
        """
        alerts = incident.firing
        values = {
            "say": reader.say,
            "language": reader.language,
            "zone": reader.zone,
            "state": incident.state.value,
            "title": what_broke(incident, reader),
            "number": incident.id,
            "priority": incident.priority.value,
            "team": incident.team,
            "status": status_text(incident, reader, now),
            "drill": incident.drill,
            "paused": pause_text(incident.paused, reader, now) if incident.paused else "",
            "flapping": incident.flapping,
            "person": reader.who(person) if person else "",
            "renewable": bool(incident.clocks.acknowledged_until and not incident.clocks.remind_due_at),
            "firing": incident.firing_count,
            "begun": incident.begun,
            "undo": self._undo(incident, reader, now),
            "asking": asking,
            "alerts": [_alert(alert, reader) for alert in alerts[:LISTED]],
            "more": max(0, incident.firing_count - LISTED),
            "timeline": [_line(group, reader) for group in reversed(folded(timeline))],
        }
        return self._pages.get_template("answer.html").render(nonce=nonce, **values)

    def _undo(self, incident: Incident, reader: Reader, now: datetime) -> dict[str, object]:
        """What the button that undoes a resolve says and sends; empty if it cannot be undone."""
        if incident.state is not State.RESOLVED or incident.undo is None or incident.resolved_at is None:
            return {}
        if not can_undo(incident, now) or has_ended(incident):
            return {}
        until = incident.undo.until
        return {
            "seconds": max(1, int((until - now).total_seconds())),
            "until": reader.say("undo_until", time=reader.local(until, "%H:%M:%S")),
            "resolve": resolve_of(incident),
        }


def status_text(incident: Incident, reader: Reader, now: datetime) -> str:
    """Say how an incident stands."""
    match incident.state:
        case State.ACKNOWLEDGED:
            until, since = incident.clocks.acknowledged_until, incident.acknowledged_at or now
            values = {"who": reader.who(incident.acknowledged_by), "since": reader.time(since, now)}
            if until is None:
                return reader.say("answer_acknowledged", **values)
            return reader.say("answer_acknowledged_until", **values, until=reader.time(until, now))
        case State.RESOLVED:
            at = reader.moment(incident.resolved_at or now)
            if incident.resolved_by == ALERTS:
                return reader.say("answer_resolved", at=at)
            values = {"who": reader.who(incident.resolved_by), "at": at}
            if incident.firing:
                return reader.say("answer_resolved_firing", **values, count=incident.firing_count)
            return reader.say("answer_resolved_by", **values)
    due = reader.time(respond_by(incident), now)
    return reader.say("answer_triggered", since=reader.moment(incident.opened_at or now), due=due)


def _alert(alert: Alert, reader: Reader) -> dict[str, str]:
    labels, annotations = alert.labels, alert.annotations
    summary = annotations.get("summary") or annotations.get("message", "")
    return {
        "what": summary or labels.get("alertname") or reader.say("no_name"),
        "description": several_lines(annotations.get("description", ""), LINE),
        "runbook": annotated_url(alert, "runbook"),
        "labels": " · ".join(f"{k}={v}" for k, v in in_order(labels)),
    }


def _line(group: Sequence[Entry], reader: Reader) -> dict[str, str]:
    return {"at": reader.local(group[0].at, "%Y-%m-%d %H:%M:%S"), "text": group_text(group, reader)}
