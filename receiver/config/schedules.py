"""Turns the section `schedules` of receiver.yml into schedules, and names what is wrong with it."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from process.settings import Source, parse_duration
from receiver.config.people import Between, LayerSettings, OverrideSettings, PersonSettings, ScheduleSettings
from receiver.oncall.hours import Hours, HoursError
from receiver.oncall.hours import parse as parse_hours
from receiver.oncall.schedule import Layer, Schedule, Span, Swap

Away = dict[str, tuple[tuple[datetime, datetime], ...]]

_ROTATIONS = {"daily": timedelta(days=1), "weekly": timedelta(days=7)}


class Reader:
    """Builds the schedules of one file; every error names file, line and fix."""

    def __init__(self, source: Source, people: dict[str, PersonSettings]) -> None:
        self._source, self._people = source, people

    def schedules(self, given: dict[str, ScheduleSettings]) -> dict[str, Schedule]:
        """Build all of them; what their calendars say is not known here."""
        away = self.away()
        return {name: self._schedule(name, settings, away) for name, settings in given.items()}

    def away(self) -> Away:
        """Give everybody's vacations."""
        found: Away = {}
        for key, person in self._people.items():
            at = f".people.{key}"
            zone = self.zone(f"{at}.time_zone", person.time_zone)
            times = [self.between(f"{at}.vacation[{n}]", span, zone) for n, span in enumerate(person.vacation)]
            if times:
                found[key] = tuple(times)
        return found

    def zone(self, at: str, name: str) -> str:
        """Check a time zone."""
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError) as error:
            text = f"{name!r} is no time zone; write one as Europe/Berlin or UTC"
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
            raise self._source.error(at, f"it ends ({span.to}) before it begins ({span.from_}); exchange the two")
        return start, end

    def _schedule(self, name: str, given: ScheduleSettings, away: Away) -> Schedule:
        at = f".schedules.{name}"
        zone = self.zone(f"{at}.time_zone", given.time_zone)
        if not given.layers and given.calendar is None:
            raise self._source.error(at, "it has no layers and no calendar; nobody would ever be on call")
        return Schedule(
            name=name,
            zone=zone,
            layers=tuple(self._layer(f"{at}.layers[{n}]", layer, zone) for n, layer in enumerate(given.layers)),
            overrides=tuple(self._override(f"{at}.overrides[{n}]", o, zone) for n, o in enumerate(given.overrides)),
            swaps=tuple(self._swap(f"{at}.swaps[{n}]", swap, zone) for n, swap in enumerate(given.swaps)),
            away=away,
        )

    def _layer(self, at: str, given: LayerSettings, zone: str) -> Layer:
        length = _ROTATIONS.get(given.rotation)
        if length is None:
            try:
                length = timedelta(seconds=parse_duration(given.rotation))
            except ValueError as error:
                text = f"{given.rotation!r} is no rotation; write daily, weekly, or a length as 3d or 12h"
                raise self._source.error(f"{at}.rotation", text) from error
        if length < timedelta(hours=1):
            raise self._source.error(f"{at}.rotation", "a shift lasts an hour at least")
        shifts = tuple((turn,) if isinstance(turn, str) else tuple(turn) for turn in given.people)
        for number, turn in enumerate(shifts):
            self._known(f"{at}.people[{number}]", turn)
        restricted = (self.hours(f"{at}.hours", given.hours, given.days, zone),) if given.hours or given.days else ()
        return Layer(
            zone=zone,
            start=given.start.day,
            handover=int(given.handover),
            length=length,
            shifts=shifts,
            restrictions=restricted,
            end=given.end.at(zone) if given.end else None,
        )

    def _override(self, at: str, given: OverrideSettings, zone: str) -> Span:
        self._known(f"{at}.people", tuple(given.people))
        start, end = self.between(at, given, zone)
        return Span(start, end, tuple(given.people))

    def _swap(self, at: str, given: OverrideSettings, zone: str) -> Swap:
        self._known(f"{at}.people", tuple(given.people))
        if len(set(given.people)) != 2:  # noqa: PLR2004  # a swap is between two
            raise self._source.error(f"{at}.people", "a swap is between two people; name the two")
        start, end = self.between(at, given, zone)
        return Swap(start, end, given.people[0], given.people[1])

    def _known(self, at: str, people: tuple[str, ...]) -> None:
        if not people:
            raise self._source.error(at, "a shift of nobody; name somebody")
        for name in people:
            if name not in self._people:
                raise self._source.error(at, f"there is no {name!r} in people; add that person")
