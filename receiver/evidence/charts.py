"""Asks Prometheus for an incident's chart and draws it: bounded, kept for a while, and never waited for by a page."""

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Generic, Protocol, TypeVar

import msgspec
from prometheus_client import CollectorRegistry, Counter

from receiver.clients.http_api import ApiError, Failure
from receiver.clients.prometheus import Prometheus
from receiver.evidence.alert_query import LEAST_STEP, Absent, AbsentError, alert_query, is_drawable, span
from receiver.evidence.chart import Chart, Deployment, chart, deployments, in_words
from receiver.evidence.svg import NARROW, WIDE, Theme, svg
from receiver.incident.model import Incident, State
from receiver.messages.i18n import Reader

log = logging.getLogger(__name__)

IN_MESSAGES = NARROW  # pixels: most are read on a phone, and chats show pictures small
PATIENCE = 2.0  # seconds for Prometheus
_AT_ONCE, _WAITING = 4, 16  # charts that are asked for, and that wait until they may be
_KEPT = 64  # charts, and as many pictures of them: 10 MB at most
_FRESH = LEAST_STEP  # seconds for which a chart of an open incident is shown again
_DOWN = 60.0  # seconds for which nothing waits for a Prometheus that has failed
_FAILURES = {
    Failure.UNREACHABLE: Absent.UNREACHABLE,
    Failure.TIMED_OUT: Absent.TIMED_OUT,
    Failure.REFUSED: Absent.REFUSED,
    Failure.TOO_LARGE: Absent.REFUSED,
    Failure.UNREADABLE: Absent.REFUSED,
}
V = TypeVar("V")
_Key = tuple[int, str, str, int]  # incident, language, zone, width


class Rasteriser(Protocol):
    """Makes a PNG of an SVG."""

    async def draw(self, svg: str) -> bytes:
        """Give the PNG; AbsentError if that does not work."""


class _Drawn(msgspec.Struct, frozen=True):
    at: float  # by the clock that nobody sets
    chart: Chart | None
    absent: Absent | None
    over: bool


class _Picture(msgspec.Struct, frozen=True):
    shows: Chart
    png: bytes


class _Kept(Generic[V]):
    """The newest so many."""

    def __init__(self) -> None:
        self._values: OrderedDict[object, V] = OrderedDict()

    def get(self, key: object) -> V | None:
        return self._values.get(key)

    def put(self, key: object, value: V) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > _KEPT:
            self._values.popitem(last=False)


