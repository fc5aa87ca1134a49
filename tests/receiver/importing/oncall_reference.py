"""Renders shifts of Grafana OnCall as its own code does: compiled to iCal events, which dateutil expands.

Follows CustomOnCallShift.convert_to_ical, get_rotation_date and _daily_by_day_to_ical, and OnCallSchedule's
_apply_swap_requests and _resolve_schedule (engine/apps/schedules/models of grafana/oncall@3666186), in naive times of
the shift's zone. It shares no code with the product, nor with the stand-in.
"""

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from dateutil.relativedelta import relativedelta
from dateutil.rrule import DAILY, FR, HOURLY, MO, MONTHLY, SA, SU, TH, TU, WE, WEEKLY, rrule

FREQUENCIES = {"hourly": HOURLY, "daily": DAILY, "weekly": WEEKLY, "monthly": MONTHLY}
WEEKDAYS = {"MO": MO, "TU": TU, "WE": WE, "TH": TH, "FR": FR, "SA": SA, "SU": SU}
NAMES = list(WEEKDAYS)
Json = dict[str, Any]


@dataclass
class Event:
    """A VEVENT."""

    start: datetime
    end: datetime
    users: list[str]
    rule: Json | None


def naive(text: str) -> datetime:
    return datetime.fromisoformat(text)


class Compiler:
    """One shift, as the API gives it."""

    def __init__(self, shift: Json, zone: str, known: set[str], *, web: bool) -> None:
        self.shift, self.zone, self.known, self.web = shift, zone, known, web
        self.start, self.length = naive(shift["start"]), timedelta(seconds=shift["duration"])
        self.rotation_start = naive(shift["rotation_start"]) if shift.get("rotation_start") else self.start
        self.until = naive(shift["until"]) if shift.get("until") else None
        self.frequency, self.by_day = shift.get("frequency"), shift.get("by_day")
        self.interval = shift.get("interval")
        self.week_start = NAMES.index(shift.get("week_start") or "SU")

    def rule(self, interval: int | None = None) -> Json | None:
        if self.frequency is None:
            return None
        groups = self.shift.get("rolling_users") or []
        of_event = (self.interval or 1) * (len(groups) if self.shift["type"] == "rolling_users" and groups else 1)
        return {
            "freq": FREQUENCIES[self.frequency],
            "interval": interval or of_event,
            "wkst": WEEKDAYS[NAMES[self.week_start]],
            "byweekday": [WEEKDAYS[day] for day in self.by_day] if self.by_day else None,
            "bymonth": self.shift.get("by_month"),
            "bymonthday": self.shift.get("by_monthday"),
        }

    def event(self, start: datetime, users: list[str], rule: Json | None = None) -> Event:
        end = start + self.length
        if self.until:
            end = min(end, self.until)
        return Event(start, end, users, rule or self.rule())

    def events(self) -> list[Event]:
        if self.shift["type"] not in {"rolling_users", "override"}:
            return [self.event(self.start, [u for u in self.shift.get("users") or [] if u in self.known])]
        queue = self.queue()
        if not queue:
            return []
        if self.frequency is None:
            queue = queue[:1]
        start = self.first_start()
        if self.frequency == "daily" and self.by_day:
            return self.daily_by_day(start, queue)
        made: list[Event] = []
        for users in itertools.cycle(queue):
            if start is None or len(made) == len(queue):
                break
            if (self.web and start + self.length > self.rotation_start) or start >= self.rotation_start:
                made.append(self.event(start, users))
            start = self.rotation_date(start, following=True) if self.frequency else None
        return made

    def first_start(self) -> datetime | None:
        start: datetime | None = self.start
        if self.start != self.rotation_start and self.frequency is not None:
            start = self.rotation_date(self.start, following=False)
        if self.by_day and start is not None and NAMES[start.weekday()] not in self.by_day:
            ordered = [day % 7 for day in range(self.week_start, self.week_start + 7)]
            expected = next(day for day in ordered if NAMES[day] in self.by_day)
            start += timedelta(days=(expected - start.weekday()) % 7)
        return start

    def queue(self) -> list[list[str]]:
        if self.shift["type"] == "override":
            return [self.shift.get("users") or []]
        groups, index = self.shift.get("rolling_users") or [], self.shift.get("start_rotation_from_user_index") or 0
        groups = groups[index:] + groups[:index]
        return [kept for group in groups if (kept := [user for user in group if user in self.known])]

    def daily_by_day(self, start: datetime | None, queue: list[list[str]]) -> list[Event]:
        combinations: list[tuple[int, str, int]] = []
        starts: list[datetime] = []
        first = last = start
        over = False
        for group in itertools.cycle(range(len(queue))):
            for number in range(self.interval or 1):
                if not start:
                    over = True
                    break
                last, day = start, NAMES[start.weekday()]
                if day in (self.by_day or []):
                    if (group, day, number) in combinations:
                        over = True
                        break
                    starts.append(start)
                    combinations.append((group, day, number))
                start = self.rotation_date(start, following=True, interval=1)
            if over:
                break
        weeks = ((last - first).days // 7 or 1) if first and last else 1
        made = []
        for (group, day, _), begin in zip(combinations, starts, strict=True):
            rule = (self.rule() or {}) | {"freq": WEEKLY, "interval": weeks, "byweekday": [WEEKDAYS[day]]}
            made.append(self.event(begin, queue[group], rule))
        return made

    def rotation_date(self, current: datetime, *, following: bool, interval: int | None = None) -> datetime | None:
        step = interval or self.interval or 1
        at = current
        if following and self.frequency == "hourly":
            at += timedelta(hours=1)
        elif following and self.frequency == "daily":
            at += timedelta(days=1)
        elif following and self.frequency == "weekly":
            days = 7 - current.weekday() + self.week_start
            days = days % 7 if days > 7 else days
            at += timedelta(days=days + 7 * (step - 1))
        elif following and self.frequency == "monthly":
            at = current.replace(day=1) + relativedelta(months=step)
        last = None
        if self.frequency == "weekly":
            last = at + timedelta(days=6 - (at.weekday() - self.week_start) % 7)
        elif self.frequency == "monthly":
            last = at + relativedelta(day=31)
        chosen = self.chosen(current, at, last, step) or at
        return None if self.until and chosen > self.until else chosen

    def chosen(self, current: datetime, at: datetime, last: datetime | None, step: int) -> datetime | None:
        one: datetime
        for one in rrule(dtstart=current, until=current + timedelta(days=400), **(self.rule(step) or {})):
            if last is None:
                if one >= at:
                    return one
            elif one > last:
                return None
            elif one >= at and ((self.web and one + self.length > self.rotation_start) or one >= self.rotation_start):
                return one
        return None


Span = tuple[datetime, datetime, int, frozenset[str]]


def expanded(shift: Json, zone: str, known: set[str], until: datetime, *, web: bool) -> list[Span]:
    """Give the spans of one shift, in UTC, with its rank: overrides are above all levels."""
    compiler, spans = Compiler(shift, zone, known, web=web), list[Span]()
    rank = 1_000 if shift["type"] == "override" else shift.get("level", 0)

    def instant(at: datetime) -> datetime:
        return at.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)

    for event in compiler.events():
        if not event.users:
            continue
        starts = (
            [event.start]
            if event.rule is None
            else rrule(dtstart=event.start, until=until.replace(tzinfo=None) + timedelta(days=1), **event.rule)
        )
        for at in starts:
            if instant(at) > until or (compiler.until and instant(at) > compiler.until.replace(tzinfo=UTC)):
                break
            spans.append((instant(at), instant(at + (event.end - event.start)), rank, frozenset(event.users)))
    return spans


