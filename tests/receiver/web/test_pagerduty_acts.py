"""PagerDuty in step: what people do there happens here and never goes back there; what differs for long is mended."""

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from process.settings import Secret
from receiver.channels.pagerduty import PagerDutyEvents, PagerDutyNotes
from receiver.clients.http_api import open_session
from receiver.clients.pagerduty_lookup import PagerDutyLookup
from receiver.incident.delivery import Handling
from receiver.incident.event import Acknowledge, Answer, Note, Snooze, Unacknowledge, UndoResolve
from receiver.incident.model import EntryKind, Kind, Origin, State
from receiver.web.pagerduty_webhook import PagerDutyWebhook
from receiver.workers.pagerduty_poll import PagerDutyPoll
from tests.fakes.pagerduty import FakePagerDuty
from tests.receiver.example_site import Clock, deciding
from tests.receiver.web.test_acts import EVENTS, HOOK, ROUTING, Rig

TOKEN, OURS = Secret("rest-token"), "bot@example.com"
MAREK = {"id": "PMAREK", "type": "user_reference", "summary": "Marek"}
AISHA = {"id": "PAISHA", "type": "user_reference", "summary": "A. Bello"}  # called otherwise here
BOB = {"id": "PBOB", "type": "user_reference", "summary": "Bob"}  # nobody here
BOT = {"id": "PBOT", "type": "user_reference", "summary": "Receiver"}
TIMER = {"id": "PSVC", "type": "service_reference", "summary": "payments"}
USERS = {"PAISHA": "aisha@example.com", "PBOB": "bob@elsewhere.example", "PBOT": OURS, "PMAREK": "marek@example.com"}
NUMBER = "PGR0VU2"


class InStep(Rig):
    """One incident that PagerDuty was told of, its webhook with the REST API, and the poll."""

    poll: PagerDutyPoll
    noted = False

    def _handling(self, channel: str) -> Handling:
        if channel == "pagerduty" and self.noted:
            return Handling(kinds=EVENTS | {Kind.UPDATE}, keeps_incidents=True)
        return super()._handling(channel)

    @property
    def key(self) -> str:
        (key,) = [key for _, key in self.pagerduty.alerts]
        return key

    async def happens(self, kind: str, agent: object = MAREK, name: str = "", **data: object) -> None:
        """PagerDuty's webhook of one event."""
        told = {"id": NUMBER, "type": "incident", "incident_key": self.key, **data}
        event = {"id": name, "event_type": f"incident.{kind}", "agent": agent, "data": told}
        body = json.dumps({"event": event}).encode()
        signed = hmac.new(HOOK.encode(), body, hashlib.sha256).hexdigest()
        async with self.client.post(
            "/pagerduty/webhook", data=body, headers={"X-PagerDuty-Signature": f"v1={signed}"}
        ) as answer:
            assert answer.status == 202

    async def note(self, content: str, agent: object = MAREK, name: str = "N1") -> None:
        incident = {"id": NUMBER, "type": "incident_reference"}
        await self.happens("annotated", agent, name, incident_key=None, incident=incident, content=content)

    def stands(self, status: str, by: object = TIMER, **more: object) -> None:
        """How PagerDuty's incident stands in its REST API, since now."""
        at = self.clock.now.isoformat()
        one: dict[str, Any] = {"id": NUMBER, "incident_key": self.key, "status": status}
        self.pagerduty.incidents[NUMBER] = {
            **one,
            "last_status_change_by": by,
            "last_status_change_at": at,
            "acknowledgements": [{"at": at, "acknowledger": by}] if status == "acknowledged" else [],
            **more,
        }

    async def lines(self, kind: EntryKind) -> list[tuple[str, str]]:
        stored = await self.store.incident(1)
        assert stored is not None
        return [(entry.actor, entry.data.text or entry.data.person) for entry in stored[1] if entry.kind is kind]

    async def do(self, event: Answer) -> None:
        await self.store.apply(1, deciding(event, self.clock.now, self.current.routing), self.clock.now)

    def sent(self) -> list[str]:
        """What has gone to the Events API."""
        return [call.body["event_action"] for call in self.pagerduty.calls if call.path == "/v2/enqueue"]


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[InStep]:
    pagerduty = FakePagerDuty({ROUTING})
    pagerduty.users = {name: {"id": name, "email": address} for name, address in USERS.items()}
    await pagerduty.start()
    async with open_session() as session:
        rig = InStep(tmp_path, Clock(), session, pagerduty)
        await rig.open()
        lookup = PagerDutyLookup(session, TOKEN, pagerduty.url)
        rig.poll = PagerDutyPoll(rig.actions, rig.store, TOKEN, session, pagerduty.url, ours=OURS)
        app = web.Application()
        app.add_routes(PagerDutyWebhook(rig.actions, Secret(HOOK), lookup, ours=OURS).routes())
        async with TestClient(TestServer(app)) as client:
            rig.client = client
            await rig.fire()
            await rig.send()
            rig.stands("triggered")
            yield rig
        lookup.close()
        rig.poll.close()
    await rig.store.close()
    await pagerduty.stop()