class Charts:
    """``svg`` and ``png`` draw when they are asked; ``prepare`` draws in the background what ``ready`` gives later.

    ``sources`` holds the Prometheus of each source that has one, ``deployed`` is the query of their deployments.
    """

    def __init__(
        self,
        sources: Mapping[str, Prometheus],
        clock: Callable[[], datetime],
        elapsed: Callable[[], float],
        registry: CollectorRegistry,
        *,
        rasteriser: Rasteriser | None,
        deployed: str = "",
        length: timedelta = timedelta(hours=3),
    ) -> None:
        self._sources, self._clock, self._elapsed = sources, clock, elapsed
        self._rasteriser, self._deployed, self._length = rasteriser, deployed, length
        text = "Charts of incidents that were asked for, by outcome: drawn, or why there is none."
        self._counter = Counter("receiver_charts", text, ["outcome"], registry=registry)
        for outcome in ("drawn", *Absent):
            self._counter.labels(str(outcome))
        self._turns, self._waiting = asyncio.Semaphore(_AT_ONCE), 0
        self._charts, self._pngs = _Kept[_Drawn](), _Kept[_Picture]()
        self._failed: dict[str, float] = {}  # when each source's Prometheus failed last
        self._asked: dict[object, asyncio.Task[_Drawn]] = {}
        self._drawing: dict[_Key, asyncio.Task[bytes]] = {}
        self._background: set[asyncio.Task[None]] = set()

    def possible(self, incident: Incident) -> bool:
        """Say whether there may be a chart, without asking anybody."""
        return incident.source in self._sources and is_drawable(incident)

    async def chart(self, incident: Incident) -> Chart:
        """Give what is drawn; AbsentError says why there is nothing."""
        drawn = await self._current(incident)
        if drawn.chart is None:
            raise AbsentError(drawn.absent or Absent.FAILED)
        return drawn.chart

    async def svg(self, incident: Incident, reader: Reader, theme: Theme = Theme.LIGHT, width: int = WIDE) -> str:
        """Give the picture for a page; AbsentError as above."""
        return svg(await self.chart(incident), reader, theme, width)

    async def png(self, incident: Incident, reader: Reader, width: int = IN_MESSAGES) -> bytes:
        """Give the picture for a message; AbsentError as above."""
        if self._rasteriser is None:
            raise AbsentError(Absent.NOT_INSTALLED)
        shown = await self.chart(incident)
        key = (incident.id, reader.language, reader.zone, width)
        kept = self._pngs.get(key)
        if kept is not None and kept.shows is shown:
            return kept.png
        if key not in self._drawing:
            task = self._drawing[key] = asyncio.ensure_future(self._draw(self._rasteriser, shown, reader, key))
            task.add_done_callback(lambda _task: self._drawing.pop(key, None))
        return await asyncio.shield(self._drawing[key])

    async def soon(self, incident: Incident, reader: Reader, seconds: float) -> None:
        """Wait until a picture is ready, if it may be in so many seconds; one that was drawn before will do."""
        if self._rasteriser is None or self.ready(incident, reader) is not None or not self.possible(incident):
            return
        if self._elapsed() - self._failed.get(incident.source, -_DOWN) < _DOWN:
            return  # its Prometheus has just failed: in a storm, each message would wait for nothing
        with contextlib.suppress(TimeoutError, AbsentError):
            async with asyncio.timeout(seconds):
                await self.png(incident, reader)

    async def _draw(self, rasteriser: Rasteriser, shown: Chart, reader: Reader, key: _Key) -> bytes:
        png = await rasteriser.draw(svg(shown, reader, width=key[3]))
        self._pngs.put(key, _Picture(shown, png))
        return png

    def ready(self, incident: Incident, reader: Reader) -> tuple[bytes, str] | None:
        """Give the newest picture that is there, and what it shows in words. It waits for nothing."""
        kept = self._pngs.get((incident.id, reader.language, reader.zone, IN_MESSAGES))
        return (kept.png, in_words(kept.shows, reader)) if kept else None

    def prepare(self, incident: Incident, readers: Iterable[Reader]) -> None:
        """Draw in the background for these readers, of whom some dozens want the same picture."""
        if self._rasteriser is None or not self.possible(incident):
            return
        wanted = {(reader.language, reader.zone): reader for reader in readers}
        for reader in list(wanted.values())[:_AT_ONCE]:
            if len(self._background) >= _WAITING:
                return
            task = asyncio.ensure_future(self._try(incident, reader))
            self._background.add(task)
            task.add_done_callback(self._background.discard)

    async def close(self) -> None:
        """Stop drawing."""
        tasks: list[asyncio.Task[Any]] = [*self._background, *self._asked.values(), *self._drawing.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _try(self, incident: Incident, reader: Reader) -> None:
        try:
            await self.png(incident, reader)
        except AbsentError as error:
            log.debug("no picture of incident %d: %s", incident.id, error.reason)

    async def _current(self, incident: Incident) -> _Drawn:
        """Give the chart that is kept while it is fresh; those who ask for the same one ask once."""
        key = (incident.id, incident.opening, incident.resolved_at)
        kept = self._charts.get(key)
        if kept is not None and (kept.over or self._elapsed() - kept.at < _FRESH):
            return kept
        if key not in self._asked:
            task = self._asked[key] = asyncio.ensure_future(self._ask(incident))
            task.add_done_callback(lambda _task: self._asked.pop(key, None))
        drawn = await asyncio.shield(self._asked[key])
        self._charts.put(key, drawn)
        return drawn

    async def _ask(self, incident: Incident) -> _Drawn:
        shown, absent, over = None, None, False
        try:
            shown = await self._in_turn(lambda: self._made(incident))
            over = incident.state is State.RESOLVED and shown.end < self._clock() - timedelta(minutes=1)
        except AbsentError as error:
            absent = error.reason
        self._counter.labels(str(absent or "drawn")).inc()
        if absent in {Absent.UNREACHABLE, Absent.TIMED_OUT}:
            self._failed[incident.source] = self._elapsed()
        return _Drawn(self._elapsed(), shown, absent, over)

    async def _in_turn(self, make: Callable[[], Awaitable[Chart]]) -> Chart:
        if self._waiting >= _WAITING:
            raise AbsentError(Absent.BUSY)
        self._waiting += 1
        try:
            async with self._turns:
                return await make()
        finally:
            self._waiting -= 1

    async def _made(self, incident: Incident) -> Chart:
        prometheus = self._sources.get(incident.source)
        if prometheus is None:
            raise AbsentError(Absent.NO_PROMETHEUS)
        asked, shown = alert_query(incident), span(incident, self._clock(), self._length)
        begin, end = shown.start.timestamp(), shown.end.timestamp()
        try:
            async with asyncio.timeout(PATIENCE):
                series, found = await asyncio.gather(
                    prometheus.range(asked.query, begin, end, shown.step, patience=PATIENCE),
                    self._deployments(prometheus, shown.start, shown.end, shown.step),
                )
        except TimeoutError:
            raise AbsentError(Absent.TIMED_OUT) from None
        except ApiError as error:
            raise AbsentError(_FAILURES[error.failure]) from error
        return chart(incident, asked.compared, series, shown, found)

    async def _deployments(
        self, prometheus: Prometheus, start: datetime, end: datetime, step: float
    ) -> tuple[Deployment, ...]:
        """Give what was deployed meanwhile; nothing if the query fails: the chart is worth more without it."""
        if not self._deployed:
            return ()
        begin = start.timestamp()
        try:
            series = await prometheus.range(self._deployed, begin, end.timestamp(), step, patience=PATIENCE)
        except ApiError as error:
            log.warning("no deployments in the charts: %s", error)
            return ()
        return deployments(series, start)
