"""Maps the shifts of Grafana OnCall to layers. Pure.

OnCall compiles a shift to iCal events, one for each group of people, and expands these; see `convert_to_ical` in
engine/apps/schedules/models/custom_on_call_shift.py of grafana/oncall@3666186. Times are those of the shift's zone.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise, takewhile
from operator import attrgetter
from zoneinfo import ZoneInfo

import msgspec

from receiver.importing.draft import NOBODY, Grade, Layer, Local, Window, duration, naive, week_time

DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_DAY = timedelta(days=1)
_WEEK = 7 * 1440
_FROZEN_FOR = timedelta(days=400)  # from the reading on
_MOST_FROZEN = 400  # layers that stand for one shift which no rotation can express
_MOST_STARTS = 200_000  # of a shift, until it ends or the horizon is reached
_EVERY = {"hourly": timedelta(hours=1), "daily": _DAY, "weekly": 7 * _DAY}

Group = tuple[str, ...]


class Shift(msgspec.Struct, frozen=True):
    """`on_call_shifts` of the API (engine/apps/public_api/serializers/on_call_shifts.py)."""

    id: str
    type: str
    start: Local
    duration: int
    name: str = ""
    time_zone: str | None = None
    level: int = 0
    rotation_start: Local | None = None
    frequency: str | None = None
    interval: int | None = None
    until: Local | None = None
    week_start: str = "SU"
    by_day: list[str] | None = None
    by_month: list[int] | None = None
    by_monthday: list[int] | None = None
    users: list[str] | None = None
    rolling_users: list[list[str] | None] | None = None
    start_rotation_from_user_index: int | None = None

    @property
    def step(self) -> int:
        """Give after how many days, weeks, hours or months the next group follows."""
        return self.interval or 1

    @property
    def length(self) -> timedelta:
        """Give how long one shift is."""
        return timedelta(seconds=self.duration)

    @property
    def days(self) -> frozenset[int]:
        """Give the days of the week that are selected, Monday is 0."""
        return frozenset(DAYS.index(day) for day in self.by_day or () if day in DAYS)


class Mapped(msgspec.Struct, frozen=True):
    """The layers that stand for a shift."""

    layers: tuple[Layer, ...]
    grade: Grade = Grade.EXACT
    why: str = ""


class _Start(msgspec.Struct, frozen=True):
    """One shift of one group: its beginning, and whether the group's event begins with it."""

    at: datetime
    group: int
    first: bool


def groups_of(shift: Shift) -> list[list[str]]:
    """Give the groups in the order of their turns, by the ids of their people."""
    if shift.type != "rolling_users":
        return [list(shift.users or ())]
    rolling = [list(group or ()) for group in shift.rolling_users or ()]
    index = shift.start_rotation_from_user_index or 0
    return rolling[index:] + rolling[:index]


def layers_of(shift: Shift, groups: Sequence[Group], zone: str, now: datetime, *, by_web: bool) -> Mapped:
    """Map one shift whose groups are ``groups``, () for one in which nobody is left."""
    turns = [group for group in groups if group]
    if shift.duration < 60 or shift.step < 0:  # noqa: PLR2004  # a minute
        return Mapped((), Grade.NOT_MAPPED, "it is shorter than a minute, or its interval is negative")
    if not turns:
        return Mapped((), Grade.NOT_MAPPED, "nobody is in it")
    empty = 0 if shift.frequency == "daily" and shift.days else len(groups) - len(turns)
    return _Mapping(shift, turns if shift.frequency else turns[:1], empty, zone, now, by_web=by_web).mapped()


