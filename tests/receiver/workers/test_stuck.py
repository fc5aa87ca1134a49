"""An incident in which our own rules raise an error does not stop the others, and is shown."""

from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import pytest

from receiver.channels.base import SendError
from receiver.incident.event import AlertsReceived, Event
from receiver.incident.machine import transition
from receiver.incident.model import Decision, Failure, Incident
from receiver.incident.policy import Policy
from receiver.metrics import Metrics
from receiver.store.base import Outage, StoreOutageError
from receiver.store.sql.store import SQLStore
from receiver.workers import dispatcher, escalator
from receiver.workers.dispatcher import Dispatcher
from receiver.workers.escalator import Escalator
from receiver.workers.retry import RetryPolicy
from receiver.workers.stuck import Stuck
from receiver.workers.unsettled import UnsettledOutbox
from tests.receiver.example_site import (
    Clock,
    Recorder,
    a_store,
    a_watch,
    an_alert,
    as_message,
    beside,
    of_group,
    received,
    refusing,
    the_current,
    the_policy,
)


class Rig:
    """An escalator and a dispatcher over a real store, and rules that raise for some incidents."""

    def __init__(self, store: SQLStore, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store, self.clock, self.channel, self.shown = store, clock, Recorder(), list[int]()
        self.stuck = Stuck(clock.elapsed, self.shown.append)
        self.broken: set[int] = set()
        current = the_current()
        self.escalator = Escalator(store, current, clock, watch=a_watch(store, clock, current), stuck=self.stuck)
        self.dispatcher = Dispatcher(
            "email",
            self.channel,
            UnsettledOutbox(store),
            current=current,
            retry=RetryPolicy(first=5, longest=120, give_up=1800),
            render=as_message,
            metrics=Metrics(["email"]),
            clock=clock,
            elapsed=clock.elapsed,
            jitter=lambda: 0.0,
            careful=self.stuck.careful,
        )
        monkeypatch.setattr(escalator, "transition", self.transition)
        monkeypatch.setattr(dispatcher, "transition", self.transition)
        monkeypatch.setattr("receiver.store.sql.store.transition", self.transition)

    def transition(self, incident: Incident, event: Event, policy: Policy, now: datetime) -> Decision:
        if incident.id in self.broken:
            raise ZeroDivisionError
        return transition(incident, event, policy, now)

    async def fire(self, *names: str) -> None:
        for name in names:
            group = of_group(received(an_alert(name)), key=name)
            await self.store.update(AlertsReceived(group), the_policy(), self.clock.now)

    async def pass_minutes(self, minutes: int) -> None:
        for _ in range(minutes * 6):
            self.clock.forward(seconds=10)
            await self.escalator.run_once()

    async def paged(self) -> list[str]:
        await self.dispatcher.run_once()
        told = [message.address for message in self.channel.sent]
        self.channel.sent.clear()
        return told


@pytest.fixture
async def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    clock = Clock()
    store = await a_store(tmp_path, clock)
    yield Rig(store, clock, monkeypatch)
    await store.close()


async def test_the_others_escalate_and_it_goes_on_when_it_can(rig: Rig) -> None:
    await rig.fire("a", "b", "c")
    await rig.paged()
    rig.broken = {1}
    await rig.pass_minutes(16)
    assert (await rig.paged()).count("marek@example.com") == 2
    assert rig.shown[-1] == 1
    stored = await rig.store.incident(1)
    assert stored is not None
    assert stored[0].delivery.rounds == 1
    rig.broken = set()
    await rig.pass_minutes(1)
    assert (await rig.paged()).count("marek@example.com") == 1
    assert rig.shown[-1] == 0


async def test_an_incident_that_cannot_be_read_stops_itself_only(rig: Rig, tmp_path: Path) -> None:
    await rig.fire("a", "b")
    await rig.paged()
    with beside(tmp_path) as db:
        db.execute("UPDATE incident SET doc = ? WHERE id = 1", (b"{",))
    await rig.pass_minutes(16)
    assert rig.shown[-1] == 1
    assert (await rig.paged()).count("marek@example.com") == 1


async def test_what_was_sent_is_settled_and_not_sent_again(rig: Rig) -> None:
    await rig.fire("a", "b")
    rig.broken = {1}
    assert len(await rig.paged()) == 2
    rig.clock.forward(minutes=2)
    assert await rig.paged() == []
    await rig.escalator.run_once()
    assert rig.shown[-1] == 1


@pytest.mark.parametrize("failure", [None, Failure.SERVER_ERROR, Failure.REFUSED])
async def test_what_became_of_a_message_is_written_though_its_incident_cannot_be(
    rig: Rig, tmp_path: Path, failure: Failure | None
) -> None:
    """The database refuses the change of one incident, whatever it is."""
    await rig.fire("a", "b")
    with beside(tmp_path) as db:
        db.execute("DELETE FROM outbox WHERE channel <> 'email'")  # no other page may reach anybody
    for _ in range(2 if failure else 0):
        assert failure is not None
        rig.channel.failures.append(SendError("no", failure, permanent=failure is Failure.REFUSED))
    with refusing(tmp_path, "UPDATE ON incident", "no", "NEW.id = 1"):
        rig.clock.forward(minutes=5)  # by now a page that fails looks for another way
        assert (await rig.paged()).count("linh@example.com") == (0 if failure else 2)
        with beside(tmp_path) as db:
            rows = db.execute(
                "SELECT state FROM outbox WHERE channel = 'email' AND kind = 'page' ORDER BY id"
            ).fetchall()
    said = {None: "sent", Failure.SERVER_ERROR: "pending", Failure.REFUSED: "dead"}
    assert rows[:2] == [(said[failure],)] * 2


@pytest.mark.parametrize("failure", [None, Failure.SERVER_ERROR, Failure.REFUSED])
async def test_what_became_of_a_message_cannot_be_written_and_the_others_go_out(
    rig: Rig, tmp_path: Path, failure: Failure | None
) -> None:
    """The database refuses to note it, whatever it is; it is not sent again by this process, and written later."""
    await rig.fire("a")
    with beside(tmp_path) as db:
        db.execute("DELETE FROM outbox WHERE channel <> 'email'")
    if failure is not None:
        rig.channel.failures.append(SendError("no", failure, permanent=failure is Failure.REFUSED))
    what = "NEW.incident_id = 1 AND (NEW.state IN ('sent', 'dead') OR NEW.tries > OLD.tries)"
    with refusing(tmp_path, "UPDATE ON outbox", "no", what):
        rig.clock.forward(seconds=1)
        assert (await rig.paged()).count("linh@example.com") == (0 if failure else 1)
        await rig.fire("b")
        assert (await rig.paged()).count("linh@example.com") == 1
        rig.clock.forward(minutes=5)
        await rig.paged()
    for _ in range(2):  # it is written first, and then sent again if it had failed
        rig.clock.forward(minutes=5)
        await rig.dispatcher.run_once()
    again = [one for one in rig.channel.sent if one.incident == "heypeter-1" and one.address == "linh@example.com"]
    assert len(again) == (failure is Failure.SERVER_ERROR)
    with beside(tmp_path) as db:
        rows = db.execute("SELECT state FROM outbox WHERE incident_id = 1 AND channel = 'email' AND kind = 'page'")
        assert rows.fetchall()[0] == ({None: "sent", Failure.SERVER_ERROR: "sent", Failure.REFUSED: "dead"}[failure],)


async def test_one_that_does_not_fail_any_more_is_not_shown_for_ever(rig: Rig) -> None:
    await rig.fire("a")
    rig.broken = {1}
    await rig.pass_minutes(15)
    assert rig.shown[-1] == 1
    rig.broken = set()
    over = of_group(received(an_alert("a", firing=False)), key="a")
    await rig.store.update(AlertsReceived(over), the_policy(), rig.clock.now)
    await rig.pass_minutes(6)
    assert rig.shown[-1] == 0


async def test_many_that_fail_do_not_keep_others_waiting(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(escalator, "_BATCH", 2)
    await rig.fire("a", "b", "c", "d", "e")
    await rig.paged()
    rig.broken = {1, 2, 3, 4}
    await rig.pass_minutes(16)
    assert (await rig.paged()).count("marek@example.com") == 1


async def test_with_too_many_the_escalation_is_called_broken_and_the_others_still_go_on(rig: Rig) -> None:
    await rig.fire(*(f"n{number}" for number in range(101)), "last")
    await rig.paged()
    said = list[tuple[int, bool]]()
    for count, minutes in ((100, 16), (101, 16), (0, 8)):
        rig.broken = set(range(1, count + 1))
        await rig.pass_minutes(minutes)
        said.append((rig.shown[-1], rig.stuck.too_many))
    assert said == [(100, False), (101, True), (0, False)]
    assert "marek@example.com" in await rig.paged()


async def test_what_was_sent_of_many_that_fail_is_settled(rig: Rig) -> None:
    await rig.fire(*(f"n{number}" for number in range(150)))
    rig.broken = set(range(1, 151))
    assert len(await rig.paged()) == 150
    assert await rig.paged() == []
    assert rig.stuck.too_many


async def test_a_group_whose_incident_takes_in_nothing_gets_another_one(rig: Rig) -> None:
    await rig.fire("a", "b")
    await rig.paged()
    rig.broken = {1}
    await rig.fire("a", "b", "a")
    assert await rig.paged() == ["linh@example.com"]
    assert [one.id for one in await rig.store.still_open()] == [1, 2, 3]
    over = of_group(received(an_alert("a", firing=False)), key="a")
    await rig.store.update(AlertsReceived(over), the_policy(), rig.clock.now)
    assert [one.id for one in await rig.store.still_open()] == [1, 2]


async def test_a_group_whose_incident_the_database_refuses_to_change_gets_another_one(rig: Rig, tmp_path: Path) -> None:
    await rig.fire("a", "b")
    await rig.paged()
    with refusing(tmp_path, "UPDATE ON incident", "no", "NEW.id = 1 AND NEW.doc <> OLD.doc"):
        for name in ("a", "a2"):
            group = of_group(received(an_alert(name)), key="a")
            await rig.store.update(AlertsReceived(group), the_policy(), rig.clock.now)
        assert await rig.paged() == ["linh@example.com"]
    assert [one.id for one in await rig.store.still_open()] == [1, 2, 3]


async def test_an_end_that_its_incident_does_not_take_in_is_sent_again(rig: Rig) -> None:
    await rig.fire("a")
    rig.broken = {1}
    over = AlertsReceived(of_group(received(an_alert("a", firing=False)), key="a"))
    with pytest.raises(ZeroDivisionError):
        await rig.store.update(over, the_policy(), rig.clock.now)
    rig.broken = set()
    await rig.store.update(over, the_policy(), rig.clock.now)
    assert await rig.store.still_open() == []


async def test_an_alert_that_no_incident_takes_in_opens_none(rig: Rig) -> None:
    rig.broken = {1}
    with pytest.raises(ZeroDivisionError):
        await rig.fire("a")
    assert await rig.store.still_open() == []


async def test_an_outage_of_the_store_is_nobodys_fault(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: object) -> None:
        raise StoreOutageError(Outage.FULL, "full")

    await rig.fire("a")
    monkeypatch.setattr(rig.store, "apply", full)
    rig.clock.forward(minutes=16)
    with pytest.raises(StoreOutageError):
        await rig.escalator.run_once()
    assert rig.stuck.steps == 0
