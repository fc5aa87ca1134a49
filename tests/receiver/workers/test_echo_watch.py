"""What was taken for an echo of a cluster fires, if nobody calls it resolved and no API can be asked."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from receiver.incident.event import Resolve
from receiver.incident.model import Incident, Origin, State
from receiver.store.sql.store import SQLStore
from receiver.workers.echo_watch import DOUBTED, EchoWatch
from tests.receiver.example_site import START, Clock, a_store, an_alert, deciding, received, the_current


class Site:
    """A store, and the loop; ``say`` is a webhook."""

    def __init__(self, store: SQLStore, clock: Clock) -> None:
        self.store, self.clock, self.current = store, clock, the_current()
        self.watch = EchoWatch(store, self.current, clock, {"asked"})

    async def say(self, *, firing: bool, after: float = 0) -> None:
        self.clock.forward(seconds=after)
        alert = an_alert(firing=firing, starts_at=START, ends_at=None if firing else self.clock.now)
        await self.store.update(received(alert), self.current.routing, self.clock.now)

    async def minutes(self, count: float) -> None:
        for _ in range(int(count * 2)):
            self.clock.forward(seconds=30)
            await self.watch.run_once()

    async def incidents(self) -> list[Incident]:
        return await self.store.incidents(None, 10)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    clock = Clock()
    store = await a_store(tmp_path, clock)
    yield Site(store, clock)
    await store.close()


async def test_what_fires_on_after_its_echo_is_not_muzzled_until_the_next_repeat(site: Site) -> None:
    await site.say(firing=True)
    await site.say(firing=False, after=300)
    await site.say(firing=True, after=60)  # Alertmanager says it again in four hours
    over = site.clock.now - timedelta(seconds=60)
    await site.minutes(4.5)
    assert [incident.state for incident in await site.incidents()] == [State.RESOLVED]
    await site.minutes(1)
    (incident,) = await site.incidents()
    assert (incident.state, len(incident.firing)) == (State.TRIGGERED, 1)
    assert incident.reopened[0] - over < DOUBTED + timedelta(minutes=1)
    assert not incident.doubted
    await site.say(firing=False, after=60)
    await site.minutes(20)
    assert [one.state for one in await site.incidents()] == [State.RESOLVED]


@pytest.mark.parametrize("after", [5, 290])
async def test_an_echo_that_is_called_resolved_as_well_opens_nothing(site: Site, after: float) -> None:
    await site.say(firing=True)
    await site.say(firing=False, after=300)
    await site.say(firing=True, after=5)
    await site.say(firing=False, after=after)
    await site.minutes(20)
    (incident,) = await site.incidents()
    assert (incident.state, incident.reopened, incident.doubted) == (State.RESOLVED, (), {})


async def test_news_of_others_says_nothing_of_what_is_doubted(site: Site) -> None:
    await site.say(firing=True)
    await site.say(firing=False, after=300)
    await site.say(firing=True, after=60)
    for other in (an_alert("b", starts_at=site.clock.now), an_alert("b", firing=False, starts_at=site.clock.now)):
        await site.store.update(received(other), site.current.routing, site.clock.now)
        site.clock.forward(seconds=30)
    await site.minutes(8)
    assert [alert.fingerprint for alert in (await site.incidents())[0].firing] == ["a"]


async def test_what_a_person_has_resolved_is_no_doubt(site: Site) -> None:
    now = site.clock.now
    both = received(an_alert(), an_alert("b"))
    await site.store.update(both, site.current.routing, now)
    site.clock.forward(minutes=5)
    one = received(an_alert(firing=False, ends_at=site.clock.now), an_alert("b"))
    await site.store.update(one, site.current.routing, site.clock.now)
    await site.store.apply(1, deciding(Resolve("linh", Origin.API), site.clock.now), site.clock.now)
    site.clock.forward(seconds=10)
    await site.store.update(one, site.current.routing, site.clock.now)
    await site.minutes(20)
    assert [(incident.state, incident.reopened) for incident in await site.incidents()] == [(State.RESOLVED, ())]


async def test_a_source_that_can_be_asked_is_asked(site: Site) -> None:
    await site.say(firing=True)
    await site.say(firing=False, after=300)
    await site.say(firing=True, after=60)
    site.watch = EchoWatch(site.store, site.current, site.clock, {"alertmanager"})
    await site.minutes(20)
    assert [incident.state for incident in await site.incidents()] == [State.RESOLVED]
