"""Builds the schedules of receiver.yml; errors name file, line and fix."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from process.settings import Findings, Source, parse_duration
from receiver.config.people import (
    Between,
    HoursSettings,
    LayerSettings,
    OverrideSettings,
    PersonSettings,
    ScheduleSettings,
)
from receiver.oncall.hours import Hours, HoursError
from receiver.oncall.hours import parse as parse_hours
from receiver.oncall.schedule import Layer, Schedule, Span, Swap, served_days

Away = dict[str, tuple[tuple[datetime, datetime], ...]]

_ROTATIONS = {"daily": timedelta(days=1), "weekly": timedelta(days=7)}


class Reader:
    """Builds the schedules of one file; every error names file, line and fix."""

    def __init__(self, source: Source, people: dict[str, PersonSettings]) -> None:
        self._source, self._people = source, people

    def schedules(self, sections: dict[str, ScheduleSettings]) -> dict[str, Schedule]:
        """Build all schedules, without the shifts that come from calendars."""
        findings, made, away = Findings(), dict[str, Schedule](), Away()
        with findings.collecting():
            away = self.away()
        for name, settings in sections.items():
            with findings.collecting():
                made[name] = self._schedule(name, settings, away)
        findings.refuse()
        return made

    def named_hours(self, name: str, settings: HoursSettings) -> Hours:
        """Read the hours that rows of a matrix name."""
        return self.hours(f".hours.{name}", settings.hours, settings.days, settings.time_zone)

    def away(self) -> Away:
        """Give everybody's vacations."""
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
        return Schedule(
            name=name,
            zone=zone,
            layers=tuple(self._layer(f"{at}.layers[{n}]", layer, zone) for n, layer in enumerate(settings.layers)),
            overrides=tuple(self._override(f"{at}.overrides[{n}]", o, zone) for n, o in enumerate(settings.overrides)),
            swaps=tuple(self._swap(f"{at}.swaps[{n}]", swap, zone) for n, swap in enumerate(settings.swaps)),
            away=away,
        )

    def _layer(self, at: str, settings: LayerSettings, zone: str) -> Layer:
        zone = self.zone(f"{at}.time_zone", settings.time_zone) if settings.time_zone else zone
        length = _ROTATIONS.get(settings.rotation)
        if length is None:
            try:
                length = timedelta(seconds=parse_duration(settings.rotation))
            except ValueError as error:
                text = (
                    f"invalid rotation {settings.rotation!r} (expected daily, weekly, or a duration such as 3d or 12h)"
                )
                raise self._source.error(f"{at}.rotation", text) from error
        if length < timedelta(hours=1):
            raise self._source.error(f"{at}.rotation", "too short; a shift lasts at least 1h")
        shifts = tuple((turn,) if isinstance(turn, str) else tuple(turn) for turn in settings.people)
        for number, turn in enumerate(shifts):
            self._known(f"{at}.people[{number}]", turn)
        restrictions = (
            (self.hours(f"{at}.hours", settings.hours, settings.days, zone),) if settings.hours or settings.days else ()
        )
        served = settings.turns == "served"
        if served and length % timedelta(days=1):
            raise self._source.error(f"{at}.turns", "`served` counts days; set a rotation of whole days")
        if served and not restrictions:
            raise self._source.error(f"{at}.turns", "`served` needs hours or days: without them every day is served")
        return Layer(
            zone=zone,
            start=settings.start.day,
            handover=int(settings.handover),
            length=length,
            shifts=shifts,
            restrictions=restrictions,
            end=settings.end.at(zone) if settings.end else None,
            served=served_days(int(settings.handover), restrictions) if served else frozenset(),
        )

    def _override(self, at: str, settings: OverrideSettings, zone: str) -> Span:
        self._known(f"{at}.people", tuple(settings.people))
        start, end = self.between(at, settings, zone)
        return Span(start, end, tuple(settings.people))

    def _swap(self, at: str, settings: OverrideSettings, zone: str) -> Swap:
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
