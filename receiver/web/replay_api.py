"""Replays past incidents under a receiver.yml that is sent: for the API, and for the page that shows the policy."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import msgspec
from aiohttp import web

from process.settings import SettingsError
from process.web import problem, read_body, whole_number
from receiver.config.build import build_routing
from receiver.config.load import load
from receiver.evidence.replay import Compared, Configured, HandlingOf, Past, compare, in_words
from receiver.policy.current import Current
from receiver.reports.incidents.night import night_of
from receiver.web.charts import reader_asked

LIMIT = 512 * 1024  # bytes of a file
MOST_DAYS = 92
_NAME = Path("receiver.yml")  # in what is said about the file that was sent


class BusyError(Exception):
    """Another replay is under way: each takes a core for a while."""


class Replays:
    """``replay`` compares what a file would do with what the file that is in force does."""

    def __init__(
        self,
        store: Past,
        current: Current,
        handling: HandlingOf,
        clock: Callable[[], datetime],
    ) -> None:
        self._store, self._current, self._handling, self._clock = store, current, handling, clock
        self._is_busy = False

    def routes(self) -> list[web.RouteDef]:
        """List what is served below /api/v1."""
        return [web.post("/replay", self.answer)]

    async def replay(self, text: str, days: int) -> Compared:
        """Replay so many days.

        Raises:
            SettingsError: what is wrong with the file, with its line.
            BusyError: try again in a moment.
            StoreError: the store does not answer.
        """
        if self._is_busy:
            raise BusyError
        self._is_busy = True
        try:
            now = self._clock()
            after = await asyncio.to_thread(self._read, text, now)
            before = Configured(self._current.routing, self._handling)
            start, night = now - timedelta(days=days), night_of(self._current.routing)
            return await compare(self._store, start, now, before, after, night)
        finally:
            self._is_busy = False

    async def answer(self, request: web.Request) -> web.Response:
        """POST /api/v1/replay?days=30&language=de with a receiver.yml: what it would have made of past incidents."""
        days = whole_number(request.query.get("days", "30"), MOST_DAYS)
        if not days:
            return problem(400, f"days: expected a number from 1 to {MOST_DAYS}")
        try:
            reader, text = reader_asked(request), (await read_body(request, LIMIT)).decode("utf-8")
            compared = await self.replay(text, days)
        except (SettingsError, ValueError) as error:  # among them what is no UTF-8
            return problem(400, str(error))
        except BusyError:
            return problem(503, "another replay is under way; try again in a moment")
        return web.json_response({"words": in_words(compared, reader), **msgspec.to_builtins(compared)})

    def _read(self, text: str, now: datetime) -> Configured:
        """Read a file, which names calendars that are not fetched: schedules keep what they have."""
        config, source = load(_NAME, text)
        edited = Current(self._current.routing, now)
        edited.exchange(build_routing(config, source))
        window = timedelta(seconds=float(config.grouping_window))
        return Configured(edited.routing, partial(config.channels.handling, window=window))