class _Mapping:
    def __init__(self, shift: Shift, turns: list[Group], empty: int, zone: str, now: datetime, *, by_web: bool) -> None:
        self._shift, self._turns, self._zone, self._now, self._by_web = shift, turns, zone, now, by_web
        self._horizon = (now + _FROZEN_FOR).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        self._anchor = self._first_start()
        self._ends = ""
        self._follow_the_week()
        if empty and shift.frequency:
            self._leave_out(empty)

    def _follow_the_week(self) -> None:
        """Begin where OnCall does: in weeks and months that are not shown, it forgets the day of the rotation.

        `get_rotation_date` gives the first day of such a period, from which it goes on.
        """
        shift, groups = self._shift, 0
        if shift.type != "rolling_users" or shift.frequency not in {"weekly", "monthly"}:
            return
        if shift.days or shift.by_month or shift.by_monthday:
            return
        while not self._is_visible(self._anchor) and self._anchor <= self._horizon:
            first, same = self._next_period(self._anchor)
            self._anchor = same if same is not None and self._is_visible(same) else first
            groups += 1
        groups %= len(self._turns)
        self._turns = self._turns[groups:] + self._turns[:groups]

    def _next_period(self, at: datetime) -> tuple[datetime, datetime | None]:
        """Give the first day of the week or month whose turn follows, and the same day in it, if there is one."""
        step = self._shift.step
        if self._shift.frequency == "weekly":
            days = 7 - at.weekday() + self._week_start()
            return at + ((days % 7 if days > 7 else days) + 7 * (step - 1)) * _DAY, at + 7 * step * _DAY  # noqa: PLR2004
        month = at.year * 12 + at.month - 1 + step
        first = at.replace(year=month // 12, month=month % 12 + 1, day=1)
        same = first + (at.day - 1) * _DAY
        return first, same if same.month == first.month else None

    def _leave_out(self, empty: int) -> None:
        """Groups without people are not scheduled, but the others' interval counts them: nobody follows the last.

        Until the rotation is shown, the turns of those who are left follow each other.
        """
        shown = next((start for start in self._starts() if self._is_visible(start.at)), None)
        if shown is not None:
            self._turns = self._turns[shown.group :] + self._turns[: shown.group]
            self._anchor = shown.at
        self._turns += [()] * empty

    def mapped(self) -> Mapped:
        shift = self._shift
        if not shift.frequency:
            return self._once()
        if shift.frequency not in {*_EVERY, "monthly"}:
            return Mapped((), Grade.NOT_MAPPED, f"unknown frequency {shift.frequency!r}")
        end = self._end()
        if end is not None and end <= self._now.astimezone(ZoneInfo(self._zone)).replace(tzinfo=None):
            return Mapped((), Grade.EXACT, "it is over")
        if self._is_unusual():
            return self._frozen()
        self._ends = naive(end) if end else ""
        grade = Grade.APPROXIMATED if (oddity := self._oddity()) else Grade.EXACT
        if not self._fits():
            return Mapped(tuple(self._stacked()), grade, oddity or "one layer for each group: its shifts overlap")
        return Mapped((self._layer(),), grade, oddity)

    def _oddity(self) -> str:
        """Name what OnCall makes of unusual shifts and we do not."""
        shift = self._shift
        if shift.start.second or (shift.days and shift.duration % 60):
            return "it begins and ends at the full minute"
        if shift.days and shift.length > _DAY:
            return "shifts of more than a day on days of the week: compare the first and the last ones"
        if shift.until and (shift.length > _DAY or (shift.days and shift.frequency == "daily")):
            return "it ends: OnCall may cut or repeat its last shifts"
        if shift.days and shift.start.weekday() not in shift.days and shift.rotation_start not in {None, shift.start}:
            return "it starts on a day that is not selected: OnCall may skip the first week"
        return ""

    def _is_unusual(self) -> bool:
        """Say whether no rotation of ours means the same."""
        shift = self._shift
        if shift.frequency == "monthly" or shift.by_month or shift.by_monthday:
            return True
        by_days = shift.frequency == "hourly" or (shift.frequency == "daily" and not self._counts_selected_days())
        return bool(shift.days) and by_days

    def _once(self) -> Mapped:
        shift = self._shift
        end = shift.start + shift.length
        if self._instant(end) <= self._now:
            return Mapped((), Grade.EXACT, "it is over")
        return Mapped((self._single(shift.start, end, self._turns[0]),))

    def _layer(self) -> Layer:
        """One rotation of all groups."""
        shift, anchor = self._shift, self._anchor
        if shift.frequency == "daily" and shift.days:
            rotation = f"{shift.step} shift{'' if shift.step == 1 else 's'}"
            return self._rotation(anchor, rotation, windows=self._windows())
        turn = _EVERY[shift.frequency or ""] * shift.step
        if shift.frequency == "weekly" and len(shift.days) > 1:
            begins = anchor - ((anchor.weekday() - self._week_start()) % 7) * _DAY
            windows = self._windows() if not self._covers_the_week() else ()
            part = "1w" if shift.step > 1 else ""  # OnCall serves the first week of several only
            return self._rotation(begins, duration(int(turn.total_seconds())), part=part, windows=windows)
        part = duration(shift.duration) if shift.length < turn else ""
        first = next((start.at for start in self._starts()), anchor)
        return self._rotation(first, duration(int(turn.total_seconds())), part=part)

    def _rotation(self, start: datetime, rotation: str, *, part: str = "", windows: tuple[Window, ...] = ()) -> Layer:
        begin = self._visible_from()
        return Layer(
            people=tuple(_turn(group) for group in self._turns),
            start=start.date().isoformat(),
            handover=f"{start:%H:%M}",
            rotation={"1d": "daily", "1w": "weekly"}.get(rotation, rotation),
            level=self._shift.level,
            name=self._shift.name,
            time_zone=self._zone,
            clock="wall" if self._shift.frequency == "hourly" else "",
            shift=part,
            begin=naive(begin) if begin != start else "",
            end=self._ends,
            windows=windows,
        )

    def _single(self, start: datetime, end: datetime, group: Group) -> Layer:
        return Layer(
            people=(_turn(group),),
            start=start.date().isoformat(),
            handover=f"{start:%H:%M}",
            rotation="daily",
            level=self._shift.level,
            name=self._shift.name,
            time_zone=self._zone,
            begin=naive(start) if start.second else "",
            end=naive(end),
        )

    def _windows(self) -> tuple[Window, ...]:
        minute = self._anchor.hour * 60 + self._anchor.minute
        length = round(self._shift.duration / 60)  # 86,399 seconds are meant as a day
        starts = (day * 1440 + minute for day in sorted(self._shift.days))
        return tuple(Window(week_time(at), week_time(at + length)) for at in starts)

    def _covers_the_week(self) -> bool:
        return len(self._shift.days) == 7 and self._shift.length >= _DAY  # noqa: PLR2004

    def _fits(self) -> bool:
        """Say whether no shift reaches into the next one, so that one rotation says it all."""
        shift = self._shift
        if shift.days and shift.frequency in {"daily", "weekly"} and len(shift.days) > 1:
            days = sorted(shift.days)
            gaps = [later - day for day, later in pairwise([*days, days[0] + 7])]
            between = min(gaps) * _DAY
            return shift.length <= (min(between, _DAY) if shift.frequency == "weekly" else between)
        if shift.frequency == "daily" and shift.days:
            return shift.length < 7 * _DAY
        return shift.length <= _EVERY[shift.frequency or ""] * shift.step

    def _stacked(self) -> Iterator[Layer]:
        """One layer for each event that OnCall makes: together they are on call."""
        shift = self._shift
        if shift.days and shift.frequency in {"daily", "weekly"}:
            return self._stacked_by_day()
        every = _EVERY[shift.frequency or ""] * shift.step
        return (
            self._event(self._anchor + number * every, every * len(self._turns), group)
            for number, group in enumerate(self._turns)
            if group
        )

    def _stacked_by_day(self) -> Iterator[Layer]:
        """The starts repeat after so many weeks: one layer for each of them."""
        shift, weeks = self._shift, self._shift.step * len(self._turns)
        until = self._anchor - ((self._anchor.weekday() - self._week_start()) % 7) * _DAY + weeks * 7 * _DAY
        if shift.frequency == "daily":
            until = self._anchor + weeks * 7 * _DAY  # a multiple of what OnCall uses
        for start in takewhile(lambda start: start.at < until, self._starts()):
            if self._turns[start.group]:
                yield self._event(start.at, weeks * 7 * _DAY, self._turns[start.group])
        if shift.frequency == "weekly":  # the days of the first week that lie before the start
            for day in sorted(shift.days):
                again = until + ((day - until.weekday()) % 7) * _DAY
                if again - weeks * 7 * _DAY < self._anchor and self._turns[0]:
                    yield self._event(again, weeks * 7 * _DAY, self._turns[0])

    def _event(self, start: datetime, every: timedelta, group: Group) -> Layer:
        part = duration(self._shift.duration) if self._shift.length < every else ""
        layer = msgspec.structs.replace(
            self._rotation(start, duration(int(every.total_seconds())), part=part), people=(_turn(group),)
        )
        begin = max(start, self._visible_from())
        end = self._end(lambda at: (at - start) % every == timedelta(0))
        return msgspec.structs.replace(
            layer, begin=naive(begin) if begin != start else "", end=naive(end) if end else ""
        )

    def _frozen(self) -> Mapped:
        """Write what the rule gives for more than a year: no rotation of ours means the same."""
        since = self._now.astimezone(ZoneInfo(self._zone)).replace(tzinfo=None)
        until = self._horizon.date().isoformat()
        layers: list[Layer] = []
        for start in self._starts():
            end = start.at + self._shift.length
            if end > since and self._turns[start.group] and self._is_visible(start.at):
                layers.append(self._single(start.at, end, self._turns[start.group]))
            if len(layers) > _MOST_FROZEN:
                return Mapped((), Grade.NOT_MAPPED, f"repeats as no rotation can, more than {_MOST_FROZEN} times")
        return Mapped(tuple(layers), Grade.APPROXIMATED, f"its shifts are written one by one, until {until} only")

    # When its shifts begin.

    def _first_start(self) -> datetime:
        """Move to a day that is selected, the first in the order of the week, as OnCall does for rolling users."""
        shift = self._shift
        if not shift.days or shift.type != "rolling_users":
            return shift.start
        if shift.rotation_start not in {None, shift.start}:
            selected = next((at for at in self._until_the_week_is_over() if at.weekday() in shift.days), None)
            if selected is not None:
                return selected
        if shift.start.weekday() in shift.days:
            return shift.start
        wanted = next(day % 7 for day in range(self._week_start(), self._week_start() + 7) if day % 7 in shift.days)
        return shift.start + ((wanted - shift.start.weekday()) % 7) * _DAY

    def _until_the_week_is_over(self) -> Iterator[datetime]:
        """Give the days among which a rotation that is shown later begins."""
        shift = self._shift
        if shift.frequency == "daily":
            yield from (shift.start + n * shift.step * _DAY for n in range(7))
        elif shift.frequency == "weekly":
            left = 7 - (shift.start.weekday() - self._week_start()) % 7
            days = (shift.start + n * _DAY for n in range(left))
            yield from (at for at in days if self._is_visible(at))

    def _starts(self) -> Iterator[_Start]:
        """Give the beginnings of all shifts, in order, until the horizon or the end of the rule."""
        seen = set[object]()
        for number, (at, group, event) in enumerate(self._all_starts()):
            over = self._shift.until is not None and self._instant(at) > self._shift.until.replace(tzinfo=UTC)
            if at > self._horizon or over or number > _MOST_STARTS:
                return
            yield _Start(at, group, event not in seen)
            seen.add(event)

    def _all_starts(self) -> Iterator[tuple[datetime, int, object]]:
        """Give each beginning with its group and OnCall's event."""
        shift, count = self._shift, len(self._turns)
        if self._counts_selected_days():
            for turn, at in enumerate(self._selected(_DAY)):
                yield at, turn // shift.step % count, (turn % (shift.step * count), at.weekday())
        elif shift.frequency in {"hourly", "daily"} or (shift.frequency == "weekly" and not shift.days):
            every = _EVERY[shift.frequency] * shift.step
            for at in self._selected(every):
                turn = (at - self._anchor) // every
                yield at, turn % count, turn % count
        else:
            for at in self._selected(_DAY):
                period = self._period(at) - self._period(self._anchor)
                if period % shift.step == 0:
                    yield at, period // shift.step % count, period // shift.step % count

    def _counts_selected_days(self) -> bool:
        shift = self._shift
        return shift.frequency == "daily" and bool(shift.days) and (shift.type == "rolling_users" or shift.step == 1)

    def _selected(self, every: timedelta) -> Iterator[datetime]:
        """Give the times that the rule selects."""
        at = self._anchor
        while at <= self._horizon:
            if self._is_selected(at.date()):
                yield at
            at += every

    def _is_selected(self, day: date) -> bool:
        shift = self._shift
        if shift.by_month and day.month not in shift.by_month:
            return False
        if shift.days and day.weekday() not in shift.days:
            return False
        last = ((day.replace(day=28) + 4 * _DAY).replace(day=1) - _DAY).day
        if shift.by_monthday:
            return bool({day.day, day.day - last - 1} & set(shift.by_monthday))
        return shift.frequency != "monthly" or bool(shift.days) or day.day == self._anchor.day

    def _period(self, at: datetime) -> int:
        """Number the weeks, from their first day on, or the months."""
        if self._shift.frequency == "monthly":
            return at.year * 12 + at.month
        return (at.date().toordinal() - 1 - self._week_start()) // 7

    def _week_start(self) -> int:
        return DAYS.index(self._shift.week_start) if self._shift.week_start in DAYS else 6

    def _visible_from(self) -> datetime:
        """Give the first shift that is shown: rotations are counted from `start`, and shown from `rotation_start`."""
        return next((start.at for start in self._starts() if self._is_visible(start.at)), self._anchor)

    def _is_visible(self, at: datetime) -> bool:
        shift = self._shift
        since = shift.rotation_start
        if since is None or shift.type != "rolling_users" or (shift.frequency == "daily" and shift.days):
            return True
        return at + shift.length > since if self._by_web else at >= since

    def _end(self, counts: Callable[[datetime], bool] = lambda _at: True) -> datetime | None:
        """Give when the last shift ends. One that began before `until` goes on, but for the first of its group."""
        shift = self._shift
        if shift.until is None:
            return None
        last = max((start for start in self._starts() if counts(start.at)), key=attrgetter("at"), default=None)
        if last is None:
            return self._anchor
        end = last.at + shift.length
        return min(end, shift.until) if last.first else end

    def _instant(self, at: datetime) -> datetime:
        return at.replace(tzinfo=ZoneInfo(self._zone)).astimezone(UTC)


def _turn(group: Group) -> str | Group:
    if not group:
        return NOBODY
    return group[0] if len(group) == 1 else group