async def test_whoever_gives_it_back_there_has_given_it_back_here(rig: InStep) -> None:
    await rig.do(Acknowledge("linh", Origin.CONSOLE))
    await rig.happens("unacknowledged", TIMER)  # its own clock: ours runs on
    await rig.happens("unacknowledged", None)
    assert await rig.state() is State.ACKNOWLEDGED
    await rig.happens("unacknowledged")
    assert await rig.state() is State.TRIGGERED
    assert await rig.lines(EntryKind.UNACKNOWLEDGED) == [("marek", "")]


async def test_the_answer_of_a_user_who_was_deleted_there_is_read_all_the_same(rig: InStep) -> None:
    rig.stands("acknowledged", {"id": "PGONE", "type": "user_reference", "summary": "Bob"})
    assert await rig.poll.run_once() == 1
    assert (await rig.incident()).acknowledged_by == "Bob"


@pytest.mark.parametrize("kind", ["reassigned", "delegated"])
@pytest.mark.parametrize(("assignees", "asked"), [([MAREK], "marek"), ([AISHA], "aisha"), ([BOB, AISHA], "aisha")])
async def test_whoever_gets_it_there_is_asked_here(rig: InStep, kind: str, assignees: list[object], asked: str) -> None:
    await rig.do(Acknowledge("linh", Origin.CONSOLE))
    await rig.happens(kind, BOB, assignees=assignees)
    incident = await rig.incident()
    assert incident.asked is not None
    assert (incident.asked.person, incident.acknowledged_by, incident.state) == (asked, "linh", State.ACKNOWLEDGED)


async def test_the_id_of_a_user_says_who_somebody_is_here(rig: InStep) -> None:
    people = dict(rig.current.routing.people)
    people["linh"] = msgspec.structs.replace(people["linh"], pagerduty_user="PBOB")
    rig.current.exchange(msgspec.structs.replace(rig.current.routing, people=people))
    await rig.happens("acknowledged", BOB)
    assert (await rig.incident()).acknowledged_by == "linh"
    await rig.happens("reassigned", MAREK, assignees=[MAREK, BOB])
    asked = (await rig.incident()).asked
    assert asked is not None
    assert asked.person == "marek"


@pytest.mark.parametrize("again", [Unacknowledge("linh", Origin.CONSOLE), None])
async def test_what_is_delivered_twice_is_done_once(rig: InStep, again: Unacknowledge | None) -> None:
    await rig.happens("acknowledged", name="E1")
    if again is not None:
        await rig.do(again)
    before = await rig.incident()
    await rig.happens("acknowledged", name="E1")  # its answer was lost, or somebody has kept it
    assert await rig.incident() == before
    await rig.happens("acknowledged", name="E2")
    assert await rig.state() is State.ACKNOWLEDGED


