"""The loop that compares with Alertmanager's API."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial

import msgspec

from receiver.clients.alertmanager import AlertmanagerApi, View
from receiver.clients.http_api import ApiError
from receiver.incident.event import AlertsReceived, Event, Paused, StillFiring
from receiver.incident.machine import transition
from receiver.incident.model import (
    DEFAULT_SOURCE,
    Alert,
    Decision,
    EntryKind,
    Incident,
    State,
    of_source,
)
from receiver.metrics import Metrics
from receiver.policy.current import Current
from receiver.store.base import Decide, Store
from receiver.workers.reconcile_diff import (
    Finding,
    Overview,
    Since,
    compare,
    fired_on,
    merge_receivers,
    missed,
    still_firing,
)
from receiver.workers.stuck import careless

log = logging.getLogger(__name__)

_CLOSED = 1000  # incidents that are over, of which it is remembered what was resolved by hand


async def _always(_alerts: tuple[Alert, ...]) -> bool:
    return True


class Reconciler:
    """``run_once`` compares. An API that is away changes nothing."""

    def __init__(  # noqa: PLR0913  # the composition root hands over every collaborator
        self,
        store: Store,
        current: Current,
        api: AlertmanagerApi,
        clock: Callable[[], datetime],
        elapsed: Callable[[], float],
        metrics: Metrics,
        *,
        receivers: tuple[str, ...] = (),
        missed_after: float = 600.0,
        source: str = DEFAULT_SOURCE,
        merged: tuple[str, ...] = (),
        believes: Callable[[tuple[Alert, ...]], Awaitable[bool]] = _always,
        careful: Callable[[Decide], Decide] = careless,
    ) -> None:
        self._store, self._current, self._api, self._clock = store, current, api, clock
        self._metrics, self._believes, self._careful = metrics, believes, careful
        self._receivers, self._missed_after = receivers, timedelta(seconds=missed_after)
        self._source, self._merged = source, merged
        self._elapsed, self._since, self._term = elapsed, Since(elapsed), store.term

    async def run_once(self) -> None:
        """Compare every open incident, and look for what nobody has told us."""
        if self._term != self._store.term:  # whoever led meanwhile has looked, and not we
            self._since, self._term = Since(self._elapsed), self._store.term
        asked = self._clock()
        try:
            view = await self._api.view()
        except ApiError as error:
            log.warning("cannot compare with %s: %s", self._source, error)
            return
        # Whatever looks at all that is open or fires does so in another thread: pages must not wait for it.
        view = await asyncio.to_thread(merge_receivers, view, self._merged)
        overview = Overview(view, self._source)
        incidents = await self._store.still_open(overview.concerns)
        loose = await asyncio.to_thread(overview.loose)
        lately = await self._closed_lately(loose)
        for incident in (*incidents, *lately):
            for finding in await self._compare(incident, view, asked):
                if isinstance(finding.event, Paused) and await self._has_resumed(incident, asked):
                    continue
                after = await self._store.apply(incident.id, self._deciding(finding.event, incident), self._clock())
                if after is not None and after != incident:
                    self._note(finding.kind, incident.id)
        self._since.next_round()
        await self._find_missed(incidents, lately, loose, self._receivers or overview.receivers)
        await self._report_resolved(loose)
        self._metrics.reconciled.labels(self._source).set(self._clock().timestamp())

    async def rest(self) -> None:
        """Leave it to the receiver that compares now to say what still fires."""
        self._metrics.still_firing.labels(self._source).set(0)

    async def _compare(self, incident: Incident, view: View, asked: datetime) -> list[Finding]:
        if incident.paused is not None and incident.paused.since is not None and incident.paused.since > asked:
            return []  # a person has silenced it meanwhile, which this view does not show
        now = self._clock()
        windows = partial(self._current.routing.maintenance, now=now)
        blind = not await self._believes(_absent(incident, view))
        look = partial(compare, incident, view, self._since, now, blind=blind, maintenance=windows)
        # What a message left out is looked for in all that fires.
        return await asyncio.to_thread(look) if incident.truncated else look()

    async def _has_resumed(self, incident: Incident, asked: datetime) -> bool:
        """Say whether a person has ended its silence meanwhile, which this view does not show."""
        if incident.paused is not None:
            return False  # it stood still when it was read; `_deciding` sees whether it still does
        stored = await self._store.incident(incident.id)
        return stored is not None and any(one.kind is EntryKind.RESUMED and one.at > asked for one in stored[1])

    async def _closed_lately(self, loose: View) -> list[Incident]:
        """Read the incidents that may reopen, if anything fires that no open incident has."""
        if not loose.alerts:
            return []
        start = self._clock() - timedelta(seconds=self._current.routing.flap_window)
        recent = await self._store.resolved_since(start, _CLOSED)
        return [i for i in recent if self._is_ours(i) and loose.alerts.keys() & i.alerts.keys()]

    async def _find_missed(
        self, incidents: list[Incident], lately: list[Incident], loose: View, receivers: tuple[str, ...]
    ) -> None:
        find = partial(missed, view=loose, receivers=receivers, after=self._missed_after, since=self._since)
        if await asyncio.to_thread(find, incidents, lately, now=self._clock()):
            incidents = incidents + [
                incident
                for incident in await self._store.incidents(State.RESOLVED, _CLOSED)
                if incident.source == self._source
            ]
        for group in await asyncio.to_thread(find, incidents, lately, now=self._clock()):
            event = AlertsReceived(of_source(group, self._source), drift=EntryKind.MISSED)
            opened = await self._store.update(event, self._current.routing, self._clock())
            if opened is not None:
                self._note("missed", opened.id)

    async def _report_resolved(self, loose: View) -> None:
        """Say what fires on a while after a person has resolved it: nobody is paged about that any more."""
        names = fired_on(loose.alerts, loose, self._receivers, self._clock())
        closed = await self._store.incidents(State.RESOLVED, _CLOSED) if names else []
        ours = {incident.id: incident for incident in closed if self._is_ours(incident)}
        counts = still_firing(ours.values(), names, loose, self._clock())
        self._metrics.still_firing.labels(self._source).set(len(counts))
        for number, count in counts.items():
            after = await self._store.apply(number, self._deciding(StillFiring(count)), self._clock())
            if after is not None and after.reported_at != ours[number].reported_at:
                log.warning(
                    "incident %d was resolved by hand, and %d of its alerts still fire",
                    number,
                    count,
                    extra={"facts": {"incident": number}},
                )

    def _is_ours(self, incident: Incident) -> bool:
        return bool(incident.receiver) and incident.source == self._source

    def _note(self, kind: str, incident: int) -> None:
        self._metrics.drift.labels(self._source, kind).inc()
        log.info(
            "the API of %s and incident %d differed: %s",
            self._source,
            incident,
            kind,
            extra={"facts": {"incident": incident}},
        )

    def _deciding(self, event: Event, known: Incident | None = None) -> Decide:
        """Decide; what stood still when it was read, as ``known``, and goes on by now is not paused again."""
        decide = self._careful(partial(transition, event=event, policy=self._current.routing, now=self._clock()))
        if known is None or known.paused is None or not isinstance(event, Paused):
            return decide
        return lambda before: decide(before) if before.paused is not None else Decision(before)


def _absent(incident: Incident, view: View) -> tuple[Alert, ...]:
    """Give what fires and the API does not show, as if it were over: it may be, or its Prometheus is dead."""
    absent = (alert for alert in incident.firing if alert.fingerprint not in view.alerts)
    return tuple(msgspec.structs.replace(alert, firing=False) for alert in absent)
