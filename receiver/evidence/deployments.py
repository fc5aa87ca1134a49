"""Asks Prometheus what was deployed last before an incident, by a query whose values are Unix times."""

import asyncio
import logging
from collections.abc import Mapping
from datetime import datetime

from receiver.clients.http_api import ApiError
from receiver.clients.prometheus import Prometheus
from receiver.evidence.chart import Deployment, deployments
from receiver.incident.model import Incident

log = logging.getLogger(__name__)

MOST = 5  # that are shown
_PATIENCE = 2.0  # seconds
_EVER = datetime.fromisoformat("2000-01-01T00:00:00+00:00")  # what was never deployed has 0


class Deployments:
    """``sources`` holds the Prometheus of each source that has one; without a ``query`` nothing is known."""

    def __init__(self, sources: Mapping[str, Prometheus], query: str) -> None:
        self._sources, self._query = sources, query

    async def before(self, incident: Incident, now: datetime) -> tuple[Deployment, ...]:
        """Give the last deployment of each series up to the incident's end, newest first; nothing if it fails."""
        prometheus, until = self._sources.get(incident.source), incident.resolved_at or now
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