async def test_a_resolve_that_is_delivered_again_ends_nothing_new(rig: InStep) -> None:
    await rig.happens("resolved", name="E1")
    before = await rig.incident()
    assert before.resolved_by == "marek"
    await rig.do(UndoResolve("linh", Origin.CONSOLE))
    await rig.happens("resolved", name="E1")
    assert await rig.state() is not State.RESOLVED


async def test_whom_nobody_here_knows_cannot_be_asked(rig: InStep) -> None:
    await rig.happens("reassigned", MAREK, assignees=[BOB])
    assert (await rig.incident()).asked is None
    assert rig.count("pagerduty", "nobody") == 1
    await rig.happens("reassigned", MAREK, assignees=[])
    assert rig.count("pagerduty", "ignored") == 1


async def test_a_note_there_is_one_line_here_and_told_to_nobody(rig: InStep) -> None:
    for _ in range(2):  # at least once, they say
        await rig.note("the disk of db-1 <script>", AISHA)
    assert await rig.lines(EntryKind.NOTED) == [("aisha", "the disk of db-1 <script>")]
    before = len(rig.pagerduty.calls)
    await rig.send()
    assert len(rig.pagerduty.calls) == before
    await rig.note("x" * 100_000, name="N2")
    assert len((await rig.lines(EntryKind.NOTED))[1][1]) == 2000


@pytest.mark.parametrize(
    "kind", ["escalated", "priority_updated", "reopened", "responder.added", "status_update_published", "unheard_of"]
)
async def test_what_means_nothing_here_is_counted(rig: InStep, kind: str) -> None:
    before = await rig.incident()
    await rig.happens(kind)
    assert await rig.incident() == before
    assert rig.count("pagerduty", "ignored") == 1


async def test_what_our_own_user_has_done_there_is_an_echo(rig: InStep) -> None:
    await rig.do(Acknowledge("linh", Origin.CONSOLE))
    for kind in ("acknowledged", "unacknowledged", "resolved"):
        await rig.happens(kind, BOT)
    await rig.note("what we have written", BOT)
    assert await rig.state() is State.ACKNOWLEDGED
    assert rig.count("pagerduty", "ignored") == 4


async def test_an_acknowledgement_is_not_sent_back_where_it_was_given(rig: InStep) -> None:
    assert rig.sent() == ["trigger"]
    await rig.happens("acknowledged")
    await rig.send()
    assert (await rig.state(), rig.sent()) == (State.ACKNOWLEDGED, ["trigger"])


async def test_a_snooze_here_is_an_acknowledgement_there(rig: InStep) -> None:
    await rig.do(Snooze("linh", Origin.CONSOLE, rig.clock.now + timedelta(hours=2)))
    await rig.send()
    assert rig.sent() == ["trigger", "acknowledge"]


def pending(at: datetime) -> list[dict[str, str]]:
    return [{"type": "unacknowledge", "at": at.isoformat()}]


async def test_a_snooze_there_is_a_snooze_here(rig: InStep) -> None:
    until = rig.clock.now + timedelta(hours=2)
    rig.stands("acknowledged", MAREK, pending_actions=pending(until))
    rig.pagerduty.log[NUMBER] = [
        {"type": "snooze_log_entry", "created_at": rig.clock.now.isoformat(), "agent": MAREK},
        {"type": "acknowledge_log_entry", "created_at": rig.clock.now.isoformat(), "agent": MAREK},
    ]
    assert await rig.poll.run_once() == 2
    incident = await rig.incident()
    assert (incident.acknowledged_by, incident.snoozed_until) == ("marek", until)
    assert await rig.poll.run_once() == 0
    await rig.send()
    assert rig.sent() == ["trigger"]
    far = rig.clock.now + timedelta(hours=20)
    rig.stands("acknowledged", MAREK, pending_actions=pending(far))
    await rig.poll.run_once()
    assert (await rig.incident()).snoozed_until == rig.clock.now + timedelta(hours=4)  # as long as a P1 may be