def final(
    shifts: list[tuple[Json, str]], swaps: list[Json], known: set[str], start: datetime, end: datetime, *, web: bool
) -> list[Json]:
    """Give what `final_shifts` answers, a row for each person: the highest rank that has anybody, swaps applied."""
    spans = [span for shift, zone in shifts for span in expanded(shift, zone, known, end, web=web)]
    taken = [
        (
            datetime.fromisoformat(s["swap_start"]),
            datetime.fromisoformat(s["swap_end"]),
            s["beneficiary"],
            s["benefactor"],
        )
        for s in swaps
        if s.get("benefactor")
    ]
    edges = {start, end, *(edge for span in spans for edge in span[:2]), *(edge for swap in taken for edge in swap[:2])}
    rows: list[Json] = []
    for begin, finish in itertools.pairwise(sorted(edge for edge in edges if start <= edge <= end)):
        there = [span for span in spans if span[0] <= begin < span[1]]
        rank = max((span[2] for span in there), default=0)
        people = {user for span in there if span[2] == rank for user in span[3]}
        for swap_start, swap_end, gone, instead in taken:
            if swap_start <= begin < swap_end:
                people = {instead if user == gone else user for user in people}
        rows += [
            {
                "user_pk": user,
                "user_email": f"{user}@example.com",
                "user_username": user,
                "shift_start": f"{begin:%Y-%m-%dT%H:%M:%SZ}",
                "shift_end": f"{finish:%Y-%m-%dT%H:%M:%SZ}",
            }
            for user in sorted(people)
        ]
    return rows
