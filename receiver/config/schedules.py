"""Builds the schedules of receiver.yml; errors name file, line and fix."""

import re
from datetime import datetime, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

from process.settings import Findings, Source, parse_duration
from receiver.config.people import (
    NOBODY,
    Between,
    HoursSettings,
    LayerSettings,
    OverrideSettings,
    PersonSettings,
    ScheduleSettings,
    SwapSettings,
)
from receiver.oncall.hours import Hours, HoursError
from receiver.oncall.hours import parse as parse_hours
from receiver.oncall.schedule import Amendment, Layer, Schedule, Span, StandIn, Swap, served_days
from receiver.oncall.turns import Unit, WeekWindow

Away = dict[str, tuple[tuple[datetime, datetime], ...]]

_COUNTED = re.compile(r"([1-9]\d{0,2}) (shift|month)s?")
_ROTATIONS = {"daily": timedelta(days=1), "weekly": timedelta(days=7)}


class Reader:
    """Builds the schedules of one file; every error names file, line and fix."""

    def __init__(self, source: Source, people: dict[str, PersonSettings]) -> None:
        self._source, self._people = source, people

    def schedules(self, sections: dict[str, ScheduleSettings]) -> dict[str, Schedule]:
        """Build all schedules, without the shifts that come from calendars."""
        findings, made, away = Findings(), dict[str, Schedule](), Away()
        with findings.collecting():
            away = self.away
        for name, settings in sections.items():
            with findings.collecting():
                made[name] = self._schedule(name, settings, away)
        findings.refuse()
        return made

    def named_hours(self, name: str, settings: HoursSettings) -> Hours:
        """Read the hours that rows of a matrix name."""
        return self.hours(f".hours.{name}", settings.hours, settings.days, settings.time_zone)

    @cached_property
    def away(self) -> Away:
        """Everybody's vacations."""
        findings, vacations = Findings(), Away()
        for key, person in self._people.items():
            with findings.collecting():
                at = f".people.{key}"
                zone = self.zone(f"{at}.time_zone", person.time_zone)
                times = [self.between(f"{at}.vacation[{n}]", span, zone) for n, span in enumerate(person.vacation)]
                if times:
                    vacations[key] = tuple(times)
        findings.refuse()
        return vacations

    def stand_ins(self, key: str) -> tuple[StandIn, ...]:
        """Give those who take a person's place during their vacations."""
        person, named = self._people[key], list[StandIn]()
        for number, vacation in enumerate(person.vacation):
            if vacation.stand_in:
                at = f".people.{key}.vacation[{number}].stand_in"
                self._known(at, (vacation.stand_in,))
                if vacation.stand_in == key:
                    raise self._source.error(at, "nobody stands in for themselves; name another person")
                named.append(StandIn(*self.between(at, vacation, person.time_zone), vacation.stand_in))
        return tuple(named)

    def zone(self, at: str, name: str) -> str:
        """Check a time zone."""
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError) as error:
            text = f"invalid time zone {name!r} (expected e.g. Europe/Berlin)"
            raise self._source.error(at, text) from error
        return name

    def hours(self, at: str, hours: str, days: list[str], zone: str) -> Hours:
        """Read hours of the week."""
        try:
            return parse_hours(hours or "00:00-24:00", days, zone)
        except HoursError as error:
            raise self._source.error(at, str(error)) from error

    def between(self, at: str, span: Between, zone: str) -> tuple[datetime, datetime]:
        """Read a span of time."""
        start, end = span.from_.at(zone), span.to.at(zone)
        if end <= start:
            raise self._source.error(at, f"ends ({span.to}) before it starts ({span.from_})")
        return start, end

    def _schedule(self, name: str, settings: ScheduleSettings, away: Away) -> Schedule:
        at = f".schedules.{name}"
        zone = self.zone(f"{at}.time_zone", settings.time_zone)
        if not settings.layers and settings.calendar is None:
            raise self._source.error(at, "set layers or a calendar: nobody would be on call")
        named = {layer.name for layer in settings.layers if layer.name}
        overrides = list[Span | Amendment]()
        for number, override in enumerate(settings.overrides):
            overrides.append(self._override(f"{at}.overrides[{number}]", override, zone, named))
        levels = [layer.level is None for layer in settings.layers]
        if any(levels) and not all(levels):
            raise self._source.error(
                f"{at}.layers[{levels.index(True)}]", "set `level` of every layer of the schedule, or of none"
            )
        return Schedule(
            name=name,
            zone=zone,
            layers=tuple(self._layer(f"{at}.layers[{n}]", layer, zone) for n, layer in enumerate(settings.layers)),
            overrides=tuple(one for one in overrides if isinstance(one, Span)),
            amendments=tuple(one for one in overrides if isinstance(one, Amendment)),
            swaps=tuple(self._swap(f"{at}.swaps[{n}]", swap, zone) for n, swap in enumerate(settings.swaps)),
            away=away,
            stand_ins={key: self.stand_ins(key) for key in away},
        )

    def _layer(self, at: str, settings: LayerSettings, zone: str) -> Layer:
        zone = self.zone(f"{at}.time_zone", settings.time_zone) if settings.time_zone else zone
        shifts = tuple((turn,) if isinstance(turn, str) else tuple(turn) for turn in settings.people)
        for number, turn in enumerate(shifts):
            if turn != (NOBODY,):
                self._known(f"{at}.people[{number}]", turn)
        unit, length = self._rotation(at, settings)
        restrictions = self._restrictions(at, settings, zone)
        windows = [one for one in restrictions if isinstance(one, WeekWindow)]
        if unit is Unit.SHIFTS and (not windows or len({one.zone for one in windows}) > 1):
            raise self._source.error(f"{at}.rotation", "shifts are windows: set `windows`, all in one time zone")
        served = self._served(at, settings, length, restrictions)
        if settings.shift is not None and (unit is Unit.SHIFTS or served or settings.shift < 60):  # noqa: PLR2004  # 1m
            raise self._source.error(f"{at}.shift", "set at least 1m, and a rotation of days, hours or months")
        return Layer(
            zone=zone,
            start=settings.start.day,
            handover=int(settings.handover),
            length=length,
            shifts=tuple(() if turn == (NOBODY,) else turn for turn in shifts),
            restrictions=restrictions,
            begin=settings.from_.at(zone) if settings.from_ else None,
            end=settings.end.at(zone) if settings.end else None,
            served=served,
            unit=unit,
            part=timedelta(seconds=settings.shift) if settings.shift else None,
            level=settings.level,
            name=settings.name,
        )

    def _rotation(self, at: str, settings: LayerSettings) -> tuple[Unit, timedelta]:
        """Read how long a turn is, and in what that is counted."""
        counted = _COUNTED.fullmatch(settings.rotation)
        if counted and int(counted[1]):
            return (Unit.SHIFTS if counted[2] == "shift" else Unit.MONTHS), timedelta(days=int(counted[1]))
        length = _ROTATIONS.get(settings.rotation)
        if length is None:
            try:
                length = timedelta(seconds=parse_duration(settings.rotation))
            except (ValueError, OverflowError) as error:
                text = (
                    f"invalid rotation {settings.rotation!r} (expected daily, weekly, a duration such as 3d or 12h, "
                    "`1 shift` or `1 month`)"
                )
                raise self._source.error(f"{at}.rotation", text) from error
        if length < timedelta(hours=1):
            raise self._source.error(f"{at}.rotation", "too short; a shift lasts at least 1h")
        if length % timedelta(days=1) == timedelta(0) and not (
            settings.clock == "elapsed" and "h" in settings.rotation
        ):
            return Unit.DAYS, length
        return (Unit.WALL_HOURS if settings.clock == "wall" else Unit.HOURS), length

    def _restrictions(self, at: str, settings: LayerSettings, zone: str) -> tuple[Hours | WeekWindow, ...]:
        """Read when the layer applies."""
        if settings.windows and (settings.hours or settings.days):
            raise self._source.error(f"{at}.windows", "set either windows, or hours and days")
        if settings.hours or settings.days:
            return (self.hours(f"{at}.hours", settings.hours, settings.days, zone),)
        return tuple(
            WeekWindow(
                int(window.from_),
                int(window.to),
                self.zone(f"{at}.windows[{n}].time_zone", window.time_zone) if window.time_zone else zone,
            )
            for n, window in enumerate(settings.windows)
        )

    def _served(
        self, at: str, settings: LayerSettings, length: timedelta, restrictions: tuple[Hours | WeekWindow, ...]
    ) -> frozenset[int]:
        """Read which days count as turns; none: all of them."""
        if settings.turns != "served":
            return frozenset()
        hours = [one for one in restrictions if isinstance(one, Hours)]
        if _COUNTED.fullmatch(settings.rotation) or length % timedelta(days=1):
            raise self._source.error(f"{at}.turns", "`served` counts days; set a rotation of whole days")
        if not hours:
            raise self._source.error(f"{at}.turns", "`served` needs hours or days: without them every day is served")
        return served_days(int(settings.handover), hours)

    def _override(self, at: str, settings: OverrideSettings, zone: str, named: set[str]) -> Span | Amendment:
        start, end = self.between(at, settings, zone)
        if settings.add or settings.remove or settings.replace:
            if settings.people or settings.layers:
                raise self._source.error(at, "set either people, or add, remove and replace")
            self._known(at, (*settings.add, *settings.remove, *settings.replace, *settings.replace.values()))
            return Amendment(start, end, tuple(settings.remove), dict(settings.replace), tuple(settings.add))
        for layer in settings.layers:
            if layer not in named:
                raise self._source.error(f"{at}.layers", f"unknown layer {layer!r}; set `name` of a layer to it")
        people = tuple(settings.people)
        if people == (NOBODY,):
            return Span(start, end, (), frozenset(settings.layers))
        self._known(f"{at}.people", people)
        return Span(start, end, people, frozenset(settings.layers))

    def _swap(self, at: str, settings: SwapSettings, zone: str) -> Swap:
        self._known(f"{at}.people", tuple(settings.people))
        if len(set(settings.people)) != 2:  # noqa: PLR2004  # a swap is between two
            raise self._source.error(f"{at}.people", "a swap needs exactly two people")
        start, end = self.between(at, settings, zone)
        return Swap(start, end, settings.people[0], settings.people[1])

    def _known(self, at: str, people: tuple[str, ...]) -> None:
        if not people:
            raise self._source.error(at, "empty shift; name at least one person")
        for name in people:
            if name not in self._people:
                raise self._source.error(at, f"unknown person {name!r}; add it to `people`")