async def test_a_time_out_there_is_no_snooze(rig: InStep) -> None:
    rig.pagerduty.log[NUMBER] = [
        {"type": "snooze_log_entry", "created_at": rig.clock.now.isoformat(), "agent": MAREK},  # an earlier one
    ]
    rig.clock.forward(hours=3)
    rig.stands("acknowledged", MAREK, pending_actions=pending(rig.clock.now + timedelta(minutes=30)))
    await rig.poll.run_once()
    incident = await rig.incident()
    assert (incident.acknowledged_by, incident.snoozed_until) == ("marek", None)


async def test_an_acknowledgement_that_timed_out_there_is_told_again_once(rig: InStep) -> None:
    await rig.do(Acknowledge("linh", Origin.CONSOLE))
    await rig.send()
    rig.clock.forward(minutes=30)
    rig.stands("triggered")
    await rig.poll.run_once()
    await rig.send()
    assert rig.sent().count("acknowledge") == 1  # it may still be on its way
    rig.clock.forward(minutes=6)
    for _ in range(2):
        await rig.poll.run_once()
        await rig.send()
    assert rig.sent().count("acknowledge") == 2


async def test_what_a_person_has_given_back_while_the_webhook_was_off_is_read(rig: InStep) -> None:
    await rig.do(Acknowledge("linh", Origin.CONSOLE))
    rig.clock.forward(minutes=2)
    rig.stands("triggered", MAREK)
    rig.clock.forward(minutes=6)
    assert await rig.poll.run_once() == 1
    assert await rig.state() is State.TRIGGERED


async def test_whoever_got_it_there_while_the_webhook_was_off_is_asked(rig: InStep) -> None:
    await rig.do(Acknowledge("linh", Origin.CONSOLE))
    rig.clock.forward(minutes=2)
    rig.stands("triggered", MAREK, assignments=[{"assignee": AISHA}])
    rig.clock.forward(minutes=6)
    assert await rig.poll.run_once() == 1
    assert await rig.lines(EntryKind.ASKED) == [("marek", "aisha")]
    assert await rig.poll.run_once() == 0


async def test_what_the_webhook_has_told_is_not_done_again(rig: InStep) -> None:
    await rig.do(Acknowledge("linh", Origin.CONSOLE))
    rig.clock.forward(minutes=2)
    rig.stands("triggered", MAREK, assignments=[{"assignee": AISHA}])
    await rig.happens("reassigned", MAREK, assignees=[AISHA])
    rig.clock.forward(minutes=6)
    assert await rig.poll.run_once() == 0
    assert len(await rig.lines(EntryKind.ASKED)) == 1


async def test_a_note_for_everybody_is_one_there_where_the_rest_api_may_be_used(rig: InStep) -> None:
    rig.noted = True
    notes = PagerDutyNotes(TOKEN, OURS, rig.session, api_url=rig.pagerduty.url)
    events = PagerDutyEvents({"staff": Secret(ROUTING)}, rig.session, api_url=rig.pagerduty.url, notes=notes)
    rig.senders[0] = rig._dispatcher("pagerduty", events)  # noqa: SLF001  # as the rig makes its own
    await rig.do(Note("linh", Origin.CONSOLE, "only here"))
    await rig.do(Note("linh", Origin.CONSOLE, "new disks are on the way", tell=True))
    await rig.send()
    ((number, content),) = rig.pagerduty.notes
    assert number == NUMBER
    assert "new disks are on the way" in content
    events.close()


async def test_a_rest_api_that_is_away_is_asked_again_by_pagerduty(rig: InStep) -> None:
    await rig.pagerduty.stop()
    body = {"incident": {"id": NUMBER}, "content": "x", "type": "incident_note"}
    event = {"event": {"id": "N", "event_type": "incident.annotated", "agent": MAREK, "data": body}}
    text = json.dumps(event).encode()
    signed = hmac.new(HOOK.encode(), text, hashlib.sha256).hexdigest()
    async with rig.client.post(
        "/pagerduty/webhook", data=text, headers={"X-PagerDuty-Signature": f"v1={signed}"}
    ) as answer:
        assert answer.status == 503
    await rig.pagerduty.start()
