"""The loop that asks again about what was taken for an echo of a cluster, where no API can tell.

An episode that has just ended may be called firing once more by another Alertmanager of the cluster, which calls it
resolved as well a `group_interval` later. What nobody has called resolved by then fires: Alertmanager itself would say
so again only after its `repeat_interval`, which is hours.
"""

from collections.abc import Callable, Collection
from datetime import datetime, timedelta

from receiver.incident.event import AlertsReceived
from receiver.incident.model import AlertGroup, Incident
from receiver.policy.current import Current
from receiver.store.base import Store

PERIOD = 30.0  # seconds
DOUBTED = timedelta(minutes=6)  # Alertmanager's own group_interval is five minutes
_LONG_AGO = timedelta(minutes=15)
_MOST = 1000


class EchoWatch:
    """``run_once`` takes what was doubted for long enough for firing, but of sources that are ``asked`` by API."""

    def __init__(
        self, store: Store, current: Current, clock: Callable[[], datetime], asked: Collection[str] = ()
    ) -> None:
        self._store, self._current, self._clock, self._asked = store, current, clock, asked
        self._told: set[tuple[int, datetime | None]] = set()  # incident and when it was over

    async def run_once(self) -> None:
        """Look at what was over a short while ago."""
        now = self._clock()
        recent = await self._store.resolved_since(now - _LONG_AGO, _MOST)
        endings = {(one.id, one.resolved_at): one for one in recent if one.doubted and one.source not in self._asked}
        self._told &= endings.keys()
        for ending, incident in endings.items():
            if ending not in self._told and ending[1] is not None and now - ending[1] >= DOUBTED:
                await self._take(incident, now)
                self._told.add(ending)

    async def _take(self, incident: Incident, now: datetime) -> None:
        group = AlertGroup(
            incident.key,
            tuple(incident.doubted.values()),
            receiver=incident.receiver,
            labels=incident.group_labels,
            source=incident.source,
        )
        await self._store.update(AlertsReceived(group, confirmed=True), self._current.routing, now)
