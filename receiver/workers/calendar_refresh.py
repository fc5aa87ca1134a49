"""The loop that reads on-call calendars from files and URLs; what was read last is kept and used when that fails."""

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path

import aiohttp

from receiver.clients.calendar import Expander, Feed, FeedError, fetch
from receiver.metrics import Metrics
from receiver.oncall.calendar_entries import Calendar, CalendarError, remarks, spans
from receiver.oncall.schedule import side_by_side
from receiver.policy.current import Current

log = logging.getLogger(__name__)

BEFORE, AHEAD = timedelta(days=2), timedelta(days=90)
PERIOD = 5.0  # seconds between two looks at which calendars are to be read
_LISTED = 10  # entries that one log line names
_STALE = timedelta(days=1)  # a copy is expanded again, or its period would run out while the source is away


class CalendarRefresh:
    """``run_once`` reads the calendars that are to be read now, each into its schedule.

    ``folder`` holds a copy of each calendar that could be read, which a new process starts with.
    """

    def __init__(  # the composition root hands over every collaborator
        self,
        folder: Path,
        current: Current,
        session: aiohttp.ClientSession,
        clock: Callable[[], datetime],
        metrics: Metrics,
        monotonic: Callable[[], float],
    ) -> None:
        self._folder, self._current, self._session = folder, current, session
        self._clock, self._metrics, self._monotonic = clock, metrics, monotonic
        self.looked = asyncio.Event()  # once: until then, nobody may be on call who will be in a moment
        self._expander = Expander()
        self._feeds: dict[str, tuple[Feed, float]] = {}
        self._next: dict[str, float] = {}
        self._read: dict[str, tuple[Calendar, datetime]] = {}

    def use(self, feeds: Iterable[tuple[Feed, float]]) -> None:
        """Read these from now on, each every so many seconds; what a calendar said stays in use until it is read."""
        fresh = {feed.schedule: (feed, every) for feed, every in feeds}
        for name in self._current.routing.schedules:
            if name not in fresh:
                self._read.pop(name, None)
                self._current.set_calendar(name, ())
            elif name in self._read:
                self._take(name, self._read[name][0])  # its people may be others now
        self._next = {name: at for name, at in self._next.items() if self._feeds.get(name) == fresh.get(name)}
        self._feeds = fresh

    async def restore(self) -> None:
        """Take the copies: whoever is paged before the calendars have been read is whom they named last."""
        for name in list(self._feeds):
            await self._take_copy(name, self._clock())

    async def run_once(self) -> int:
        """Give how many calendars were read; one that cannot be had leaves the last copy in use.

        Raises:
            OSError: a copy cannot be kept; its calendar is in use nevertheless.
        """
        now = self._monotonic()
        due = [feed for name, (feed, _) in self._feeds.items() if self._next.get(name, now) <= now]
        for feed in due:
            self._next[feed.schedule] = now + self._feeds[feed.schedule][1]
        outcomes = await asyncio.gather(*map(self.read, due), return_exceptions=True)
        self.looked.set()
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return sum(outcome is True for outcome in outcomes)

    async def read(self, feed: Feed) -> bool:
        """Say whether a calendar could be read. OSError as above."""
        name, now = feed.schedule, self._clock()
        try:
            text = await fetch(feed, self._session)
            calendar = await self._expander.expand(text, feed.zone, now - BEFORE, now + AHEAD)
        except (FeedError, CalendarError) as error:
            log.warning("cannot read the calendar of schedule %s: %s", name, error)
            await self._take_copy(name, now)
            return False
        self._read[name] = calendar, now
        self._take(name, calendar)
        self._metrics.calendar_read.labels(name).set(now.timestamp())
        await asyncio.to_thread(_keep, self._copy(name), text)
        return True

    async def _take_copy(self, name: str, now: datetime) -> None:
        """Use what was read before, if this process has nothing yet, or has it since long ago."""
        if name in self._read and now - self._read[name][1] < _STALE:
            return
        try:
            text = await asyncio.to_thread(self._copy(name).read_bytes)
            zone = self._feeds[name][0].zone
            calendar = await self._expander.expand(text, zone, now - BEFORE, now + AHEAD)
        except (OSError, CalendarError):
            if name not in self._read:
                log.error("schedule %s: no saved copy of its calendar", name)  # noqa: TRY400  # no trace
            return
        self._read[name] = calendar, now
        self._take(name, calendar)

    def _take(self, name: str, calendar: Calendar) -> None:
        if name not in self._current.routing.schedules:
            return  # it left the configuration while its calendar was read
        directory = self._current.routing.directory
        self._current.set_calendar(name, side_by_side(spans(calendar, directory)))
        problems = remarks(calendar, directory)
        self._metrics.show_calendar(name, Counter(remark.reason for remark in problems))
        if problems:
            listed = "; ".join(f"{remark.entry} ({remark.reason.value})" for remark in problems[:_LISTED])
            more = f" and {len(problems) - _LISTED} more" if len(problems) > _LISTED else ""
            log.warning("the calendar of schedule %s has entries with problems: %s%s", name, listed, more)

    def _copy(self, name: str) -> Path:
        return self._folder / f"{name}.ics"


def _keep(path: Path, text: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    try:
        fresh.write_bytes(text)
        fresh.chmod(0o600)
        os.replace(fresh, path)  # noqa: PTH105  # atomic: a copy is whole or the one before
    finally:
        fresh.unlink(missing_ok=True)
