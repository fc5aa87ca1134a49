"""Slack's forms, menus and command: who may do what, what comes of it, two at once, a store that is slow or away."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from msgspec.structs import replace

from process.settings import Secret
from receiver.actions.answer import Actions
from receiver.channels.slack_api import SlackApi
from receiver.incident.event import Resolve
from receiver.incident.model import EntryKind, Incident, Origin, State
from receiver.messages.i18n import Reader
from receiver.metrics import Metrics
from receiver.oncall.contact_rules import Contact, Person
from receiver.oncall.cover import CoverState
from receiver.store.base import Outage, StoreOutageError
from receiver.store.sqlite.store import SQLiteStore
from receiver.web.slack_handler import SlackHandler
from receiver.web.slack_payload import Interaction, SlashCommand
from tests.fakes.slack import RESPONSE, FakeSlack, fault_of
from tests.receiver.example_site import START, Clock, an_alert, deciding, received, the_current, the_routing
from tests.receiver.web.slack_endpoint import a_handler

TOKEN = "xoxb-s3cret-token"
ENGLISH = Reader()
LINH, MAREK, NEW = "U01LINH", "U01MAREK", "U99NEW"


class Gated(SQLiteStore):
    """A store whose writing waits until it is let through, or fails."""

    gate: asyncio.Event
    is_away = False

    async def answer(self, *args: Any, **kwargs: Any) -> Incident | None:  # noqa: ANN401  # as the store's own
        await self.gate.wait()
        if self.is_away:
            raise StoreOutageError(Outage.FULL, "disk full")
        return await super().answer(*args, **kwargs)


class Rig:
    """Slack's side of a receiver with one open incident; replies arrive in ``told``."""

    def __init__(self, store: Gated, clock: Clock, slack: FakeSlack, session: aiohttp.ClientSession) -> None:
        self.store, self.clock, self.slack = store, clock, slack
        people = {
            "linh": Person("Linh Tran", (Contact("slack", LINH), Contact("email", "linh@example.com"))),
            "marek": Person("Marek", (Contact("email", "marek@example.com"),), zone="Europe/Berlin"),
        }
        self.current = the_current(replace(the_routing(), people={**the_routing().people, **people}))
        self.actions = Actions(store, self.current, clock, Metrics(["slack"]).registry)
        self.session, self.told = session, slack.replies
        self.api = SlackApi(Secret(TOKEN), session, f"{slack.url}/api/")
        self.handler = self.made()
        self.url = f"{slack.url}{RESPONSE}"
        self._number = itertools.count(1)

    def made(self, soon: float = 30.0) -> SlackHandler:
        return a_handler(self.actions, self.store, self.current, self.session, self.api, soon)

    async def incident(self, number: int = 1) -> Incident:
        stored = await self.store.incident(number)
        assert stored is not None
        return stored[0]

    async def button(self, number: int = 1) -> str:
        return await self.actions.reference(await self.incident(number))

    async def press(self, action: str, user: str = LINH, *, handler: SlackHandler | None = None, **field: Any) -> None:  # noqa: ANN401  # JSON
        at = next(self._number)
        press = {"action_id": action, "action_ts": f"{at}.1", **field}
        payload = {"type": "block_actions", "user": {"id": user, "name": "someone"}, "actions": [press]}
        payload |= {"trigger_id": f"T{at}", "response_url": self.url}
        await (handler or self.handler).interaction(msgspec.convert(payload, Interaction))

    async def snooze(self, minutes: int, user: str = LINH, **more: Any) -> None:  # noqa: ANN401
        block = f"{await self.button()}|77"
        await self.press("snooze", user, block_id=block, selected_option={"value": str(minutes)}, **more)

    async def form(self, act: str = "", user: str = LINH, number: int = 1) -> dict[str, Any]:
        """Open the form, and choose an act in it."""
        opened = len(self.slack.views)
        await self.press("more", user, value=await self.button(number))
        view = await self.shown(lambda: len(self.slack.views) > opened)
        if not act:
            return view
        before = view["hash"]
        payload = {
            "type": "block_actions",
            "user": {"id": user},
            "actions": [{"action_id": "act", "block_id": "act", "selected_option": {"value": act}}],
            "view": view,
        }
        await self.handler.interaction(_read(payload))
        return await self.shown(lambda: self._newest()["hash"] != before)

    def _newest(self) -> dict[str, Any]:
        return self.slack.views[max(self.slack.views)]

    async def shown(self, there: Callable[[], bool]) -> dict[str, Any]:
        await self.until(there)
        return self._newest()

    async def until(self, there: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not there():
                async with self.session.get(f"{self.slack.url}/nothing") as answer:  # a turn of the loop
                    await answer.read()

    async def stands(self, there: Callable[[Incident], bool]) -> None:
        async with asyncio.timeout(30):
            while not there(await self.incident()):
                pass

    async def send(self, view: dict[str, Any], act: str, user: str = LINH, **fields: Any) -> dict[str, Any]:  # noqa: ANN401
        """Send a form, whose fields are as Slack gives them."""
        chosen = {"act": {"act": {"selected_option": {"value": act}}}}
        values = chosen | {
            block: {"value": value if isinstance(value, dict) else {"value": value}} for block, value in fields.items()
        }
        sent = {**view, "state": {"values": values}}
        return await self.handler.interaction(
            _read({"type": "view_submission", "user": {"id": user, "name": "someone"}, "view": sent})
        )

    async def command(self, text: str, user: str = LINH) -> dict[str, Any]:
        trigger = f"T{next(self._number)}"
        command = SlashCommand("/oncall", text, user, "someone", trigger, self.url)
        said = await self.handler.command(command)
        assert not said or fault_of(said) == ""
        return said

    async def reply(self) -> str:
        await self.until(lambda: bool(self.told))
        return str(self.told.pop(0)["text"])


def _read(payload: dict[str, Any]) -> Interaction:
    return msgspec.json.decode(json.dumps(payload), type=Interaction)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    clock, slack = Clock(), FakeSlack(TOKEN, {"#alerts"})
    await slack.start()
    store = Gated(tmp_path / "receiver.sqlite3", lambda: None)
    store.gate = asyncio.Event()
    store.gate.set()
    await store.open(clock.now)
    async with aiohttp.ClientSession() as session:
        rig = Rig(store, clock, slack, session)
        await store.update(received(an_alert()), rig.current.routing, clock.now)
        yield rig
    await store.close()
    await slack.stop()


async def test_a_menu_snoozes_in_the_name_of_whoever_chose(rig: Rig) -> None:
    await rig.snooze(60)
    incident = await rig.incident()
    assert (incident.acknowledged_by, incident.snoozed_until) == ("linh", START + timedelta(hours=1))
    assert await rig.reply() == ENGLISH.say("console_snoozed", who="Linh Tran", until="04:00 UTC")
    await rig.snooze(24 * 60)
    assert await rig.reply() == ENGLISH.say("console_said_out_of_bounds")


async def test_the_same_choice_sent_twice_snoozes_once(rig: Rig) -> None:
    await rig.snooze(60, action_ts="7.7")
    rig.clock.forward(minutes=1)
    await rig.snooze(60, action_ts="7.7")
    assert (await rig.incident()).snoozed_until == START + timedelta(hours=1)


async def test_whom_nobody_has_mapped_may_acknowledge_and_no_more(rig: Rig) -> None:
    await rig.snooze(60, NEW)
    assert await rig.reply() == ENGLISH.say("slack_unmapped")
    assert (await rig.command("page backend all is down", NEW))["text"] == ENGLISH.say("slack_unmapped")
    await rig.press("more", NEW, value=await rig.button())
    assert await rig.reply() == ENGLISH.say("slack_unmapped")
    assert not rig.slack.views
    await rig.press("acknowledge", NEW, value=await rig.button())
    assert (await rig.incident()).acknowledged_by == f"slack:{NEW} (someone)"


async def test_people_are_known_by_the_address_of_their_profile(rig: Rig) -> None:
    rig.slack.users[MAREK] = {"profile": {"email": "Marek@Example.com"}}
    await rig.snooze(60, MAREK)
    await rig.snooze(30, MAREK)
    assert (await rig.incident()).acknowledged_by == "marek"
    assert len([call for call in rig.slack.calls if call.path == "/api/users.info"]) == 1


@pytest.mark.parametrize(
    "user",
    [
        {},
        {"profile": {}},
        {"profile": {"email": "marek@elsewhere.example"}},
        {"profile": {"email": "marek@example.com"}, "is_stranger": True},
        {"profile": {"email": "marek@example.com"}, "deleted": True},
        {"profile": {"email": ["marek@example.com"]}},
        {"profile": {"email": "marek"}},  # a key is no address
    ],
)
async def test_a_profile_that_proves_nothing_maps_nobody(rig: Rig, user: dict[str, Any]) -> None:
    rig.slack.users[MAREK] = user
    await rig.snooze(60, MAREK)
    assert (await rig.incident()).state is State.TRIGGERED


async def test_a_slack_that_does_not_say_who_it_is_keeps_nobody_from_acknowledging(rig: Rig) -> None:
    rig.slack.misfortunes = [(500, {})]
    await rig.press("acknowledge", MAREK, value=await rig.button())
    assert (await rig.incident()).state is State.ACKNOWLEDGED


ACTS = {
    "handover": ["whom"],
    "snooze": ["until"],
    "escalate": [],
    "note": ["text", "tell"],
    "attach": ["to"],
}


@pytest.mark.parametrize(("act", "blocks"), ACTS.items())
async def test_each_act_shows_the_fields_that_it_needs(rig: Rig, act: str, blocks: list[str]) -> None:
    view = await rig.form(act)
    assert [block["block_id"] for block in view["blocks"][2:]] == blocks
    assert [option["value"] for option in view["blocks"][1]["element"]["options"]] == list(ACTS)


async def test_who_has_it_can_give_it_back_and_somebody_else_take_it(rig: Rig) -> None:
    rig.slack.users[MAREK] = {"profile": {"email": "marek@example.com"}}
    await rig.press("acknowledge", value=await rig.button())
    options = {one["value"] for one in (await rig.form())["blocks"][1]["element"]["options"]}
    assert "unacknowledge" in options
    assert "takeover" not in options
    assert await rig.send(await rig.form(user=MAREK), "takeover", MAREK) == {}
    assert (await rig.incident()).acknowledged_by == "marek"
    assert await rig.send(await rig.form(), "unacknowledge") == {}
    assert (await rig.incident()).state is State.TRIGGERED


async def test_a_form_hands_over_escalates_attaches_and_notes(rig: Rig) -> None:
    view = await rig.form("handover")
    assert await rig.send(view, "handover", whom="person:marek") == {}
    asked = (await rig.incident()).asked
    assert asked is not None
    assert asked.person == "marek"
    step = (await rig.incident()).next_step
    assert await rig.send(view, "escalate") == {}
    assert (await rig.incident()).next_step == step + 1
    again = await rig.send(view, "escalate")  # by somebody else, who has seen the same step
    assert again["errors"] == {"act": ENGLISH.say("slack_escalated")}
    for _ in range(2):  # Slack may send it twice
        assert await rig.send(view, "note", text="restarting the pods") == {}
    stored = await rig.store.incident(1)
    assert stored is not None
    assert [entry.data.text for entry in stored[1] if entry.kind is EntryKind.NOTED] == ["restarting the pods"]


@pytest.mark.parametrize(
    ("act", "fields", "wrong"),
    [
        ("note", {"text": "  "}, {"text": "slack_missing"}),
        ("note", {}, {"act": "slack_missing"}),  # the field is not shown yet
        ("handover", {"whom": ""}, {"whom": "slack_missing"}),
        ("handover", {"whom": "person:nobody"}, {"whom": "console_said_nobody"}),
        ("attach", {"to": "1"}, {"to": "console_said_not_attachable"}),
        ("attach", {"to": "the other one"}, {"to": "console_said_not_attachable"}),
        ("snooze", {"until": {"selected_date_time": 1_000_000_000}}, {"until": "console_said_out_of_bounds"}),
        ("dance", {}, {"act": "slack_unknown"}),
    ],
)
async def test_what_is_wrong_stands_below_its_field(
    rig: Rig, act: str, fields: dict[str, Any], wrong: dict[str, str]
) -> None:
    answer = await rig.send(await rig.form(), act, **fields)
    assert answer == {"response_action": "errors", "errors": {at: ENGLISH.say(key) for at, key in wrong.items()}}


async def test_a_form_of_a_resolved_incident_takes_a_note_and_nothing_else(rig: Rig) -> None:
    view = await rig.form("handover")
    await rig.store.apply(1, deciding(Resolve("linh", Origin.API), rig.clock.now), rig.clock.now)
    answer = await rig.send(view, "handover", whom="person:marek")
    assert answer["errors"] == {"whom": ENGLISH.say("slack_resolved", number=1)}
    assert [one["value"] for one in (await rig.form())["blocks"][1]["element"]["options"]] == ["note"]


async def test_a_form_that_slack_does_not_open_is_told(rig: Rig) -> None:
    rig.slack.errors = ["expired_trigger_id"]
    await rig.press("more", value=await rig.button())
    assert await rig.reply() == ENGLISH.say("slack_no_form")


async def test_two_who_press_at_once_are_the_owner_and_somebody_who_helps(rig: Rig) -> None:
    rig.slack.users[MAREK] = {"profile": {"email": "marek@example.com"}}
    button = await rig.button()
    await asyncio.gather(*(rig.press("acknowledge", user, value=button) for user in (LINH, MAREK)))
    owner = (await rig.incident()).acknowledged_by
    assert owner in {"linh", "marek"}
    assert await rig.reply() == ENGLISH.say(
        "slack_joined", who={"linh": "Linh Tran", "marek": "Marek"}[owner], number=1
    )


async def test_a_slow_store_is_told_and_the_answer_is_not_lost(rig: Rig) -> None:
    rig.store.gate.clear()
    handler = rig.made(soon=0.0)
    await rig.press("acknowledge", value=await rig.button(), handler=handler)
    assert await rig.reply() == ENGLISH.say("slack_slow")
    rig.store.gate.set()
    await rig.stands(lambda incident: incident.state is State.ACKNOWLEDGED)


async def test_a_form_is_answered_in_time_by_a_slow_store(rig: Rig) -> None:
    view = await rig.form("handover")
    rig.store.gate.clear()
    rig.handler = rig.made(soon=0.0)
    answer = await rig.send(view, "handover", whom="person:marek")
    assert answer["response_action"] == "update"
    assert ENGLISH.say("slack_slow") in json.dumps(answer["view"])
    rig.store.gate.set()
    await rig.stands(lambda incident: incident.asked is not None)


async def test_a_store_that_cannot_write_is_told(rig: Rig) -> None:
    rig.store.is_away = True
    await rig.press("acknowledge", value=await rig.button())
    assert await rig.reply() == ENGLISH.say("slack_store")
    answer = await rig.send(await rig.form(), "note", text="hello")
    assert answer["errors"] == {"act": ENGLISH.say("slack_store")}
    rig.url = ""  # nowhere to say so: Slack itself shows that it failed
    with pytest.raises(StoreOutageError):
        await rig.press("acknowledge", value=await rig.button())


# What others wrote


EVIL = "<!channel> & <@U1>"
SHOWN = "&lt;!channel&gt; &amp; &lt;@U1&gt;"


def interpreted(said: object) -> list[str]:
    """All texts in which Slack reads `<…>`."""
    if isinstance(said, list):
        return [text for one in said for text in interpreted(one)]
    if not isinstance(said, dict):
        return []
    own = [said["text"]] if isinstance(said.get("text"), str) and said.get("type") != "plain_text" else []
    return own + [text for value in said.values() for text in interpreted(value)]


async def test_nothing_that_others_wrote_means_anything_to_slack(rig: Rig) -> None:
    rig.slack.users[MAREK] = {"profile": {"email": "marek@example.com"}}
    routing = rig.current.routing
    people = {key: replace(person, name=f"{key} {EVIL}") for key, person in routing.people.items()}
    rig.current.exchange(replace(routing, people=people, teams={**routing.teams, EVIL: ()}))
    alert = replace(an_alert(EVIL, alertname=EVIL, team=EVIL, instance=EVIL), annotations={"summary": EVIL})
    event = received(alert)
    other = replace(event, group=replace(event.group, key="other"))
    await rig.store.update(other, rig.current.routing, rig.clock.now)
    again = replace(other.group, alerts=(replace(alert, starts_at=START + timedelta(seconds=1)),))
    said: dict[str, Any] = {}
    for command in (
        "who",
        "page",
        "page marek it is down",
        "snooze 1 2h",
        "cover 04:00-08:00 marek",
        "cover 09:00-10:00",
    ):
        said[command] = await rig.command(command)
    said["incidents"] = await rig.command("incidents")
    button = await rig.button(2)
    said["form"] = await rig.form(number=2)
    said["taken"] = await _replied(rig, "acknowledge", MAREK, value=await rig.button())
    said["snoozed"] = await _replied(rig, "snooze", block_id=f"{button}|7", selected_option={"value": "60"})
    said["out of bounds"] = await _replied(rig, "snooze", block_id=f"{button}|8", selected_option={"value": "9999"})
    said["form of what is taken"] = await rig.form(number=2)
    asked = said["cover 09:00-10:00"]["blocks"][1]["elements"][0]
    said["accepted"] = await _replied(rig, asked["action_id"], MAREK, value=asked["value"])
    await rig.store.apply(2, deciding(Resolve("marek", Origin.API), rig.clock.now), rig.clock.now)
    said["over"] = await _replied(rig, "snooze", block_id=f"{button}|9", selected_option={"value": "60"})
    rig.clock.forward(seconds=1)
    await rig.store.update(replace(other, group=again), rig.current.routing, rig.clock.now)
    await rig.press("acknowledge", MAREK, value=await rig.button(2))
    said["fired again"] = await _replied(rig, "resolve", value=button)
    wrong = await rig.send(said["form"], "note", text="hello")  # of the time before; Slack shows it as it is
    assert EVIL in wrong["errors"]["text"]
    for what, one in said.items():
        for text in interpreted(one):
            assert "<" not in text.replace("<!date^", ""), what
    for what in (
        "who",
        "page",
        "page marek it is down",
        "snooze 1 2h",
        "incidents",
        "form",
        "fired again",
        "taken",
        "snoozed",
    ):
        assert SHOWN in json.dumps(interpreted(said[what])), what


async def _replied(rig: Rig, action: str, user: str = LINH, **field: Any) -> dict[str, Any]:  # noqa: ANN401  # JSON
    await rig.press(action, user, **field)
    await rig.until(lambda: bool(rig.told))
    return rig.told.pop()


# The command


async def test_the_command_says_who_is_on_call(rig: Rig) -> None:
    text = (await rig.command("who"))["text"]
    assert "*on-call engineer*: Linh Tran" in text
    assert "*tech lead*: Marek" in text


async def test_the_command_lists_what_is_open_with_a_button_each(rig: Rig) -> None:
    said = await rig.command("incidents")
    assert said["text"] == ENGLISH.say("slack_open_one")
    (row,) = said["blocks"]
    await rig.press("acknowledge", value=row["accessory"]["value"])
    assert (await rig.incident()).acknowledged_by == "linh"
    await rig.store.apply(1, deciding(Resolve("linh", Origin.API), rig.clock.now), rig.clock.now)
    assert (await rig.command("incidents"))["text"] == ENGLISH.say("console_quiet_now")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("", "slack_help"),
        ("help", "slack_help"),
        ("dance", "slack_help"),
        ("page", "slack_page_whom"),
        ("page somebody help", "slack_page_whom"),
        ("page <@U77NOBODY|x> help", "slack_page_whom"),
        ("page backend", "slack_page_text"),
        ("snooze", "slack_snooze_how"),
        ("snooze 1", "slack_snooze_how"),
        ("snooze 1 soon", "slack_snooze_how"),
        ("snooze 99 1h", "slack_no_incident"),
        ("snooze 1 25h", "console_said_out_of_bounds"),
        ("cover", "slack_cover_how"),
        ("cover tomorrow", "slack_cover_how"),
        ("cover 18:00 nobody", "slack_cover_how"),
        ("cover 25:00", "slack_cover_how"),
    ],
)
async def test_a_command_that_cannot_be_meant_says_how_it_is_written(rig: Rig, text: str, key: str) -> None:
    known = ", ".join(sorted(rig.current.routing.teams))
    expected = ENGLISH.say(key, command="/oncall", known=known, number=99)
    assert (await rig.command(text))["text"] == expected
    assert len(await rig.store.still_open()) == 1


