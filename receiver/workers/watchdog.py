"""The loop that listens for Alertmanager's Watchdog: when it falls silent, the silence is a P1 of our own."""

from collections.abc import Callable
from datetime import datetime
from functools import partial

from receiver.incident.event import AlertsReceived
from receiver.incident.machine import transition
from receiver.incident.model import Alert, AlertGroup
from receiver.policy.current import Current
from receiver.store.base import Store
from receiver.workers.clock_watch import ClockWatch

MISSED = 3  # beats that may be lost before the silence counts


class Watchdog:
    """One incident a source, keyed by us; it closes by itself when the Watchdog is heard again.

    A source that was never heard is not missed: a receiver that is set up before its Alertmanager stays quiet.
    While it is silent, ``blind`` is True: what Alertmanager then calls resolved is not believed, for it resolves
    everything about four minutes after its Prometheus has died. What was held back is let go once the Watchdog has
    been heard for ``MISSED`` intervals again, time enough for what still fires to say so.
    """

    def __init__(
        self,
        store: Store,
        current: Current,
        clock: Callable[[], datetime],
        elapsed: Callable[[], float],
        watch: ClockWatch,
        interval: float,
    ) -> None:
        self._store, self._current, self._clock, self._elapsed, self._watch = store, current, clock, elapsed, watch
        self._patience = MISSED * interval
        self.period = min(interval, 5.0)
        self._started, self._away = elapsed(), watch.away  # of our own running, without a gap
        self._silent: dict[str, float] = {}  # source -> when it was last found silent

    def blind(self) -> bool:
        """Say whether resolves are to be held back now."""
        return any(self._elapsed() - seen <= self._patience for seen in self._silent.values())

    async def run_once(self) -> None:
        """Open or close the incident of each source."""
        await self._watch.look()
        was_blind = bool(self._silent)
        now, passed = self._clock(), self._elapsed()
        if self._away != self._watch.away:
            self._started, self._away = passed, self._watch.away
        for source, heard in (await self._store.heartbeats()).items():
            # What was missed while we were down or suspended is no silence: patience starts with our own running.
            silent = min((now - heard).total_seconds(), passed - self._started) > self._patience
            if silent:
                self._silent[source] = passed
            elif passed - self._silent.get(source, passed) > self._patience:
                del self._silent[source]
            group = AlertGroup(f"receiver|watchdog/{source}", (_alert(source, heard, silent, now),))
            await self._store.update(AlertsReceived(group), self._current.routing, now)
        if was_blind and not self._silent:
            await self._let_go(now)

    async def _let_go(self, now: datetime) -> None:
        """Monitoring is back: what it called resolved, and has not said to fire since, is over."""
        for incident in await self._store.still_open():
            if incident.held:
                decide = partial(transition, event=_over(incident.key), policy=self._current.routing, now=now)
                await self._store.apply(incident.id, decide, now)


def _over(key: str) -> AlertsReceived:
    return AlertsReceived(AlertGroup(key, ()))


def _alert(source: str, heard: datetime, silent: bool, now: datetime) -> Alert:  # noqa: FBT001  # a field of the alert
    return Alert(
        fingerprint=f"watchdog-{source}",
        firing=silent,
        starts_at=heard,
        ends_at=None if silent else now,
        labels={"alertname": "WatchdogSilent", "severity": "critical", "team": "infrastructure", "source": source},
        annotations={
            "summary": "Monitoring is blind",
            "description": f"The Watchdog of {source} was last heard at {heard:%Y-%m-%d %H:%M:%S} UTC. Prometheus, "
            "Alertmanager or the way between them and this receiver is broken: no other alert can arrive.",
            "runbook_url": "https://github.com/heypeteracademy/monitoring/blob/main/docs/runbooks/Watchdog.md",
        },
    )
