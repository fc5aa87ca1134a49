"""Writes the facts of the core as phrases: lines of a timeline, reasons of a notification, pauses. Pure."""

from collections.abc import Sequence
from datetime import datetime

from receiver.incident.alerts import ALERTS
from receiver.incident.model import Data, Entry, EntryKind, Kind, Notification, Pause
from receiver.messages.i18n import Reader, one_line

LINE = 600  # characters; what is longer is cut, visibly
_DELIVERIES = frozenset({EntryKind.TOLD, EntryKind.DEAD, EntryKind.FALLBACK})
_NEWS = frozenset({Kind.UPDATE, Kind.REMINDER, Kind.ACKNOWLEDGED})


def entry_text(entry: Entry, reader: Reader) -> str:
    """Write one line of the timeline; one of an older receiver stays as that wrote it."""
    if entry.text or entry.kind is EntryKind.REMARK:
        by = f" ({entry.actor})" if entry.actor and entry.actor != ALERTS else ""
        return one_line(f"{entry.text}{by}", LINE)
    values = _values(entry.data, reader, entry.at)
    still = "_firing" if entry.kind is EntryKind.RESOLVED_BY_HAND and entry.data.count else ""
    return one_line(reader.say(f"entry_{entry.kind.value}{still}", **values, actor=reader.who(entry.actor)), LINE)


def folded(timeline: Sequence[Entry]) -> list[list[Entry]]:
    """Put together what was sent of one thing: a page by five ways is one line, where the first of it was sent."""
    groups: list[list[Entry]] = []
    sent: dict[object, list[Entry]] = {}
    for entry in timeline:
        if entry.kind not in _DELIVERIES:
            sent = {}  # what is sent from here on is about something else
        group = sent.get(entry.data.notification) if entry.kind is EntryKind.TOLD and not entry.text else None
        if group is not None:
            group.append(entry)
            continue
        groups.append([entry])
        if entry.kind is EntryKind.TOLD:
            sent[entry.data.notification] = groups[-1]
    return groups


def group_text(group: Sequence[Entry], reader: Reader) -> str:
    """Write one line for what ``folded`` put together: whom it was sent to, and by which ways."""
    first = group[0]
    if len(group) == 1:
        return entry_text(first, reader)
    ways: dict[str, list[str]] = {}
    for entry in group:
        data = entry.data
        whom = reader.who(data.person) if data.person else data.address
        ways.setdefault(whom, []).append(reader.name("channel", data.channel))
    whom = ", ".join(f"{name} ({', '.join(dict.fromkeys(channels))})" for name, channels in ways.items())
    what = reader.name("notification", first.data.notification.value) if first.data.notification else ""
    return one_line(reader.say("entry_told_several", what=what, whom=whom), LINE)


def news(notification: Notification, reader: Reader, now: datetime) -> str:
    """Write what an update, a reminder, or an acknowledgement with a reason is about; empty for any other."""
    if notification.kind not in _NEWS or notification.reason is None:
        return one_line(notification.text, LINE)
    return one_line(reader.say(f"news_{notification.reason.value}", **_values(notification.data, reader, now)), LINE)


def pause_text(pause: Pause, reader: Reader, now: datetime) -> str:
    """Write why an incident waits, by whom, and until when."""
    comment = reader.say("pause_comment", comment=pause.comment) if pause.comment else ""
    author = reader.say("by", who=reader.who(pause.author)) if pause.author else ""
    until = reader.say("pause_until", time=reader.time(pause.until, now)) if pause.until else ""
    key = f"pause_{pause.kind.name.lower()}"
    return one_line(reader.say(key, name=pause.name, comment=comment, by=author, until=until), LINE)


def _values(data: Data, reader: Reader, now: datetime) -> dict[str, object]:
    """Everything that a phrase may name."""
    people = ", ".join(f"{reader.who(one.person)} ({reader.name('role', one.role)})" for one in data.people)
    alert = one_line(data.alert, LINE) or reader.say("no_name")
    return {
        "priority": data.priority or "",
        "before": data.before or "",
        "team": one_line(data.team, LINE),
        "teams": one_line(", ".join(data.teams), LINE // 2),
        "title": one_line(data.title, LINE) or reader.say("no_name"),
        "alert": reader.say("alert_on", alert=alert, where=one_line(data.where, LINE)) if data.where else alert,
        "count": data.count,
        "total": data.total,
        "named": one_line(data.named, LINE // 4),
        "text": one_line(data.text, LINE),
        "act": reader.name("act", data.act),
        "incident": data.incident,
        "roles": reader.roles(data.roles),
        "people": people,
        "duration": reader.duration(data.seconds),
        "due": reader.time(data.due, now) if data.due else "",
        "pause": pause_text(data.pause, reader, now) if data.pause else "",
        **_sending(data, reader),
    }


def _sending(data: Data, reader: Reader) -> dict[str, object]:
    """What was sent to whom, and what became of it."""
    return {
        "what": reader.name("notification", data.notification.value) if data.notification else "",
        "whom": reader.who(data.person) if data.person else data.address,
        "channel": reader.name("channel", data.channel),
        "others": ", ".join(reader.name("channel", channel) for channel in data.channels),
        "failure": reader.name("failure", data.failure.value) if data.failure else "",
        "origin": reader.name("origin", data.origin.value) if data.origin else "",
    }
