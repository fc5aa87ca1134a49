"""The one funnel on the real store: an act is one transaction with its audit line, and one that is repeated is one."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
from prometheus_client import CollectorRegistry

from receiver.actions.answer import ActionResult, Actions, ActionSource, Request
from receiver.actions.duty import Duty
from receiver.incident.event import (
    Acknowledge,
    AlertsReceived,
    Attach,
    EscalateNow,
    HandOver,
    Note,
    Raise,
    Resolve,
    Snooze,
    TakeOver,
    Unacknowledge,
    UndoResolve,
)
from receiver.incident.model import AlertGroup, Decision, EntryKind, Origin, Priority, Reason, State
from receiver.store.audit import Act
from receiver.store.duty import MadeWindow
from receiver.store.sql.store import SQLStore
from tests.receiver.example_site import MINUTE, Clock, a_store, an_alert, beside, refusing, the_current, the_policy

API, CONSOLE = ActionSource.API, Origin.CONSOLE
FROM_PHONE = Request(via="session", ip="192.0.2.7")


class Site:
    """A store with two incidents of the team backend, and what acts on them."""

    def __init__(self, store: SQLStore, clock: Clock, folder: Path) -> None:
        self.store, self.clock, self.folder = store, clock, folder
        self.actions = Actions(store, the_current(), clock, CollectorRegistry())

    async def fire(self, key: str, severity: str = "warning") -> int:
        group = AlertGroup(key, (an_alert(key, severity=severity),))
        incident = await self.store.update(AlertsReceived(group), the_policy(), self.clock.now)
        assert incident is not None
        self.clock.forward(seconds=1)
        return incident.id

    async def state(self, number: int) -> State:
        stored = await self.store.incident(number)
        assert stored is not None
        return stored[0].state

    async def kinds(self, number: int) -> list[EntryKind]:
        stored = await self.store.incident(number)
        assert stored is not None
        return [entry.kind for entry in stored[1]]

    async def log(self) -> list[Act]:
        return list(await self.store.access.audit(None, 100))


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    clock = Clock()
    store = await a_store(tmp_path, clock)
    yield Site(store, clock, tmp_path)
    await store.close()


async def test_an_act_names_people_by_their_keys_and_is_in_the_audit_log(site: Site) -> None:
    number = await site.fire("a")
    until = site.clock.now + 60 * MINUTE
    result, incident = await site.actions.act(API, number, Snooze("Linh", CONSOLE, until), FROM_PHONE)
    assert result is ActionResult.TAKEN
    assert incident is not None
    assert (incident.acknowledged_by, incident.snoozed_until) == ("linh", until)
    (line,) = await site.log()
    assert (line.actor, line.via, line.ip) == ("linh", "session", "192.0.2.7")
    assert (line.act, line.object) == ("incident.snooze", f"incident/{number}")
    assert json.loads(line.before)["state"] == "triggered"
    assert json.loads(line.after)["acknowledged_by"] == "linh"


async def test_what_changes_nothing_is_not_in_the_audit_log(site: Site) -> None:
    number = await site.fire("a")
    assert (await site.actions.act(API, number, Unacknowledge("linh", CONSOLE)))[0] is ActionResult.ALREADY
    assert (await site.actions.act(API, number, HandOver("linh", CONSOLE, person="x")))[0] is ActionResult.NOBODY
    assert (await site.actions.act(API, 99, TakeOver("linh", CONSOLE)))[0] is ActionResult.UNKNOWN
    assert await site.log() == []


async def test_an_act_and_its_audit_line_are_one_transaction(site: Site) -> None:
    number = await site.fire("a")
    with refusing(site.folder, "INSERT ON audit", "broken"):
        assert await site.actions.act(API, number, TakeOver("linh", CONSOLE)) == (ActionResult.STUCK, None)
    assert await site.state(number) is State.TRIGGERED


async def test_the_audit_log_cannot_be_changed(site: Site) -> None:
    await site.actions.act(API, await site.fire("a"), TakeOver("linh", CONSOLE))
    for statement in ("DELETE FROM audit", "UPDATE audit SET actor = 'nobody'"):
        with pytest.raises((sqlite3.DatabaseError, psycopg.Error)), beside(site.folder) as db:
            db.execute(statement)


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_form_that_is_sent_twice_writes_one_note(site: Site, restarted: bool, tmp_path: Path) -> None:
    number, form = await site.fire("a"), Request(form="8e7c")
    await site.actions.act(API, number, Note("linh", CONSOLE, "look"), form)
    if restarted:  # killed between the commit and the answer
        await site.store.close()
        store = site.store = await a_store(tmp_path, site.clock)
        site.actions = Actions(store, the_current(), site.clock, CollectorRegistry())
    result, _ = await site.actions.act(API, number, Note("linh", CONSOLE, "look"), form)
    assert result is ActionResult.ALREADY
    assert (await site.kinds(number)).count(EntryKind.NOTED) == 1
    await site.actions.act(API, number, Note("marek", CONSOLE, "look"), form)  # another's form of the same key
    assert (await site.kinds(number)).count(EntryKind.NOTED) == 2
    if restarted:
        await site.store.close()


async def test_a_form_is_forgotten_after_two_days(site: Site) -> None:
    number, form = await site.fire("a"), Request(form="8e7c")
    await site.actions.act(API, number, Note("linh", CONSOLE, "look"), form)
    site.clock.forward(days=2, seconds=1)
    await site.actions.act(API, number, Note("linh", CONSOLE, "look"), Request(form="other"))
    await site.actions.act(API, number, Note("linh", CONSOLE, "look"), form)
    assert (await site.kinds(number)).count(EntryKind.NOTED) == 3


async def test_an_incident_is_raised_once_however_often_the_form_is_sent(site: Site) -> None:
    event = Raise("Aisha", CONSOLE, "the shop is down", team="backend", priority=Priority.P2)
    first = await site.actions.raise_by_hand(API, event, Request(form="1"))
    again = await site.actions.raise_by_hand(API, event, Request(form="1"))
    assert (first[0], again[0]) == (ActionResult.TAKEN, ActionResult.ALREADY)
    assert first[1] is not None
    assert again[1] is not None
    assert first[1].id == again[1].id
    assert (first[1].key, first[1].raised_by) == (f"manual:{first[1].id}", "aisha")
    other = await site.actions.raise_by_hand(API, event)
    assert other[1] is not None
    assert other[1].id != first[1].id


async def test_what_nobody_can_be_paged_for_is_not_raised(site: Site) -> None:
    result, incident = await site.actions.raise_by_hand(API, Raise("linh", CONSOLE, "x", team="nobody"))
    assert (result, incident) == (ActionResult.NOBODY, None)
    assert await site.store.incidents(None, 5) == []


async def test_two_who_attach_each_other_at_once_attach_one(site: Site) -> None:
    one, other = await site.fire("a"), await site.fire("b")
    results = await asyncio.gather(
        site.actions.act(API, one, Attach("linh", CONSOLE, other)),
        site.actions.act(API, other, Attach("marek", CONSOLE, one)),
    )
    assert [result for result, _ in results] == [ActionResult.TAKEN, ActionResult.NOT_ATTACHABLE]


async def test_an_act_on_a_parent_and_on_what_is_attached_is_one_transaction(site: Site) -> None:
    child, parent = await site.fire("a"), await site.fire("b")
    await site.actions.act(API, child, Attach("linh", CONSOLE, parent))
    with refusing(site.folder, "UPDATE ON incident", "broken", f"NEW.id = {child}"):
        assert await site.actions.act(API, parent, Resolve("linh", CONSOLE)) == (ActionResult.STUCK, None)
        assert await site.state(parent) is State.TRIGGERED
    await site.actions.act(API, parent, Resolve("linh", CONSOLE))
    assert (await site.state(child), await site.state(parent)) == (State.RESOLVED, State.RESOLVED)


async def test_whoever_watches_sees_what_is_attached_change_too(site: Site) -> None:
    child, parent = await site.fire("a"), await site.fire("b")
    await site.actions.act(API, child, Attach("linh", CONSOLE, parent))
    seen = list[tuple[int, State]]()
    site.store._watch = lambda _before, after: seen.append((after.id, after.state))  # noqa: SLF001
    await site.actions.act(API, parent, Acknowledge("linh", CONSOLE))
    assert seen == [(parent, State.ACKNOWLEDGED), (child, State.ACKNOWLEDGED)]


async def test_a_p1_that_is_attached_raises_its_parent(site: Site) -> None:
    child, parent = await site.fire("a", "critical"), await site.fire("b")
    await site.actions.act(API, parent, TakeOver("linh", CONSOLE))
    await site.actions.act(API, child, Attach("linh", CONSOLE, parent))
    assert await site.state(parent) is State.TRIGGERED


async def test_what_is_undone_or_fires_anew_while_its_parent_is_over_speaks_for_itself(site: Site) -> None:
    undone, anew, parent = await site.fire("a"), await site.fire("b"), await site.fire("c")
    for child in (undone, anew):
        await site.actions.act(API, child, Attach("linh", CONSOLE, parent))
    await site.actions.act(API, parent, Resolve("linh", CONSOLE))
    await site.actions.act(API, undone, UndoResolve("linh", CONSOLE))
    other = an_alert("b2", severity="warning", starts_at=site.clock.now)
    again = AlertGroup("b", (an_alert("b", severity="warning"), other))
    await site.store.update(AlertsReceived(again), the_policy(), site.clock.now)
    assert await site.state(parent) is State.RESOLVED
    for child in (undone, anew):
        stored = await site.store.incident(child)
        assert stored is not None
        assert (stored[0].state, stored[0].attached_to) == (State.TRIGGERED, 0)
        assert stored[0].wake_at is not None


async def test_one_key_for_several_acts_and_incidents_does_each_of_them_once(site: Site) -> None:
    numbers, key = [await site.fire(name) for name in "ab"], Request(form="deploy-42")
    duty = Duty(site.store, site.store.duty, the_current(), site.clock)
    window = MadeWindow(('alertname="Other"',), site.clock.now, site.clock.now + MINUTE, "linh", "", 0)
    await duty.add_window(window, "linh", key)
    for _ in range(2):
        for number in numbers:
            await site.actions.act(API, number, Note("linh", CONSOLE, "look"), key)
            await site.actions.act(API, number, Acknowledge("linh", CONSOLE), key)
        raised = await site.actions.raise_by_hand(API, Raise("linh", CONSOLE, "down", person="marek"), key)
    assert raised[1] is not None
    assert raised[1].id not in numbers
    for number in numbers:
        kinds = await site.kinds(number)
        assert (kinds.count(EntryKind.NOTED), kinds.count(EntryKind.ACKNOWLEDGED)) == (1, 1)


async def test_two_acknowledge_at_once_and_the_second_helps(site: Site) -> None:
    number = await site.fire("a")
    results = await asyncio.gather(
        site.actions.act(API, number, Acknowledge("linh", CONSOLE)),
        site.actions.act(API, number, Acknowledge("marek", CONSOLE)),
    )
    assert [result for result, _ in results] == [ActionResult.TAKEN, ActionResult.ALREADY]
    assert EntryKind.JOINED in await site.kinds(number)


async def test_two_escalate_at_once_and_one_step_is_taken(site: Site) -> None:
    number = await site.fire("a")
    results = await asyncio.gather(
        *(site.actions.act(API, number, EscalateNow(who, CONSOLE, step=1)) for who in ("linh", "marek"))
    )
    assert [result for result, _ in results] == [ActionResult.TAKEN, ActionResult.ALREADY]
    assert (await site.kinds(number)).count(EntryKind.ESCALATED_NOW) == 1


async def test_an_act_after_the_resolve_is_noted_and_says_so(site: Site) -> None:
    number = await site.fire("a")
    await site.actions.act(API, number, Resolve("linh", CONSOLE))
    assert (await site.actions.act(API, number, TakeOver("marek", CONSOLE)))[0] is ActionResult.OVER
    assert EntryKind.ACTED_LATE in await site.kinds(number)
    assert (await site.actions.act(API, number, Note("marek", CONSOLE, "a typo")))[0] is ActionResult.TAKEN


async def test_pages_that_a_slip_has_cancelled_are_owed_again(site: Site) -> None:
    number = await site.fire("a", "critical")
    await site.actions.act(API, number, Acknowledge("linh", CONSOLE))
    assert not [c for c in await site.store.claim("email", site.clock.now, 60, 9) if c.notification.kind == "page"]
    site.clock.forward(seconds=5)
    await site.actions.act(API, number, Unacknowledge("linh", CONSOLE))
    assert [c.notification.target.person for c in await site.store.claim("email", site.clock.now, 60, 9)] == ["linh"]


async def test_what_people_write_is_bounded(site: Site) -> None:
    number = await site.fire("a")
    await site.actions.act(API, number, Note("linh", CONSOLE, "x" * 100_000), Request(form="y" * 10_000))
    stored = await site.store.incident(number)
    assert stored is not None
    assert len(stored[1][-1].data.text) == 2000


async def test_pages_that_are_asked_for_after_the_acknowledgement_are_sent(site: Site) -> None:
    number = await site.fire("a", "critical")
    await site.actions.act(API, number, Acknowledge("linh", CONSOLE))
    site.clock.forward(seconds=1)
    await site.actions.act(API, number, HandOver("linh", CONSOLE, person="marek"))
    await site.actions.act(API, number, EscalateNow("linh", CONSOLE))
    claims = await site.store.claim("email", site.clock.now, 60, 9)
    pages = [(c.notification.target.person, c.notification.reason) for c in claims if c.notification.kind == "page"]
    assert pages == [("marek", Reason.ASKED)]  # and the next step's page waits behind it in the same lane
    await site.store.settle(claims[0], "ref", Decision, site.clock.now)
    (second,) = await site.store.claim("email", site.clock.now, 60, 9)
    assert second.notification.reason is Reason.ESCALATED_NOW


async def test_whoever_accepts_is_paged_no_more(site: Site) -> None:
    number = await site.fire("a", "critical")
    await site.actions.act(API, number, Acknowledge("linh", CONSOLE))
    site.clock.forward(seconds=1)
    await site.actions.act(API, number, HandOver("linh", CONSOLE, person="marek"))
    await site.actions.act(API, number, Acknowledge("marek", CONSOLE))
    claims = await site.store.claim("email", site.clock.now, 60, 9)
    assert [(c.notification.target.person, c.notification.reason) for c in claims] == [("linh", Reason.TAKEN_OVER)]
