"""What the page History shows: how a period went, which alerts were noisiest, and the incidents themselves."""

import csv
import io
from collections import deque
from collections.abc import Mapping
from datetime import datetime, timedelta
from urllib.parse import urlencode

import msgspec

from process.web import whole_number
from receiver.incident.model import Incident, State
from receiver.messages.i18n import Reader, one_line
from receiver.reports.incidents.night import night_of
from receiver.reports.incidents.statistics import Report, Summary, Times, alert_name
from receiver.store.base import History, IncidentHistory
from receiver.web.console.layout import Viewing

PERIODS = (1, 7, 30, 90, 365)  # days
_LISTED, _EXPORTED = 200, 50_000  # incidents
_READ = 200_000
_TEXT, _TITLE = 100, 200  # characters
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Search(msgspec.Struct, frozen=True):
    """What the query of the page's URL asks for."""

    days: int = 7
    text: str = ""
    team: str = ""

    @classmethod
    def read(cls, query: Mapping[str, str]) -> "Search":
        """Read it; what cannot be read asks for the usual."""
        days = whole_number(query.get("days", ""), max(PERIODS)) or 7
        return cls(days if days in PERIODS else 7, query.get("q", "").strip()[:_TEXT], query.get("team", "")[:_TEXT])

    @property
    def query(self) -> str:
        """Write it as the query of a URL."""
        fields = {"days": str(self.days), "q": self.text, "team": self.team}
        return urlencode({name: value for name, value in fields.items() if value})

    def finds(self, incident: Incident) -> bool:
        """Say whether an incident is meant: by its number, a word of its title, or a label."""
        if self.team not in {"", incident.team}:
            return False
        wanted = self.text.casefold()
        if not wanted:
            return True
        texts = (f"#{incident.id}", str(incident.id), incident.acknowledged_by, *_pairs(incident))
        return wanted in incident.title.casefold() or any(wanted == one.casefold() for one in texts)


class Past(msgspec.Struct, frozen=True):
    """One incident of the list."""

    number: int
    priority: str
    state: str
    title: str
    team: str
    opened: datetime
    acknowledged: str  # after how long
    resolved: str
    who: str
    breached: bool


class Found(msgspec.Struct, frozen=True):
    """All that was found."""

    report: Report
    rows: tuple[Past, ...]
    count: int


async def find(store: History, search: Search, look: Viewing) -> Found:
    """Read the period once, and count while reading."""
    start = look.now - timedelta(days=search.days)
    summary = Summary(start, look.now + timedelta(seconds=1), night_of(look.routing))
    last: deque[IncidentHistory] = deque(maxlen=_LISTED)
    count = read = 0
    async for history in store.opened_between(start, look.now + timedelta(seconds=1)):
        read += 1
        if read > _READ:
            break
        if search.finds(history.incident):
            summary.add(history)
            last.append(history)
            count += 1
    return Found(summary.report(), tuple(_past(history, look.reader) for history in reversed(last)), count)


async def as_csv(store: History, search: Search, look: Viewing) -> str:
    """Write what was found for a spreadsheet, which takes no cell for a formula."""
    written = io.StringIO()
    table = csv.writer(written)
    table.writerow(["incident", "priority", "team", "title", "opened", "acknowledged", "by", "resolved", "breached"])
    count = 0
    async for history in store.opened_between(look.now - timedelta(days=search.days), look.now + timedelta(seconds=1)):
        one = history.incident
        if count >= _EXPORTED:
            break
        if not search.finds(one):
            continue
        count += 1
        times = (one.opened_at, history.acknowledged_at, one.resolved_at)
        opened, acknowledged, resolved = (at.isoformat(timespec="seconds") if at else "" for at in times)
        who, title, team = (one_line(text, _TITLE) for text in (one.acknowledged_by, one.title, one.team))
        row = [one.id, one.priority.value, team, title, opened, acknowledged, who, resolved, history.breached]
        table.writerow([_plain(cell) for cell in row])
    return written.getvalue()


def figures(report: Report, reader: Reader) -> tuple[tuple[str, str, bool], ...]:
    """Give the numbers that a week is judged by: name, value, whether it is bad."""
    answered = [row for row in report.by_priority if row.acknowledge.mean is not None]
    nights = sum(night for _, _, night in report.pages)
    return (
        (reader.say("console_incidents"), str(report.incidents), False),
        (reader.say("console_still_open"), str(report.still_open), False),
        (reader.say("console_breaches"), str(report.breaches), report.breaches > 0),
        (reader.say("console_mtta"), _overall([row.acknowledge for row in answered], reader), False),
        (reader.say("console_mttr"), _overall([row.resolve for row in report.by_priority], reader), False),
        (reader.say("console_night_pages"), str(nights), nights > 0),
    )


def _overall(times: list[Times], reader: Reader) -> str:
    count = sum(one.count for one in times)
    total = sum(one.count * one.mean for one in times if one.mean is not None)
    return reader.duration(total / count) if count else "-"


def span(seconds: float | None, reader: Reader) -> str:
    """Write a duration of a table."""
    return "-" if seconds is None else reader.duration(seconds)


def _past(history: IncidentHistory, reader: Reader) -> Past:
    one = history.incident
    opened = one.opened_at or history.acknowledged_at
    if opened is None:
        raise ValueError("an incident that has opened knows when")
    who = one.acknowledged_by or (
        one.resolved_by if one.state is State.RESOLVED and one.resolved_by != "alerts" else ""
    )
    return Past(
        number=one.id,
        priority=one.priority.value,
        state=one.state.value,
        title=one_line(one.title, _TITLE) or alert_name(one) or reader.say("no_name"),
        team=one_line(one.team, _TEXT),
        opened=opened,
        acknowledged=reader.duration(history.acknowledged_at - opened) if history.acknowledged_at else "",
        resolved=reader.duration(one.resolved_at - opened) if one.resolved_at else "",
        who=reader.who(who) if who else "",
        breached=history.breached,
    )


def _pairs(incident: Incident) -> list[str]:
    return [text for name, value in incident.labels.items() for text in (value, f"{name}={value}")]


def _plain(cell: object) -> object:
    """Keep a spreadsheet from calculating what an alert says (owasp.org/www-community/attacks/CSV_Injection)."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
