"""An incident whose alerts the real Alertmanager has, and what makes silences of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import aiohttp
import msgspec
from prometheus_client import CollectorRegistry

from receiver.actions.answer import Actions, ActionSource, Request
from receiver.actions.silences import NewSilence, Silences
from receiver.clients.alertmanager import AlertmanagerApi, Known
from receiver.incident.event import AlertsReceived
from receiver.incident.model import DEFAULT_SOURCE, AlertGroup, Entry, EntryKind, Incident
from receiver.store.silences import MadeSilence
from receiver.store.sql.store import SQLStore
from receiver.workers.silence_watch import SilenceWatch
from tests.fakes.alertmanager import Alertmanager, WayThrough
from tests.receiver.example_site import Clock, a_store, an_alert, the_current, the_policy

API = ActionSource.API
HOUR = timedelta(hours=1)


class Site:
    """An incident whose alerts a real Alertmanager has, and what makes silences of it."""

    def __init__(self, folder: Path, server: Alertmanager, session: aiohttp.ClientSession) -> None:
        self.folder, self.server, self.session, self.clock = folder, server, session, Clock()
        self.current = the_current()
        self.name = folder.name  # of the alert: all tests have one Alertmanager
        self.matchers = (f'alertname="{self.name}"',)

    async def open(self, way: WayThrough) -> None:
        self.way = way
        self.clock.now = await self.server.ready(self.session)
        self.store: SQLStore = await a_store(self.folder, self.clock)
        self.actions = Actions(self.store, self.current, self.clock, CollectorRegistry())
        self.api = AlertmanagerApi(way.url, self.session, patience=0.5)
        apis = {DEFAULT_SOURCE: self.api}
        self.silences = Silences(
            self.store, self.store.silences, self.actions, apis, external_url="https://oncall.example.com/"
        )
        self.watch = SilenceWatch(self.store, self.store.silences, self.current, apis, self.clock)

    async def fire(self, *hosts: str) -> int:
        """Let alerts fire, here and in Alertmanager."""
        alerts = [
            an_alert(host, starts_at=self.clock.now, alertname=self.name, host=host, severity="warning")
            for host in hosts
        ]
        until = (self.clock.now + 24 * HOUR).isoformat()
        told = [{"labels": alert.labels, "endsAt": until} for alert in alerts]
        async with self.session.post(f"{self.server.url}/api/v2/alerts", json=told) as answer:
            assert answer.status == 200
        known = {one.alert.labels["host"]: one.alert for one in await self.api.matching(self.matchers)}
        alerts = [msgspec.structs.replace(one, fingerprint=known[one.labels["host"]].fingerprint) for one in alerts]
        event = AlertsReceived(AlertGroup(f"{self.name} {hosts}", tuple(alerts), receiver="receiver"))
        incident = await self.store.update(event, the_policy(), self.clock.now)
        assert incident is not None
        return incident.id

    async def make(self, number: int, *matchers: str, form: str = "", who: str = "linh") -> MadeSilence:
        wanted = NewSilence(matchers or self.matchers, self.clock.now + HOUR, "we are working on it")
        made = await self.silences.make(API, number, wanted, who, Request(form=form))
        assert isinstance(made, MadeSilence), made
        return made

    async def there(self) -> dict[str, Known]:
        """Alertmanager's own silences of this test that have not ended."""
        listed = await self.api.silences()
        return {n: one for n, one in listed.items() if not one.is_over and one.matchers[0].value == self.name}

    async def stored(self, number: int) -> tuple[Incident, tuple[Entry, ...]]:
        stored = await self.store.incident(number)
        assert stored is not None
        return stored

    async def lines(self, number: int, kind: EntryKind) -> list[Entry]:
        return [entry for entry in (await self.stored(number))[1] if entry.kind is kind]


@asynccontextmanager
async def a_site(folder: Path, server: Alertmanager) -> AsyncIterator[Site]:
    async with aiohttp.ClientSession() as session:
        site = Site(folder, server, session)
        async with WayThrough(server.url, session) as way:
            await site.open(way)
            yield site
            await site.store.close()
