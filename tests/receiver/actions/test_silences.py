"""Silences in the real Alertmanager: made once, extended, given other matchers, ended, and followed to their end."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from receiver.actions import silences
from receiver.actions.silences import NewSilence, Preview, SilenceRefused
from receiver.clients.alertmanager import AlertmanagerApi, Seen, View, Wanted
from receiver.clients.http_api import ApiError, Failure
from receiver.incident.event import Acknowledge, AlertsReceived
from receiver.incident.model import AlertGroup, EntryKind, Origin, PauseKind
from receiver.metrics import Metrics
from receiver.store.silences import MadeSilence
from receiver.workers.reconciler import Reconciler
from tests.fakes.alertmanager import Alertmanager
from tests.receiver.example_site import beside, the_policy
from tests.receiver.silence_site import API, HOUR, Site, a_site

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alertmanager]:
    running = Alertmanager(tmp_path_factory.mktemp("alertmanager"))
    yield running
    running.stop()


@pytest.fixture
async def site(tmp_path: Path, alertmanager: Alertmanager) -> AsyncIterator[Site]:
    async with a_site(tmp_path, alertmanager) as opened:
        yield opened


async def test_a_silence_is_made_extended_and_ended(site: Site) -> None:
    number = await site.fire("a", "b")
    made = await site.make(number)
    (there,) = (await site.there()).values()
    assert (there.id, there.created_by, there.ends_at) == (made.id, "Linh", site.clock.now + HOUR)
    assert there.comment.startswith("we are working on it (incident #1, https://oncall.example.com/incidents/1)")
    assert all(one.is_mute for one in await site.api.matching(site.matchers))
    incident, _ = await site.stored(number)
    assert incident.paused is not None  # at once, without waiting for the next look at the API
    assert (incident.paused.kind, incident.paused.author, incident.paused.until) == (
        PauseKind.SILENCE,
        "linh",
        made.ends_at,
    )

    until = site.clock.now + 3 * HOUR
    changed = await site.silences.change(API, number, made.id, until, "marek")
    assert isinstance(changed, MadeSilence)
    (there,) = (await site.there()).values()
    assert (changed.id, there.ends_at, there.created_by) == (made.id, until, "Linh")

    assert isinstance(await site.silences.end(API, number, made.id, "marek"), MadeSilence)
    assert await site.there() == {}
    assert await site.silences.end(API, number, made.id, "marek") is SilenceRefused.OVER
    assert await site.silences.change(API, number, made.id, until, "marek") is SilenceRefused.OVER
    kinds = [entry.kind for entry in (await site.stored(number))[1]]
    for kind in (EntryKind.SILENCED, EntryKind.SILENCE_EXTENDED, EntryKind.SILENCE_ENDED):
        assert kinds.count(kind) == 1
    acts = [(act.actor, act.act) for act in await site.store.access.audit(None, 100)]
    assert {("linh", "silence.make"), ("marek", "silence.change"), ("marek", "silence.end")} <= set(acts)
    await site.watch.run_once()
    assert await site.lines(number, EntryKind.SILENCE_OVER) == []  # who ended it knows


async def test_the_clocks_go_on_at_once_when_a_silence_is_ended(site: Site) -> None:
    number = await site.fire("a", "b")
    made = await site.make(number)
    await site.silences.end(API, number, made.id, "marek")
    assert (await site.stored(number))[0].paused is None
    kinds = [entry.kind for entry in (await site.stored(number))[1]]
    assert kinds[-2:] == [EntryKind.SILENCE_ENDED, EntryKind.RESUMED]


async def test_the_clocks_go_on_only_if_no_other_silence_covers_what_fires(site: Site) -> None:
    number = await site.fire("a", "b")
    await site.make(number, form="f")
    other = await site.make(number, form="g", who="marek")
    part = await site.make(number, *site.matchers, 'host="a"', form="h")
    for one in (part, other):
        await site.silences.end(API, number, one.id, "linh")
        assert (await site.stored(number))[0].paused is not None
    (last,) = await site.there()
    await site.silences.end(API, number, last, "linh")
    assert (await site.stored(number))[0].paused is None


async def test_the_clocks_go_on_at_once_when_a_silence_no_longer_covers_what_fires(site: Site) -> None:
    number = await site.fire("a", "b")
    made = await site.make(number)
    until = site.clock.now + 2 * HOUR
    await site.silences.change(API, number, made.id, until, "linh")
    assert (await site.stored(number))[0].paused is not None
    await site.silences.change(API, number, made.id, until, "linh", matchers=(*site.matchers, 'host="a"'))
    assert (await site.stored(number))[0].paused is None


async def test_an_end_that_alertmanager_does_not_explain_is_an_end(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    number = await site.fire("a")
    made = await site.make(number)

    async def away(_matchers: object) -> list[Seen]:
        raise ApiError(Failure.TIMED_OUT, "late")

    monkeypatch.setattr(site.api, "matching", away)
    assert isinstance(await site.silences.end(API, number, made.id, "linh"), MadeSilence)
    assert (await site.stored(number))[0].paused is not None  # the reconciler looks
    assert len(await site.lines(number, EntryKind.SILENCE_ENDED)) == 1


async def test_other_matchers_make_another_silence_and_it_is_followed(site: Site) -> None:
    number = await site.fire("a", "b")
    made = await site.make(number, *site.matchers, 'host="a"')
    assert (await site.stored(number))[0].paused is None  # b fires on
    until = site.clock.now + 2 * HOUR
    changed = await site.silences.change(API, number, made.id, until, "linh", matchers=site.matchers)
    assert isinstance(changed, MadeSilence)
    assert changed.id != made.id
    assert list(await site.there()) == [changed.id]
    rows = {one.id: one for one in await site.silences.of_incident(number)}
    assert rows[made.id].replaced_by == changed.id
    ended = await site.silences.end(API, number, made.id, "linh")  # by the name that an open page still has
    assert isinstance(ended, MadeSilence)
    assert ended.id == changed.id
    assert await site.there() == {}


async def test_a_form_that_is_sent_twice_makes_one_silence(site: Site) -> None:
    number = await site.fire("a")
    first, second = await site.make(number, form="f"), await site.make(number, form="f")
    assert first == second
    assert len(await site.there()) == 1
    assert len(await site.lines(number, EntryKind.SILENCED)) == 1
    await site.make(number, form="g")
    assert len(await site.there()) == 2


async def test_a_lost_answer_makes_no_second_silence(site: Site) -> None:
    number = await site.fire("a")
    site.way.lose = True
    made = await site.make(number, form="f")
    assert list(await site.there()) == [made.id]
    site.way.lose, until = True, site.clock.now + 5 * HOUR
    changed = await site.silences.change(API, number, made.id, until, "linh", matchers=(*site.matchers, 'host="a"'))
    assert isinstance(changed, MadeSilence)
    assert list(await site.there()) == [changed.id]


async def test_what_was_posted_by_a_receiver_that_then_stopped_is_found_again(site: Site) -> None:
    number = await site.fire("a")
    made = await site.make(number, form="f")
    await site.store.silences.keep(msgspec.structs.replace(made, key="lost"), None)
    again = await site.make(number, form="f")
    assert (again.id, again.key) == (made.id, made.key)
    assert site.way.posts == 1


async def test_two_people_silence_the_same_and_each_ends_their_own(site: Site) -> None:
    number = await site.fire("a")
    one, other = await site.make(number, form="f"), await site.make(number, form="f", who="marek")
    assert set(await site.there()) == {one.id, other.id}
    await site.silences.end(API, number, one.id, "linh")
    assert set(await site.there()) == {other.id}
    assert [row.made_by for row in await site.silences.of_incident(number) if row.over_at is None] == ["marek"]


async def test_a_preview_counts_what_would_be_muted(site: Site) -> None:
    number = await site.fire("a", "b")
    await site.fire("elsewhere")
    found = await site.silences.preview(number, [*site.matchers, 'host=~"a|elsewhere"'])
    assert isinstance(found, Preview)
    assert (found.here, found.firing, found.elsewhere) == (1, 2, 1)
    assert [labels["host"] for labels in found.others] == ["elsewhere"]
    nothing = await site.silences.preview(number, [*site.matchers, 'host="c"'])
    assert isinstance(nothing, Preview)
    assert (nothing.here, nothing.elsewhere) == (0, 0)


@pytest.mark.parametrize("matchers", [(), ("nonsense",), ('x=~".*"',), ('x=""',), ('x="' + "y" * 600 + '"',)])
async def test_matchers_that_mean_nothing_or_everything_are_refused(site: Site, matchers: tuple[str, ...]) -> None:
    number = await site.fire("a")
    assert await site.silences.preview(number, matchers) is SilenceRefused.MATCHERS
    wanted = NewSilence(matchers, site.clock.now + HOUR)
    assert await site.silences.make(API, number, wanted, "linh") is SilenceRefused.MATCHERS
    assert site.way.posts == 0


async def test_times_and_numbers_are_bounded(site: Site) -> None:
    number = await site.fire("a")
    for until in (site.clock.now, site.clock.now + timedelta(days=31)):
        wanted = NewSilence(site.matchers, until)
        assert await site.silences.make(API, number, wanted, "linh") is SilenceRefused.TIMES
    wanted = NewSilence(site.matchers, site.clock.now + HOUR)
    assert await site.silences.make(API, 99, wanted, "linh") is SilenceRefused.NO_INCIDENT
    assert await site.silences.end(API, number, "unknown", "linh") is SilenceRefused.UNKNOWN


async def test_an_end_while_the_alert_fires_is_in_the_timeline_once(site: Site) -> None:
    number = await site.fire("a")
    made = await site.make(number)
    await site.actions.act(API, number, Acknowledge("marek", Origin.API))
    await site.watch.run_once()
    assert await site.lines(number, EntryKind.SILENCE_OVER) == []
    await site.api.expire(made.id)  # as its end would: Alertmanager's clock is not ours to set
    await site.watch.run_once()
    await site.watch.run_once()
    (line,) = await site.lines(number, EntryKind.SILENCE_OVER)
    assert (line.data.silence, line.data.person, line.data.count) == (made.id, "linh", 1)
    assert [row.over_at for row in await site.silences.of_incident(number)] == [site.clock.now]


async def test_one_of_an_incident_that_cannot_be_read_keeps_no_other_from_its_end(site: Site) -> None:
    damaged, number = await site.fire("a"), await site.fire("b")
    for one, host in ((damaged, "a"), (number, "b")):
        await site.api.expire((await site.make(one, f'host="{host}"', *site.matchers)).id)
    with beside(site.folder) as db:
        db.execute("UPDATE incident SET doc = ? WHERE id = ?", (b"{", damaged))
    await site.watch.run_once()
    assert len(await site.lines(number, EntryKind.SILENCE_OVER)) == 1
    assert [one.incident for one in await site.store.silences.running()] == [damaged]


async def test_an_end_after_the_alert_is_no_news(site: Site) -> None:
    number = await site.fire("a")
    made = await site.make(number)
    over = [msgspec.structs.replace(a, firing=False) for a in (await site.stored(number))[0].firing]
    event = AlertsReceived(AlertGroup((await site.stored(number))[0].key, tuple(over), receiver="receiver"))
    await site.store.update(event, the_policy(), site.clock.now)
    await site.api.expire(made.id)
    await site.watch.run_once()
    assert await site.lines(number, EntryKind.SILENCE_OVER) == []
    assert await site.store.silences.running() == ()


async def test_what_somebody_changes_in_alertmanager_is_followed(site: Site) -> None:
    number = await site.fire("a")
    made = await site.make(number)
    (there,) = (await site.there()).values()
    wanted = Wanted(there.matchers, there.starts_at, site.clock.now + 7 * HOUR, "Peter", there.comment, there.id)
    assert await site.api.post(wanted) == made.id
    await site.watch.run_once()
    (row,) = await site.silences.of_incident(number)
    assert row.ends_at == site.clock.now + 7 * HOUR
    (line,) = await site.lines(number, EntryKind.SILENCE_EXTENDED)
    assert (line.actor, line.data.origin) == ("Peter", Origin.ALERTMANAGER)


async def test_an_alertmanager_that_does_not_answer_changes_nothing(site: Site) -> None:
    number = await site.fire("a")
    made = await site.make(number)
    site.way.hang = True
    with pytest.raises(ApiError) as raised:
        await site.make(number, form="f")
    assert raised.value.failure is Failure.TIMED_OUT
    with pytest.raises(ApiError):
        await site.silences.end(API, number, made.id, "linh")
    await site.watch.run_once()
    site.way.hang = False
    assert [row.id for row in await site.store.silences.running()] == [made.id]
    assert len(await site.lines(number, EntryKind.SILENCED)) == 1


async def test_who_presses_behind_many_does_not_wait_for_all_of_them(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = await site.fire("a")
    site.way.hang = True
    with monkeypatch.context() as impatient:
        impatient.setattr(silences, "_PATIENCE", 2.0)
        async with asyncio.timeout(20):  # one behind the other they would take 24 seconds
            tried = await asyncio.gather(*(site.make(number, form=str(n)) for n in range(12)), return_exceptions=True)
    assert {one.failure for one in tried if isinstance(one, ApiError)} == {Failure.TIMED_OUT}
    assert all(isinstance(one, ApiError) for one in tried)
    site.way.hang = False
    await site.make(number, form="0")
    assert len(await site.lines(number, EntryKind.SILENCED)) == 1


async def test_strange_labels_reach_alertmanager_as_they_are(site: Site) -> None:
    number = await site.fire("a")
    strange: list[Any] = ['<script>alert("1")</script>', "back\\slash", 'quote"', "ünïcode\nline"]
    for value in strange:
        text = msgspec.json.encode(value).decode()
        made = await site.make(number, *site.matchers, f'"my label"={text}')
        assert (await site.there())[made.id].matchers[1].value == value
        assert isinstance(await site.silences.preview(number, made.matchers), Preview)


class Meanwhile(AlertmanagerApi):
    """Something happens after the API was read, and before the reconciler compares."""

    happens: Callable[[], Awaitable[object]]

    async def view(self) -> View:
        seen = await super().view()
        await self.happens()
        return seen


async def test_a_silence_that_is_made_while_the_reconciler_asks_stays_a_pause(site: Site) -> None:
    number = await site.fire("a")
    api = Meanwhile(site.way.url, site.session)

    async def silenced() -> None:
        site.clock.forward(seconds=1)
        await site.make(number)

    api.happens = silenced
    reconciler = Reconciler(
        site.store, site.current, api, site.clock, site.clock.elapsed, Metrics(["email"]), receivers=("receiver",)
    )
    await reconciler.run_once()
    assert await site.lines(number, EntryKind.RESUMED) == []
    api.happens = partial(asyncio.sleep, 0)
    site.clock.forward(minutes=1)
    await reconciler.run_once()
    assert (await site.stored(number))[0].paused is not None
    await site.api.expire((await site.silences.of_incident(number))[0].id)
    await reconciler.run_once()
    assert (await site.stored(number))[0].paused is None


@pytest.mark.parametrize("read", [False, True])
async def test_a_silence_that_is_ended_while_the_reconciler_compares_does_not_pause_again(
    site: Site,
    read: bool,  # whether the incident has been read by then
) -> None:
    number = await site.fire("a")
    made = await site.make(number)
    api = Meanwhile(site.way.url, site.session)

    async def ended(_absent: object = ()) -> bool:
        site.clock.forward(seconds=1)
        await site.silences.end(API, number, made.id, "linh")
        return True

    async def nothing(_absent: object = ()) -> bool:
        return True

    api.happens = nothing if read else ended
    reconciler = Reconciler(
        site.store,
        site.current,
        api,
        site.clock,
        site.clock.elapsed,
        Metrics(["email"]),
        receivers=("receiver",),
        believes=ended if read else nothing,
    )
    await reconciler.run_once()
    assert (await site.stored(number))[0].paused is None
    assert len(await site.lines(number, EntryKind.PAUSED)) == 1
