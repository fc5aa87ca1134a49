"""The loop that notices when a job's heartbeat is missed: that opens an incident, and its next beat resolves it."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial

from receiver.incident.heartbeat import Beat, Job, looked, missed
from receiver.metrics import Metrics
from receiver.policy.current import Current
from receiver.store.base import Store
from receiver.workers.clock_watch import ClockWatch

PERIOD = 5.0  # seconds; see receiver.incident.heartbeat.AWAY


class HeartbeatLook:
    """``run_once`` tells the incident of each job what has changed; ``jobs`` gives those that the file names now."""

    def __init__(
        self,
        store: Store,
        current: Current,
        clock: Callable[[], datetime],
        watch: ClockWatch,
        metrics: Metrics,
        *,
        jobs: Callable[[], Mapping[str, Job]],
    ) -> None:
        self._store, self._current, self._clock, self._watch = store, current, clock, watch
        self._metrics, self._jobs = metrics, jobs
        self._told: dict[str, datetime | None] = {}  # job -> the `missed_at` that its incident knows
        self._is_idle, self._term = False, store.term

    async def run_once(self) -> None:
        """Look once; a change that cannot be stored is told at the next look."""
        jobs = self._jobs()
        if self._term != self._store.term:  # another receiver may have told something else since
            self._told, self._is_idle, self._term = {}, False, self._store.term
        if not jobs and self._is_idle:
            return
        await self._watch.look()
        now = self._clock()
        beats = (await self._store.watch_jobs(partial(looked, jobs=jobs, now=now))).beats
        for name, beat in beats.items():
            if name not in jobs:
                await self._retire(name, now)
            elif self._told.get(name, now) != beat.missed_at:
                await self._store.update(missed(jobs[name], beat, now), self._current.routing, now)
                self._told[name] = beat.missed_at
        self._is_idle = not jobs
        self._metrics.show_jobs({name: beat for name, beat in beats.items() if name in jobs})

    async def rest(self) -> None:
        """Leave it to the receiver that looks now to say who is missed."""
        self._metrics.show_jobs({})

    async def _retire(self, name: str, now: datetime) -> None:
        """End the incident of a job that has left the configuration."""
        await self._store.update(missed(Job(name, 0, 0), Beat(now, now), now), self._current.routing, now)
        await self._store.forget_job(name)
        self._told.pop(name, None)