@pytest.mark.parametrize(
    ("whom", "named"),
    [("backend", "team backend"), ("marek", "Marek"), (f"<@{LINH}|linh>", "Linh Tran"), ("Linh Tran", "Linh Tran")],
)
async def test_the_command_pages_a_person_or_a_team(rig: Rig, whom: str, named: str) -> None:
    said = await rig.command(f"page {whom} the shop is <!channel> down")
    assert said["text"] == ENGLISH.say("slack_paged", whom=named, number=2)
    incident = await rig.incident(2)
    assert (incident.title, incident.raised_by) == ("the shop is <!channel> down", "linh")


async def test_a_command_sent_twice_pages_once(rig: Rig) -> None:
    command = SlashCommand("/oncall", "page backend all is down", LINH, "someone", "T1", rig.url)
    for _ in range(2):
        await rig.handler.command(command)
    assert len(await rig.store.still_open()) == 2


async def test_the_command_snoozes(rig: Rig) -> None:
    await rig.command("snooze #1 2h")
    assert (await rig.incident()).snoozed_until == START + timedelta(hours=2)


async def test_a_cover_is_asked_where_all_read_it_and_the_first_has_it(rig: Rig) -> None:
    rig.slack.users[MAREK] = {"profile": {"email": "marek@example.com"}}
    said = await rig.command("cover 04:00-08:00")
    assert said["response_type"] == "in_channel"
    (button,) = said["blocks"][1]["elements"]
    await rig.press(button["action_id"], value=button["value"])
    assert await rig.reply() == ENGLISH.say("slack_cover_not_yours")
    await rig.press(button["action_id"], MAREK, value=button["value"])
    await rig.until(lambda: bool(rig.told))
    told = rig.told.pop()
    assert told["replace_original"] is True
    assert fault_of(told) == ""
    (cover,) = await rig.store.duty.covers(rig.clock.now)
    assert (cover.out, cover.person, cover.state) == ("linh", "marek", CoverState.ACTIVE)
    assert (cover.start, cover.end) == (START + timedelta(hours=1), START + timedelta(hours=5))
    await rig.press(button["action_id"], MAREK, value=button["value"])
    assert await rig.reply() == ENGLISH.say("slack_cover_yours")


async def test_times_of_a_cover_are_those_of_whoever_asks(rig: Rig) -> None:
    rig.slack.users[MAREK] = {"profile": {"email": "marek@example.com"}}
    await rig.command(f"cover 08:00 <@{LINH}|linh>", MAREK)
    (cover,) = await rig.store.duty.covers(rig.clock.now)
    assert (cover.person, cover.end.hour) == ("linh", 7)  # Berlin is an hour ahead


async def test_a_command_that_takes_long_is_answered_later(rig: Rig) -> None:
    rig.handler = rig.made(soon=0.0)
    assert await rig.command("incidents") == {}
    assert {await rig.reply(), await rig.reply()} == {ENGLISH.say("slack_slow"), ENGLISH.say("slack_open_one")}
