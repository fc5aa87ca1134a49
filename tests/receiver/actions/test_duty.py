"""Covers, "I'm awake" and maintenance on the real store: the next page goes by them, and after a restart as well."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from receiver.actions.answer import Actions, ActionSource, Request
from receiver.actions.duty import AWAKE_FOR, MOST_WINDOWS, Duty, WindowRefused
from receiver.incident.acts import KEEP_WITHIN
from receiver.incident.delivery import Handling
from receiver.incident.event import Acknowledge, AlertsReceived, Raise, TimeDue, Unacknowledge
from receiver.incident.machine import transition
from receiver.incident.model import AlertGroup, Incident, Kind, Origin, PauseKind, Priority, Reason, State
from receiver.oncall.cover import Cover, CoverState, Refused
from receiver.policy.routing import Routing
from receiver.store.duty import MadeWindow
from receiver.store.sql.store import SQLStore
from tests.receiver.example_site import (
    MINUTE,
    P1,
    P2,
    START,
    Clock,
    a_store,
    an_alert,
    labelled,
    the_current,
    the_routing,
)
from tests.receiver.stores import the_store

HOUR = 60 * MINUTE
COVER = Cover("", "linh", "", START, START + 8 * HOUR)


class Site:
    """A store, its policy, and what people set."""

    def __init__(self, store: SQLStore, clock: Clock, routing: Routing | None = None) -> None:
        self.store, self.clock, self.current = store, clock, the_current(routing)
        self.actions = Actions(store, self.current, clock, CollectorRegistry())
        self.duty = Duty(store, store.duty, self.current, clock)

    async def fire(self, key: str, severity: str = "warning", **labels: str) -> Incident:
        group = AlertGroup(key, (labelled(an_alert(key, starts_at=self.clock.now, severity=severity), **labels),))
        incident = await self.store.update(AlertsReceived(group), self.current.routing, self.clock.now)
        assert incident is not None
        return await self.incident(incident.id)

    async def incident(self, number: int) -> Incident:
        stored = await self.store.incident(number)
        assert stored is not None
        return stored[0]

    async def pages(self) -> list[str]:
        """Whom pages that are due now are for, by mail."""
        claims = await self.store.claim("email", self.clock.now, 60, 99)
        return [claim.notification.target.person for claim in claims if claim.notification.kind == "page"]

    async def wait(self, length: timedelta) -> None:
        self.clock.now += length
        decide = partial(transition, event=TimeDue(), policy=self.current.routing, now=self.clock.now)
        while numbers := await self.store.due(self.clock.now):
            for number in numbers:
                await self.store.apply(number, decide, self.clock.now)

    async def acts(self) -> list[str]:
        return [line.act for line in reversed(await self.store.access.audit(None, 100))]


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    clock = Clock()
    store = await a_store(tmp_path, clock)
    yield Site(store, clock)
    await store.close()


# Covers


async def test_the_next_page_goes_to_who_has_accepted(site: Site) -> None:
    (asked,) = await made(site, COVER)
    await site.fire("before")
    assert await site.pages() == ["linh"]
    await site.duty.accept(asked.id, "Marek")
    await site.fire("after")
    assert await site.pages() == ["marek"]
    site.clock.forward(hours=9)
    await site.fire("over")
    assert (await site.pages())[-1] == "linh"
    assert await site.acts() == ["cover.make", "cover.accept"]


async def made(site: Site, *covers: Cover, actor: str = "linh") -> tuple[Cover, ...]:
    changed = await site.duty.make(covers, actor)
    assert not isinstance(changed, Refused)
    return changed


async def test_two_who_accept_at_once_and_the_first_has_it(site: Site) -> None:
    (asked,) = await made(site, COVER)
    results = await asyncio.gather(*(site.duty.accept(asked.id, who) for who in ("marek", "aisha")))
    assert isinstance(results[0], tuple)
    assert results[1] is Refused.TOO_LATE
    assert [one.person for one in await site.duty.covers()] == ["marek"]


async def test_a_cover_outlives_a_restart_and_reaches_another_process(site: Site) -> None:
    await made(site, replace(COVER, person="marek"), actor="marek")
    other = Site(site.store, site.clock)
    await other.duty.refresh()
    await other.fire("a")
    assert await other.pages() == ["marek"]


async def test_a_cover_outlives_a_reload_of_the_file(site: Site) -> None:
    await made(site, replace(COVER, person="marek"), actor="marek")
    site.current.exchange(the_routing())
    await site.fire("a")
    assert await site.pages() == ["marek"]


async def test_who_has_left_stands_in_for_nobody(site: Site) -> None:
    await made(site, replace(COVER, person="marek"), actor="marek")
    people = {key: person for key, person in the_routing().people.items() if key != "marek"}
    site.current.exchange(replace(the_routing(), people=people))
    await site.fire("a")
    assert await site.pages() == ["linh"]


async def test_a_swap_is_written_whole_and_cancelled_whole(site: Site) -> None:
    later = {"start": START + 24 * HOUR, "end": START + 32 * HOUR}
    pair = await made(site, replace(COVER, person="marek"), replace(COVER, out="marek", person="linh", **later))
    assert [one.pair for one in pair] == [pair[1].id, pair[0].id]
    await site.duty.accept(pair[0].id, "marek")
    assert {one.state for one in await site.duty.covers()} == {CoverState.ACTIVE}
    await site.duty.cancel(pair[1].id, "marek")
    assert {one.state for one in await site.duty.covers()} == {CoverState.CANCELLED}


async def test_a_form_sent_twice_makes_one_cover(site: Site) -> None:
    one = await site.duty.make([COVER], "linh", Request(form="f"))
    assert await site.duty.make([COVER], "linh", Request(form="f")) == one
    assert len(await site.duty.covers()) == 1


# I'm awake


async def test_new_incidents_are_taken_quietly_by_who_is_awake(site: Site) -> None:
    until = await site.duty.set_awake("Linh")
    assert until == START + AWAKE_FOR
    incident = await site.fire("a")
    assert (incident.state, incident.acknowledged_by, incident.taken_awake) == (State.ACKNOWLEDGED, "linh", True)
    assert await site.pages() == []
    assert incident.clocks.acknowledged_until == until + KEEP_WITHIN


async def test_a_p1_pages_all_the_same(site: Site) -> None:
    await site.duty.set_awake("linh")
    assert (await site.fire("a", "critical")).state is State.TRIGGERED
    assert await site.pages() == ["linh"]


@pytest.mark.parametrize(("team", "priority", "quiet"), [("backend", P1, True), ("backend", P2, False)])
async def test_a_team_may_say_otherwise(tmp_path: Path, team: str, priority: Priority, quiet: bool) -> None:
    clock = Clock()
    store = await a_store(tmp_path, clock)
    site = Site(store, clock, replace(the_routing(), quiet={team: {priority: quiet}}))
    await site.duty.set_awake("linh")
    incident = await site.fire("a", "critical" if priority is P1 else "warning")
    assert (incident.state is State.ACKNOWLEDGED) is quiet
    await store.close()


async def test_what_a_person_pages_by_hand_is_not_quiet(site: Site) -> None:
    await site.duty.set_awake("linh")
    await site.actions.raise_by_hand(ActionSource.API, Raise("marek", Origin.API, "call me", priority=P2))
    assert await site.pages() == ["linh"]


async def test_who_is_awake_no_more_is_paged(site: Site) -> None:
    await site.duty.set_awake("linh")
    site.clock.now += AWAKE_FOR
    assert (await site.fire("a")).state is State.TRIGGERED


async def test_all_that_was_taken_ends_together_and_pages_unless_it_is_kept(site: Site) -> None:
    await site.duty.set_awake("linh")
    first = await site.fire("a")
    await site.wait(10 * MINUTE)
    second, third = await site.fire("b"), await site.fire("c")
    taken = await site.duty.taken_awake("linh")
    assert [one.id for one in taken] == [first.id, second.id, third.id]
    assert len({one.wake_at for one in taken}) == 1
    await site.actions.act(ActionSource.API, second.id, Acknowledge("linh", Origin.API))
    await site.actions.act(ActionSource.API, third.id, Unacknowledge("linh", Origin.API))
    await site.wait(AWAKE_FOR + KEEP_WITHIN)
    states = [(await site.incident(one.id)).state for one in taken]
    assert states == [State.TRIGGERED, State.ACKNOWLEDGED, State.TRIGGERED]
    assert await site.duty.taken_awake("linh") == []


async def test_at_the_end_they_are_asked_in_one_message_whether_they_keep_it(tmp_path: Path) -> None:
    clock = Clock()
    store = the_store(
        tmp_path,
        clock,
        lambda: None,
        handling=lambda _channel: Handling(timedelta(seconds=10), at_once=0),
    )
    await store.open(clock.now)
    site = Site(store, clock)
    until = await site.duty.set_awake("linh")
    assert until is not None
    for key in ("a", "b", "c"):
        await site.fire(key)
    await site.wait(until - clock.now)
    asked = await store.claim("email", clock.now + timedelta(seconds=20), 60, 99)
    assert {(one.notification.kind, one.notification.reason) for one in asked} == {(Kind.REMINDER, Reason.EXPIRING)}
    assert len(asked) == 3
    await store.close()


async def test_who_stays_awake_keeps_what_they_have_taken_for_as_long(site: Site) -> None:
    await site.duty.set_awake("linh")
    number = (await site.fire("a")).id
    site.clock.forward(minutes=20)
    until = await site.duty.set_awake("linh")
    assert until is not None
    assert (await site.incident(number)).clocks.acknowledged_until == until + KEEP_WITHIN
    site.clock.forward(minutes=1)
    await site.duty.set_awake("linh", awake=False)
    assert (await site.incident(number)).clocks.acknowledged_until == site.clock.now + KEEP_WITHIN
    assert await site.duty.awake() == {}


async def test_only_somebody_configured_can_be_awake(site: Site) -> None:
    assert await site.duty.set_awake("a stranger") is None


# Maintenance


async def test_a_window_pauses_what_stands_in_it_until_it_is_ended(site: Site) -> None:
    number = (await site.fire("a", instance="db-1")).id
    other = (await site.fire("b", instance="db-2")).id
    window = MadeWindow(('instance="db-1"',), START, START + HOUR, "", "new disks", number)
    kept = await site.duty.add_window(window, "Linh")
    assert isinstance(kept, MadeWindow)
    assert kept.by == "linh"
    paused = (await site.incident(number)).paused
    assert paused is not None
    assert (paused.kind, paused.name, paused.until) == (PauseKind.MAINTENANCE, "new disks", START + HOUR)
    assert (await site.incident(other)).paused is None
    assert (await site.fire("c", instance="db-1")).delivery.rounds == 0
    assert await site.duty.end_window(kept.id, "linh")
    assert (await site.incident(number)).paused is None
    assert not await site.duty.end_window(kept.id, "linh")
    assert await site.acts() == ["window.make", "window.end"]


async def test_what_was_opened_or_paused_before_it_was_known_that_another_receiver_has_changed_a_window(
    site: Site,
) -> None:
    other = Site(site.store, site.clock)
    await other.duty.follow()
    window = MadeWindow(('instance="db-1"',), START, START + HOUR, "", "new disks")
    kept = await site.duty.add_window(window, "linh")
    assert isinstance(kept, MadeWindow)

    async def is_paused(number: int) -> bool:
        return (await site.incident(number)).paused is not None

    before = (await other.fire("a", instance="db-1")).id  # a webhook that comes to the other at the same time
    assert not await is_paused(before)
    await other.duty.follow()
    assert await is_paused(before)
    other.current.set_duty((), {}, ())  # by which another one was being decided then, which is committed after it
    after = (await other.fire("b", instance="db-1")).id
    assert not await is_paused(after)
    site.clock.forward(seconds=10)
    await other.duty.follow()
    assert await is_paused(after)
    assert await site.duty.end_window(kept.id, "linh")
    late = (await other.fire("c", instance="db-1")).id
    assert await is_paused(late)
    await other.duty.follow()
    assert not await is_paused(late)


@pytest.mark.parametrize(
    ("matchers", "length", "why"),
    [
        ((), HOUR, WindowRefused.MATCHERS),
        (('instance=~".*"',), HOUR, WindowRefused.MATCHERS),
        (("instance",), HOUR, WindowRefused.MATCHERS),
        (('a="b"',) * 21, HOUR, WindowRefused.MATCHERS),
        ((f'a="{"x" * 500}"',), HOUR, WindowRefused.MATCHERS),
        (('a="b"',), 8 * 24 * HOUR, WindowRefused.TIMES),
        (('a="b"',), -HOUR, WindowRefused.TIMES),
    ],
)
async def test_what_is_no_window(site: Site, matchers: tuple[str, ...], length: timedelta, why: WindowRefused) -> None:
    assert await site.duty.add_window(MadeWindow(matchers, START, START + length, ""), "linh") is why


async def test_windows_are_bounded(site: Site) -> None:
    window = MadeWindow(('a="b"',), START, START + HOUR, "")
    for _ in range(MOST_WINDOWS):
        assert isinstance(await site.duty.add_window(window, "linh"), MadeWindow)
    assert await site.duty.add_window(window, "linh") is WindowRefused.TOO_MANY
