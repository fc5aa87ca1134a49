"""The loop that asks Prometheus, once after the start, what fired and was over while this receiver was down.

After a restart of the whole machine Prometheus is not up yet, or answers 503 until it has read its log: it is asked
again, with a pause, until it has answered. Housekeeping says meanwhile that this fails.
"""

import hashlib
import logging
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec

from receiver.clients.http_api import ApiError
from receiver.clients.prometheus import MAX_POINTS, Labels, Prometheus, Sample
from receiver.incident.event import AlertsReceived
from receiver.incident.model import DEFAULT_SOURCE, Alert, AlertGroup, of_source
from receiver.policy.current import Current
from receiver.store.base import Store

log = logging.getLogger(__name__)

PERIOD = 30.0  # seconds between two attempts
_STEP = 30.0  # seconds between two points of Prometheus's memory
_SHORTEST_OUTAGE = timedelta(seconds=60)
_AT_THE_START = 300.0  # seconds after which whoever led since then has asked
_TRIED_FOR = 86400.0  # seconds; a question that is refused for so long is refused for good
_WARM = timedelta(minutes=2)  # after its own start Prometheus needs that long to evaluate what still fires


class NotAnsweredError(Exception):
    """Prometheus has not said yet what fired; it is asked again."""


class CatchUp:
    """``run_once`` asks until it was answered; ``down`` is when no receiver ran."""

    def __init__(
        self,
        store: Store,
        current: Current,
        prometheus: Prometheus,
        down: tuple[datetime, datetime],
        source: str,
        *,
        clock: Callable[[], datetime],
        elapsed: Callable[[], float],
    ) -> None:
        self._store, self._current, self._prometheus, self._down = store, current, prometheus, down
        self._source, self._clock, self._elapsed = source, clock, elapsed
        self._begun, self._has_asked = elapsed(), False
        self._is_over = down[1] - down[0] < _SHORTEST_OUTAGE

    async def run_once(self) -> None:
        """Ask once; NotAnsweredError if it is to be asked again."""
        passed = self._elapsed() - self._begun
        if self._is_over or (not self._has_asked and passed > _AT_THE_START):
            self._is_over = True
            return
        self._has_asked = True
        try:
            await self._wait_until_warm()
            now = self._clock()
            count = await record_outage(self._store, self._current, self._prometheus, self._down, self._source, now)
        except (ApiError, NotAnsweredError) as error:
            text = f"alerts of {self._source} that fired while the receiver was down are unknown"
            if passed < _TRIED_FOR:
                raise NotAnsweredError(f"{text} as yet: {error}") from error
            log.error("%s, and nobody asks any more: %s", text, error)  # noqa: TRY400  # its text says it all
        else:
            log.info("recorded %d alerts that fired and resolved while the receiver was down", count)
        self._is_over = True

    async def _wait_until_warm(self) -> None:
        try:
            started = await self._prometheus.started_at()
        except ApiError:
            return  # what has the same API may not say it; whether it answers is seen by the question
        if self._clock() - started < _WARM:
            raise NotAnsweredError("Prometheus has just been started itself")


async def record_outage(
    store: Store,
    current: Current,
    prometheus: Prometheus,
    down: tuple[datetime, datetime],
    source: str = DEFAULT_SOURCE,
    now: datetime | None = None,
) -> int:
    """Record what fired and was over while this receiver was down; gives how many. ApiError if it cannot be known.

    Alertmanager forgets what fires and resolves while its receiver is away (notify/dedup_stage.go: without an entry
    in its log and with nothing firing there is nothing to send); Prometheus keeps the series ALERTS.
    """
    start, end = down
    if end - start < _SHORTEST_OUTAGE:
        return 0
    # One answer holds the whole outage, however long it was.
    step = max(_STEP, math.ceil((end - start).total_seconds() / (MAX_POINTS - 1)))
    # Up to now: what was not evaluated for a while, for Prometheus was down as well, fires again by now.
    until = max(end, now or end).timestamp()
    series = await prometheus.range('ALERTS{alertstate="firing"}', start.timestamp(), until, step)
    count = 0
    for labels, samples in series.items():
        alert = _alert(labels, samples, end, step)
        if alert is None:
            continue
        key = f"outage|{alert.fingerprint}/{int(alert.starts_at.timestamp())}"
        group = of_source(AlertGroup(key, (alert,)), source)
        for event in (
            AlertsReceived(group, recorded=True),
            AlertsReceived(msgspec.structs.replace(group, alerts=(msgspec.structs.replace(alert, firing=False),))),
        ):
            await store.update(event, current.routing, end)
        count += 1
    return count


def _alert(series: Labels, samples: list[Sample], end: datetime, step: float) -> Alert | None:
    """One alert of the outage that is over; what still fires comes by its webhook. The Watchdog always fires."""
    labels = {name: value for name, value in series if name not in {"__name__", "alertstate"}}
    if not samples or labels.get("severity", "").strip().casefold() == "none" or labels.get("alertname") == "Watchdog":
        return None
    first, last = samples[0][0], samples[-1][0]
    if end.timestamp() - last <= 2 * step:  # or it fires since then
        return None
    name = hashlib.sha256(repr(sorted(labels.items())).encode()).hexdigest()[:16]
    times = (datetime.fromtimestamp(first, UTC), datetime.fromtimestamp(last, UTC))
    return Alert(name, True, times[0], times[1], labels, {})  # noqa: FBT003  # it fired
