"""The loop that reads on-call calendars from a file or a URL; what was read last is kept and used when that fails."""

import asyncio
import logging
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import aiohttp
import msgspec

from process.settings import Secret
from receiver.metrics import Metrics
from receiver.oncall.ical import CalendarError, spans, unknown
from receiver.policy.current import Current

log = logging.getLogger(__name__)

LARGEST = 16 * 1024 * 1024
BEFORE, AHEAD = timedelta(days=2), timedelta(days=90)
_PATIENCE = aiohttp.ClientTimeout(total=30)


class FeedError(Exception):
    """The calendar cannot be had; the text never shows its URL, which is a secret."""


class Feed(msgspec.Struct, frozen=True):
    """One calendar: the schedule that it fills, where it is, where its last copy is kept, and how often it is read."""

    schedule: str
    copy: Path
    every: float
    file: Path | None = None
    url: Secret | None = None


class CalendarRefresh:
    """``run_once`` reads one feed into the schedule; ``run`` does so again and again."""

    def __init__(  # the composition root hands over every collaborator
        self,
        feed: Feed,
        current: Current,
        session: aiohttp.ClientSession,
        clock: Callable[[], datetime],
        metrics: Metrics,
    ) -> None:
        self._feed, self._current = feed, current
        self._session, self._clock, self._metrics = session, clock, metrics

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            await self.run_once()
            await asyncio.sleep(self._feed.every)

    async def run_once(self) -> bool:
        """Say whether it could be read; if not, the last copy stays in use."""
        name, now = self._feed.schedule, self._clock()
        try:
            text = await self._read()
            self._take(text, now)
        except (FeedError, CalendarError) as error:
            log.warning("cannot read the calendar of schedule %s: %s", name, error)
            await self._take_copy(now)
            return False
        await asyncio.to_thread(_keep, self._feed.copy, text)
        self._metrics.calendar_read.labels(name).set(now.timestamp())
        return True

    async def _take_copy(self, now: datetime) -> None:
        """Use what was read before, if this process has nothing yet."""
        if self._current.routing.schedules[self._feed.schedule].calendar:
            return
        try:
            text = await asyncio.to_thread(self._feed.copy.read_bytes)
            self._take(text, now)
        except (OSError, CalendarError):
            log.error("schedule %s: no calendar and no saved copy of it", self._feed.schedule)  # noqa: TRY400  # no trace

    def _take(self, text: bytes, now: datetime) -> None:
        name = self._feed.schedule
        zone = self._current.routing.schedules[name].zone
        directory = self._current.routing.directory
        shifts = spans(text, directory, zone, now - BEFORE, now + AHEAD)
        skipped = "; ".join(unknown(text, directory, now, now + AHEAD)[:5])
        if skipped:
            log.warning("the calendar of schedule %s has events that name no person, or fit two: %s", name, skipped)
        self._current.set_calendar(name, shifts)

    async def _read(self) -> bytes:
        if self._feed.file is not None:
            try:
                return await asyncio.to_thread(self._feed.file.read_bytes)
            except OSError as error:
                raise FeedError(f"{self._feed.file}: {error.strerror}") from error
        if self._feed.url is None:
            raise FeedError("neither file nor url is set")
        try:
            async with self._session.get(self._feed.url.reveal(), timeout=_PATIENCE) as answer:
                if answer.status != 200:  # noqa: PLR2004  # OK
                    raise FeedError(f"the server answered {answer.status}")
                body = await answer.content.read(LARGEST + 1)
                while len(body) <= LARGEST and (more := await answer.content.read(LARGEST)):
                    body += more
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise FeedError(type(error).__name__) from None  # its own text would show the URL
        if len(body) > LARGEST:
            raise FeedError(f"it is larger than {LARGEST >> 20} MB")
        return body


def _keep(path: Path, text: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_bytes(text)
    fresh.chmod(0o600)
    os.replace(fresh, path)  # noqa: PTH105  # atomic: a copy is whole or the one before
