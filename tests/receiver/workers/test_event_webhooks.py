"""Outgoing webhooks: every change arrives once in order, signed, over failures and restarts."""

import base64
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from process.settings import Secret
from receiver.channels.webhook import keys
from receiver.config.event_webhooks import CHANGES
from receiver.incident.event import Acknowledge, Note, Resolve
from receiver.incident.model import EntryKind, Origin
from receiver.store.base import StoreError
from receiver.workers.event_webhooks import EventWebhook, Hook, HookMetrics
from tests.fakes.endpoint import FakeEndpoint, signed_by
from tests.receiver.example_site import Clock, a_store, an_alert, beside, deciding, received, refusing, the_policy

SECRET = f"whsec_{base64.b64encode(bytes(32)).decode()}"
OPENED, PAGED, ACKED, NOTED, RESOLVED = "opened", "paged", "acknowledged", "noted", "resolved_by_hand"


class Reader(FakeEndpoint):
    """Answers with ``status``."""

    status = 200
    refuses = ""  # an event

    def __init__(self) -> None:
        super().__init__()
        self.asked: Callable[[web.Request], None] = lambda _request: None

    def answer(self, request: web.Request, body: dict[str, object]) -> web.Response:
        self.asked(request)
        return web.json_response({}, status=500 if body["type"] == f"incident.{self.refuses}" else self.status)

    def heard(self) -> list[str]:
        return [call.body["type"].removeprefix("incident.") for call in self.calls]

    def ids(self) -> list[str]:
        return [call.headers["webhook-id"] for call in self.calls]


class Site:
    """One hook of a store in a folder; ``again`` is the next process."""

    def __init__(self, folder: Path, clock: Clock, session: aiohttp.ClientSession, url: str) -> None:
        self.folder, self.clock, self.session, self.url = folder, clock, session, url

    async def open(self, kinds: frozenset[EntryKind] = frozenset(CHANGES)) -> None:
        self.store = await a_store(self.folder, self.clock)
        self.term: int | None = 1
        self.hook = self.a_hook(kinds)
        await self.post()

    def a_hook(self, kinds: frozenset[EntryKind] = frozenset(CHANGES)) -> EventWebhook:
        """Make one more on the same store, as another receiver has it."""
        self.registry = CollectorRegistry()
        hook = Hook("status", Secret(self.url), keys(SECRET), kinds, 5.0, timedelta(hours=1))
        return EventWebhook(
            hook,
            self.store.hooks,
            self.session,
            self.clock,
            HookMetrics(self.registry),
            external_url="https://oncall.example.com",
            installation=1,
            name_of=lambda person: {"linh": "Linh Tran"}.get(person, person),
            term=lambda: self.term,
        )

    async def again(self) -> None:
        await self.store.close()
        await self.open()

    async def post(self) -> None:
        while await self.hook.post_next():
            pass

    async def happens(self) -> None:
        """An incident is opened, acknowledged, noted and resolved."""
        now = self.clock.now
        await self.store.update(received(an_alert()), the_policy(), now)
        await self.act(Acknowledge("linh", Origin.API))
        await self.act(Note("linh", Origin.API, "Restarted db-1", tell=False))
        await self.act(Resolve("linh", Origin.API))

    async def act(self, event: Acknowledge | Note | Resolve) -> None:
        (incident, *_) = await self.store.incidents(None, 1)
        await self.store.apply(incident.id, deciding(event, self.clock.now), self.clock.now)

    def counted(self, outcome: str) -> float:
        labels = {"hook": "status", "outcome": outcome}
        return self.registry.get_sample_value("receiver_event_webhook_posts_total", labels) or 0

    def late(self) -> float | None:
        return self.registry.get_sample_value("receiver_event_webhook_oldest_age_seconds", {"hook": "status"})


@pytest.fixture
async def reader() -> AsyncIterator[Reader]:
    server = Reader()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def site(tmp_path: Path, reader: Reader) -> AsyncIterator[Site]:
    async with aiohttp.ClientSession() as session:
        made = Site(tmp_path, Clock(), session, f"{reader.url}/hook")
        await made.open()
        yield made
        await made.store.close()


async def test_each_change_arrives_once_in_order_and_signed(site: Site, reader: Reader) -> None:
    await site.happens()
    await site.post()
    await site.post()
    assert [one for one in reader.heard() if one in {OPENED, ACKED, NOTED, RESOLVED}] == [
        OPENED,
        ACKED,
        NOTED,
        RESOLVED,
    ]
    assert len(set(reader.ids())) == len(reader.calls) == site.counted("sent")
    assert all(signed_by(call, SECRET) for call in reader.calls)
    noted = next(call.body for call in reader.calls if call.body["type"] == "incident.noted")
    change, incident = noted["data"]["change"], noted["data"]["incident"]
    assert (change["actor"], change["actor_name"], change["data"]["text"]) == ("linh", "Linh Tran", "Restarted db-1")
    assert (incident["number"], incident["url"]) == (1, "https://oncall.example.com/incidents/1")


async def test_what_was_not_taken_is_posted_again_with_the_same_id(site: Site, reader: Reader) -> None:
    reader.status = 500
    await site.happens()
    await site.post()
    assert len(reader.calls) == 1
    site.clock.forward(minutes=10)
    await site.again()  # as a kill between two attempts
    assert site.late() == 600
    assert len(set(reader.ids())) == 1
    reader.status = 200
    await site.post()
    assert reader.ids()[2] == reader.ids()[0]
    assert reader.heard()[-1] == RESOLVED
    assert site.late() == 0


