"""The loop that listens for Alertmanager's Watchdog: when it falls silent, the silence is a P1 of our own."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from functools import partial

from receiver.incident.event import AlertsReceived, Event, Unproved
from receiver.incident.machine import transition
from receiver.incident.model import DEFAULT_SOURCE, Alert, AlertGroup, Incident
from receiver.policy.current import Current
from receiver.store.base import Decide, Store
from receiver.workers.clock_watch import ClockWatch
from receiver.workers.liveness import Liveness
from receiver.workers.stuck import careless

MISSED = 3  # beats that may be lost before the silence counts
_SAVED_WITHIN = 60.0  # seconds; a transaction takes no longer


class Watchdog:
    """One incident a source, keyed by us; it closes by itself when the Watchdog is heard again.

    A source that was never heard is not missed: a receiver that is set up before its Alertmanager stays quiet.
    What Alertmanager calls resolved is believed at once from a Prometheus that was provably alive (``liveness``), else
    held back until that is proved, or until enough beats have come since: Alertmanager itself repeats the Watchdog of a
    dead Prometheus for two resend intervals at most, plus ``group_interval`` of its route.
    """

    def __init__(  # noqa: PLR0913  # the composition root hands over every collaborator
        self,
        store: Store,
        current: Current,
        clock: Callable[[], datetime],
        elapsed: Callable[[], float],
        watch: ClockWatch,
        interval: float,
        *,
        group_interval: float = 60.0,
        liveness: Mapping[str, Liveness] | None = None,
        runbooks_url: str = "",
        careful: Callable[[Decide], Decide] = careless,
    ) -> None:
        self._careful = careful
        self._runbook = f"{runbooks_url.rstrip('/')}/Watchdog.md"
        self._store, self._current, self._clock, self._elapsed, self._watch = store, current, clock, elapsed, watch
        self._liveness = liveness or {DEFAULT_SOURCE: Liveness(clock, interval)}
        self._patience = MISSED * interval
        self._group_interval = timedelta(seconds=group_interval)
        self.period = min(interval, 5.0)
        self._started, self._away = elapsed(), watch.away  # of our own running, without a gap
        self._silent: dict[str, float] = {}  # source -> when it was last found silent
        self._heard: dict[str, datetime] | None = None  # source -> its newest beat; None until the store was asked
        self._fresh: dict[int, float] = {}  # held incident -> since when its Prometheus is alive again
        self._doubted = elapsed()  # when a resolve was last not believed; its incident is saved a moment later
        self._holds = True  # some incident is held, or may be since before this receiver leads
        self._term: int | None = None

    def blind(self, source: str = DEFAULT_SOURCE) -> bool:
        """Say whether the Watchdog of a source is overdue, or was a moment ago."""
        return source in self._silent and self._elapsed() - self._silent[source] <= self._patience

    def doubt(self) -> None:
        """Another receiver on this store may have held a resolve back."""
        self._doubted = self._elapsed()

    async def believes(self, alerts: Iterable[Alert], source: str = DEFAULT_SOURCE) -> bool:
        """Say whether a resolve of these alerts is to be believed now; if not, it will be looked at again."""
        over = [alert for alert in alerts if not alert.firing]
        if not over or (not self.blind(source) and await self._is_proved(over, source)):
            return True
        self._doubted = self._elapsed()
        return False

    async def _is_proved(self, over: list[Alert], source: str) -> bool:
        liveness = self._liveness[source]
        if await liveness.is_fresh(over):
            return True
        if self._heard is None:
            self._heard = await self._store.heartbeats()
        return source not in self._heard and not liveness.watched

    async def run_once(self) -> None:
        """Open or close the incident of each source, and let go what is over after all."""
        await self._watch.look()
        now, passed = self._clock(), self._elapsed()
        # What we missed while suspended is no silence, nor what we could not store: Alertmanager got 503.
        if self._away != self._watch.away or self._store.outage is not None:
            self._started, self._away = passed, self._watch.away
        self._heard = await self._store.heartbeats()
        for source, heard in self._heard.items():
            if source not in self._liveness:
                continue  # it has left the configuration
            # Nor what was missed while we were down: patience starts with our own running.
            late, patient = (now - heard).total_seconds() > self._patience, passed - self._started > self._patience
            silent = late and patient
            if silent:
                self._silent[source] = passed
            elif passed - self._silent.get(source, passed) > self._patience:
                del self._silent[source]
            if not self._store.leads or (late and not patient):
                continue  # another receiver on this store says it, or knows better
            group = AlertGroup(f"receiver|watchdog/{source}", (_alert(source, heard, silent, now, self._runbook),))
            await self._store.update(AlertsReceived(group), self._current.routing, now)
        if self._store.leads and self._may_hold():
            await self._let_go()

    def _may_hold(self) -> bool:
        """Say whether some incident may be held."""
        if self._term != self._store.term:
            self._term, self._holds, self._fresh = self._store.term, True, {}
        return self._holds or self._elapsed() - self._doubted <= _SAVED_WITHIN

    async def _let_go(self) -> None:
        """Believe what was held back and is over by now."""
        held = await self._store.still_open(lambda incident: incident.held)
        self._holds = bool(held)
        self._fresh = {incident.id: self._fresh[incident.id] for incident in held if incident.id in self._fresh}
        for incident in held:
            now = self._clock()
            if await self._is_over(incident, now):
                event: Event = _over(incident.key)
            elif self._is_stuck(incident, now):
                event = Unproved()
            else:
                continue
            decide = self._careful(partial(transition, event=event, policy=self._current.routing, now=now))
            await self._store.apply(incident.id, decide, now)

    def _is_stuck(self, incident: Incident, now: datetime) -> bool:
        """Say whether nothing proves anything for long, and nobody is paged for it: its source is not blind."""
        if incident.held_at is None or incident.id in self._fresh or self.blind(incident.source):
            return False
        return now - incident.held_at > self._afterlife(incident.source) + 2 * timedelta(seconds=self._patience)

    def _afterlife(self, source: str) -> timedelta:
        """Give how long Alertmanager repeats the Watchdog of a dead Prometheus."""
        liveness = self._liveness.get(source)
        return (2 * liveness.resend if liveness is not None else timedelta(0)) + self._group_interval

    async def _is_over(self, incident: Incident, now: datetime) -> bool:
        alerts, source = tuple(incident.alerts.values()), incident.source
        liveness = self._liveness.get(source)
        if liveness is None:
            return False  # its source has left the configuration: nothing can prove it
        fires = await liveness.fires(alerts)
        if fires is not None:
            return not fires
        fresh = not self.blind(source) and await liveness.is_fresh(alerts)
        if fresh:  # a Prometheus that is back needs a while to find out what still fires
            since = self._fresh.setdefault(incident.id, self._elapsed())
            return self._elapsed() - since >= self._patience
        self._fresh.pop(incident.id, None)
        if fresh is False:
            return False
        over = max((alert.ends_at for alert in alerts if alert.ends_at), default=now)
        return (self._heard or {}).get(source, now) > (incident.held_at or over) + self._afterlife(source)


def _over(key: str) -> AlertsReceived:
    return AlertsReceived(AlertGroup(key, ()))


def _alert(source: str, heard: datetime, silent: bool, now: datetime, runbook: str) -> Alert:  # noqa: FBT001  # a field
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
            "runbook_url": runbook,
        },
    )
