"""Asks Prometheus what was deployed last before an incident, by a query whose values are Unix times."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from receiver.clients.http_api import ApiError
from receiver.clients.prometheus import Prometheus
from receiver.evidence.chart import Deployment, deployments
from receiver.incident.model import Incident

log = logging.getLogger(__name__)

MOST = 5  # that are shown
_PATIENCE = 2.0  # seconds
_FRESH = timedelta(minutes=1)  # what is known of a source is not asked for again
_EVER = datetime.fromisoformat("2000-01-01T00:00:00+00:00")  # what was never deployed has 0
_Found = tuple[Deployment, ...]


class Deployments:
    """``sources`` holds the Prometheus of each source that has one; without a ``query`` nothing is known."""

    def __init__(self, sources: Mapping[str, Prometheus], query: str, clock: Callable[[], datetime]) -> None:
        self._sources, self._query, self._clock = sources, query, clock
        self._known: dict[str, tuple[datetime, _Found]] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}

    async def before(self, incident: Incident, now: datetime) -> _Found:
        """Give the last deployment of each series up to the incident's end, newest first; nothing if it fails."""
        return await self._ask(incident.source, incident.resolved_at or now)

    def known(self, incident: Incident) -> _Found:
        """Give what is known of the last ones before the incident's end, for a page that does not wait.

        What is known is of now: of an incident that ended long ago, the deployment before it may be missing.
        """
        self.look(incident.source)
        found, until = self._known.get(incident.source, (_EVER, ()))[1], incident.resolved_at or self._clock()
        return tuple(one for one in found if one.at <= until)

    def look(self, source: str) -> None:
        """Ask in the background, unless that was done a moment ago."""
        asked, _ = self._known.get(source, (_EVER, ()))
        if source in self._sources and self._query and source not in self._asking and self._clock() - asked >= _FRESH:
            task = self._asking[source] = asyncio.ensure_future(self._remember(source))
            task.add_done_callback(lambda _task: self._asking.pop(source, None))

    async def close(self) -> None:
        """Stop asking."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _remember(self, source: str) -> None:
        now = self._clock()
        self._known[source] = (now, await self._ask(source, now))

    async def _ask(self, source: str, until: datetime) -> _Found:
        prometheus = self._sources.get(source)
        if prometheus is None or not self._query:
            return ()
        try:
            async with asyncio.timeout(_PATIENCE):
                values = await prometheus.instant(self._query, until.timestamp())
        except (ApiError, TimeoutError) as error:
            log.warning("the last deployments cannot be read: %s", str(error) or "Prometheus did not answer in time")
            return ()
        found = deployments({labels: [(0.0, value)] for labels, value in values.items()}, _EVER)
        return tuple(reversed([one for one in found if one.at <= until]))[:MOST]