async def test_who_leads_after_another_goes_on_where_that_one_has_stopped(site: Site, reader: Reader) -> None:
    follower = site.a_hook()
    await follower.begin()  # at its start, long before it leads
    await site.happens()
    await site.post()
    before = len(reader.calls)
    site.term = 2
    while await follower.post_next():
        pass
    assert len(reader.calls) == before
    await site.act(Note("linh", Origin.API, "After the change", tell=False))
    while await follower.post_next():
        pass
    assert reader.heard()[before:] == [NOTED]
    assert len(set(reader.ids())) == len(reader.ids())


async def test_who_does_not_lead_any_more_posts_nothing_more_and_moves_nothing_back(site: Site, reader: Reader) -> None:
    await site.happens()
    stopped = site.hook

    def stops(_request: web.Request) -> None:  # as SIGSTOP in the middle of a round, while another takes over
        site.term = None

    reader.asked = stops
    while await stopped.post_next():
        pass
    assert len(reader.calls) == 1
    reader.asked = lambda _request: None
    follower, site.term = site.a_hook(), 2
    while await follower.post_next():
        pass
    posted = len(reader.calls)
    assert reader.heard()[-1] == RESOLVED
    site.term = None
    while await stopped.post_next():
        pass
    await stopped._keep_place()  # noqa: SLF001  # what a round that was stopped does last
    site.term = 3
    while await site.a_hook().post_next():
        pass
    assert len(reader.calls) == posted


@pytest.mark.parametrize("refused", [OPENED, PAGED, ACKED, NOTED, RESOLVED])
async def test_what_is_refused_holds_up_what_follows_and_nothing_is_left_out(
    site: Site, reader: Reader, refused: str
) -> None:
    await site.happens()
    reader.refuses = refused
    await site.post()
    assert reader.heard()[-1] == refused
    reader.refuses = ""
    await site.post()
    taken = [one for number, one in enumerate(reader.ids()) if one not in reader.ids()[:number]]
    assert len(reader.calls) == len(taken) + 1
    with beside(site.folder) as db:
        known = {kind.value for kind in CHANGES}
        lines = [seq for seq, kind in db.execute("SELECT seq, kind FROM timeline ORDER BY seq") if kind in known]
    assert [int(one.rpartition("_")[2]) for one in taken] == lines


async def test_a_restart_goes_on_where_it_was(site: Site, reader: Reader) -> None:
    await site.happens()
    await site.post()
    before = reader.ids()
    await site.store.update(received(an_alert("2")), the_policy(), site.clock.now)
    await site.again()
    assert not set(reader.ids()[len(before) :]) & set(before)
    assert len(reader.calls) > len(before)


async def test_a_kill_before_the_place_is_stored_repeats_the_same_ids(site: Site, reader: Reader) -> None:
    await site.happens()
    with refusing(site.folder, "UPDATE ON hook", "killed"), pytest.raises(StoreError):
        await site.post()
    first = reader.ids()
    await site.again()
    assert len(first) > 3
    assert reader.ids() == [*first, *first]


async def test_a_hook_that_is_new_hears_nothing_of_the_past(tmp_path: Path, site: Site, reader: Reader) -> None:
    await site.happens()
    await site.post()
    count = len(reader.calls)
    assert await site.store.hooks.place("another") > 0
    assert await site.store.hooks.lines(await site.store.hooks.place("another"), CHANGES, 10) == (
        [],
        await site.store.hooks.place("another"),
    )
    assert len(reader.calls) == count


async def test_a_hook_that_fails_once_after_a_downtime_loses_nothing(site: Site, reader: Reader) -> None:
    await site.happens()
    site.clock.forward(hours=40)  # we did not run, and the network comes up after us
    reader.status = 500
    await site.post()
    reader.status = 200
    await site.post()
    assert site.counted("skipped") == 0
    assert reader.heard()[-1] == RESOLVED


async def test_a_dead_hook_leaves_out_what_is_too_old_and_counts_it(site: Site, reader: Reader) -> None:
    reader.status = 500
    await site.happens()
    for _ in range(20):  # at the intervals that it keeps, this is more than an hour
        await site.post()
    assert site.counted("skipped") == 0
    site.clock.forward(hours=2)
    await site.act(Note("linh", Origin.API, "fresh", tell=False))
    await site.post()
    assert site.counted("skipped") >= 4
    reader.status, count = 200, len(reader.calls)
    await site.post()
    assert [call.body["data"]["change"]["data"]["text"] for call in reader.calls[count:]] == ["fresh"]


async def test_only_what_is_wanted_is_posted(tmp_path: Path, reader: Reader) -> None:
    async with aiohttp.ClientSession() as session:
        site = Site(tmp_path, Clock(), session, f"{reader.url}/hook")
        await site.open(frozenset({EntryKind.RESOLVED_BY_HAND}))
        await site.happens()
        await site.post()
        assert reader.heard() == [RESOLVED]
        await site.store.close()


async def test_the_number_of_a_line_is_never_given_twice(site: Site) -> None:
    """The cursor of a hook would pass over a change that gets the number of one that was deleted."""
    await site.happens()
    await site.store.update(received(an_alert("2")), the_policy(), site.clock.now)
    first = (await site.store.incidents(None, 10))[-1]
    note = Note("linh", Origin.API, "the last line of all", tell=False)
    await site.store.apply(first.id, deciding(note, site.clock.now), site.clock.now)
    assert await site.store.resolved_before(site.clock.now + timedelta(days=99), 10) == []
