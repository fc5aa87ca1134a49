"""The loop that notices missed heartbeats of jobs, on a real store, over restarts and set clocks."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from receiver.incident.event import Resolve
from receiver.incident.heartbeat import Job
from receiver.incident.model import Incident, Origin, State
from receiver.metrics import Metrics
from receiver.store.sql.store import SQLStore
from receiver.workers.job_heartbeats import HeartbeatLook
from tests.receiver.example_site import Clock, a_store, a_watch, deciding, the_current

JOBS = {"backup": Job("backup", every=3600, grace=300, team="backend", priority="P2", title="No backup")}


class Site:
    """A receiver that is started and stopped, on one folder."""

    def __init__(self, folder: Path, store: SQLStore, clock: Clock) -> None:
        self.folder, self.store, self.clock, self.jobs = folder, store, clock, dict(JOBS)
        self.metrics = Metrics(["email"])
        self.begin()

    def begin(self) -> None:
        current = the_current()
        watch = a_watch(self.store, self.clock, current)
        self.look = HeartbeatLook(self.store, current, self.clock, watch, self.metrics, jobs=lambda: self.jobs)

    async def restart(self, **down: float) -> None:
        await self.store.close()
        self.clock.forward(**down)
        self.store = await a_store(self.folder, self.clock)
        self.begin()
        await self.look.run_once()

    async def passes(self, minutes: int) -> None:
        """Let time pass, with a look every 20 seconds."""
        for _ in range(3 * minutes):
            self.clock.forward(seconds=20)
            await self.look.run_once()

    async def incidents(self) -> list[Incident]:
        return await self.store.incidents(None, 10)

    def sample(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"receiver_heartbeat_{name}", {"heartbeat": "backup"})


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    clock = Clock()
    made = Site(tmp_path, await a_store(tmp_path, clock), clock)
    await made.look.run_once()
    yield made
    await made.store.close()


async def test_absence_opens_an_incident_and_the_next_beat_resolves_it(site: Site) -> None:
    await site.store.job_beat("backup", site.clock.now)
    await site.passes(64)
    assert await site.incidents() == []
    await site.passes(2)
    (incident,) = await site.incidents()
    assert (incident.state, incident.priority, incident.team) == (State.TRIGGERED, "P2", "backend")
    assert incident.title == "HeartbeatMissed: No backup"
    assert site.sample("missed") == 1
    await site.store.job_beat("backup", site.clock.now)
    await site.look.run_once()
    (incident,) = await site.incidents()
    assert incident.state is State.RESOLVED
    assert (site.sample("missed"), site.sample("last_seen_timestamp_seconds")) == (0, site.clock.now.timestamp())


async def test_it_is_known_after_a_restart_and_the_time_between_does_not_count(site: Site) -> None:
    await site.store.job_beat("backup", site.clock.now)
    await site.passes(60)
    await site.restart(hours=10)
    await site.passes(4)
    assert await site.incidents() == []
    await site.passes(2)
    assert len(await site.incidents()) == 1


async def test_a_receiver_that_restarts_again_and_again_still_misses_a_job(site: Site) -> None:
    await site.store.job_beat("backup", site.clock.now)
    for _ in range(7):
        await site.passes(10)
        await site.restart(minutes=5)
    assert len(await site.incidents()) == 1


async def test_a_job_that_was_heard_before_a_crash_resolves_its_incident_after_it(site: Site) -> None:
    await site.passes(70)
    await site.store.job_beat("backup", site.clock.now)
    await site.restart(minutes=1)
    (incident,) = await site.incidents()
    assert incident.state is State.RESOLVED


@pytest.mark.parametrize("hours", [-5, 5])
async def test_a_clock_that_is_set_makes_no_job_late_or_early(site: Site, hours: int) -> None:
    await site.store.job_beat("backup", site.clock.now)
    await site.passes(60)
    site.clock.set(hours=hours)
    await site.passes(4)
    assert await site.incidents() == []
    await site.passes(2)
    assert len(await site.incidents()) == 1


async def test_what_a_person_has_resolved_stays_so_over_a_restart(site: Site) -> None:
    await site.passes(70)
    (incident,) = await site.incidents()
    await site.store.apply(incident.id, deciding(Resolve("linh", Origin.API), site.clock.now), site.clock.now)
    await site.restart(hours=3)
    await site.passes(120)
    (incident,) = await site.incidents()
    assert incident.state is State.RESOLVED


async def test_a_job_that_leaves_the_configuration_takes_its_incident_with_it(site: Site) -> None:
    await site.passes(70)
    site.jobs.clear()
    await site.look.run_once()
    (incident,) = await site.incidents()
    assert incident.state is State.RESOLVED
    assert (await site.store.watch_jobs(lambda known: known)).beats == {}
    assert site.sample("missed") is None
