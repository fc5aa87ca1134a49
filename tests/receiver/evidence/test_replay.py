"""Past incidents under another configuration: what stays as it was, and what is said of what would not."""

import json
from asyncio import to_thread
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from msgspec.structs import replace

from receiver.__main__ import main
from receiver.evidence.replay import (
    Comparing,
    Difference,
    Outcome,
    difference,
    in_words,
    recorded,
    replayed,
)
from receiver.incident.delivery import Handling
from receiver.incident.event import Acknowledge, AlertsReceived, Delivered, Event, Resolve, TimeDue
from receiver.incident.machine import transition
from receiver.incident.model import AlertGroup, Origin, Plan, Priority
from receiver.messages.i18n import Reader
from receiver.policy.routing import Routing
from receiver.store.base import Decide, SentPage
from receiver.store.sql.store import SQLStore
from receiver.store.sqlite.history import SQLiteHistory
from tests.receiver.channels.test_registry import written
from tests.receiver.example_site import MINUTE, START, Clock, a_store, an_alert, steps, the_routing

DAY = timedelta(days=1)
ENGLISH = Reader()


class Site:
    """A real store, with a dispatcher that delivers everything at once and an escalator that looks each minute."""

    def __init__(self, store: SQLStore, routing: Routing) -> None:
        self.store, self.clock = store, Clock()
        self.policy = replace(routing, running_since=START)

    def deciding(self, event: Event) -> Decide:
        return lambda incident: transition(incident, event, self.policy, self.clock.now)

    async def apply(self, number: int, event: Event) -> None:
        await self.store.apply(number, self.deciding(event), self.clock.now)
        await self.send()

    async def send(self) -> None:
        for channel in ("pagerduty", "email", "slack"):
            while claims := await self.store.claim(channel, self.clock.now, 60, 50):
                for claimed in claims:
                    page = claimed.notification
                    decide = self.deciding(Delivered(page.round, page.target.person))
                    await self.store.settle(claimed, "r", decide, self.clock.now)

    async def fire(self, key: str, *, firing: bool = True, severity: str = "critical") -> int:
        alert = an_alert(key, starts_at=self.clock.now, severity=severity)
        alert = alert if firing else replace(alert, firing=False, starts_at=START, ends_at=self.clock.now)
        incident = await self.store.update(AlertsReceived(AlertGroup(key, (alert,))), self.policy, self.clock.now)
        assert incident is not None
        await self.send()
        return incident.id

    async def wait(self, minutes: int) -> None:
        for _ in range(minutes):
            self.clock.forward(minutes=1)
            for number in await self.store.due(self.clock.now):
                await self.apply(number, TimeDue())
            await self.send()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    store = await a_store(tmp_path, Clock())
    yield Site(store, the_routing())
    await store.close()


async def a_past(site: Site) -> None:
    """Three incidents: escalated and acknowledged, ended by itself, resolved by hand."""
    one = await site.fire("a")
    await site.wait(20)
    await site.apply(one, Acknowledge("marek", Origin.LINK))
    await site.wait(30)
    await site.fire("a", firing=False)
    await site.wait(10)
    await site.fire("b", severity="warning")
    await site.wait(45)
    await site.fire("b", firing=False, severity="warning")
    await site.wait(30)
    two = await site.fire("c", severity="info")
    await site.wait(70)
    await site.apply(two, Resolve("linh", Origin.API))


async def outcomes(folder: Path, routing: Routing) -> list[tuple[Outcome, Outcome]]:
    store = SQLiteHistory(folder / "receiver.sqlite3")
    found = []
    async for history in store.opened_between(START - DAY, START + DAY):
        stored = await store.incident(history.incident.id)
        assert stored is not None
        after = replayed(history, stored[1], routing, lambda _channel: Handling(), START + DAY)
        assert after is not None
        found.append((recorded(history), after))
    await store.close()
    return found


@pytest.mark.sqlite("the command is given its file")
async def test_the_same_configuration_gives_what_was_recorded(site: Site, tmp_path: Path) -> None:
    await a_past(site)
    pairs = await outcomes(tmp_path, the_routing())
    assert len(pairs) == 3
    for before, after in pairs:
        assert [page.person for page in after.pages] == [page.person for page in before.pages]
        assert difference(before, after) is None
        assert after.breached == before.breached
    comparing = Comparing(lambda _at, _person: True)
    for pair in pairs:
        comparing.add(*pair)
    assert in_words(comparing.result(), ENGLISH) == ["Every incident pages the same people, at the same time."]


def edited() -> Routing:
    """P1 begins ten minutes later, and P2 only after 50: the one here was over by then."""
    routing = the_routing()
    plans = {**routing.plans}
    plans[Priority.P1] = Plan(steps((10, "on-call-engineer"), (25, "tech-lead"), (35, "cto")), 900.0)
    plans[Priority.P2] = Plan(steps((50, "on-call-engineer")), 1800.0)
    return replace(routing, plans=plans)


@pytest.mark.sqlite("the command is given its file")
async def test_another_configuration_is_told_apart_in_a_few_sentences(site: Site, tmp_path: Path) -> None:
    await a_past(site)
    comparing = Comparing(lambda at, _person: at < START + timedelta(hours=2))
    for pair in await outcomes(tmp_path, edited()):
        comparing.add(*pair)
    compared = comparing.result()
    words = in_words(compared, ENGLISH)
    assert words[:2] == ["1 P1 later by 10m", "1 P2 pages nobody any more"]
    assert any(line.endswith(f"night pages ({compared.night_pages[0]} → {compared.night_pages[1]})") for line in words)
    assert [one.what for one in compared.differences] == ["later", "gone"]
    assert in_words(compared, Reader("de"))[0] == "1 P1 um 10 min später"


@pytest.mark.sqlite("the command is given its file")
async def test_who_acknowledged_does_so_as_long_after_their_first_page(site: Site, tmp_path: Path) -> None:
    await a_past(site)
    late = await outcomes(tmp_path, edited())
    before, after = late[0]
    # Marek answered five minutes after his page at 15 min; now he is paged at 25 min, so nobody is at 35.
    assert [page.person for page in after.pages] == ["linh", "marek"]
    assert max(page.at for page in after.pages) - START == 25 * MINUTE
    assert before.first == START


def outcome(*pages: tuple[float, str], number: int = 1, priority: str = "P2") -> Outcome:
    sent = tuple(SentPage(START + timedelta(seconds=at), person) for at, person in pages)
    return Outcome(number, "Disk", priority, sent, breached=False)


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        (outcome(), outcome(), None),
        (outcome((0, "a")), outcome((30, "a")), None),
        (outcome((0, "a")), outcome((0, "b")), "who"),
        (outcome((0, "a")), outcome(), "gone"),
        (outcome(), outcome((0, "a")), "new"),
        (outcome((0, "a")), outcome((60, "a")), "later"),
        (outcome((60, "a")), outcome((0, "a")), "earlier"),
    ],
)
def test_a_difference_is_about_the_first_page_and_who_gets_one(
    before: Outcome, after: Outcome, what: str | None
) -> None:
    found = difference(before, after)
    assert (found.what if isinstance(found, Difference) else None) == what


def test_thousands_of_differences_are_counted_and_the_most_important_are_listed() -> None:
    comparing = Comparing(lambda _at, _person: False)
    for number in range(2000):
        comparing.add(outcome((0, "a"), number=number), outcome((60 + number, "a"), number=number))
    comparing.add(outcome((0, "a")), None)
    compared = comparing.result()
    assert (compared.incidents, compared.left_out, len(compared.differences)) == (2000, 1, 50)
    assert in_words(compared, ENGLISH)[0] == "2000 P2 later by up to 34m"
    assert compared.differences[0].number == 1999


@pytest.mark.sqlite("the command is given its file")
async def test_the_command_compares_with_the_record_or_with_another_file(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await a_past(site)
    monkeypatch.setattr("receiver.__main__.now", lambda: START + DAY)
    base = written(tmp_path, {})
    matrix = [{"after": "12m", **dict.fromkeys(("P1", "P2", "P3", "P4"), "engineer")}]
    settings = yaml.safe_load(base.read_text("utf-8")) | {"escalation_matrix": matrix}
    other = tmp_path / "new.yml"
    other.write_text(yaml.safe_dump(settings), "utf-8")
    words = ["--config.file", str(other), "--database", str(tmp_path / "receiver.sqlite3"), "--days", "2"]

    def run(*more: str) -> int:
        return main(["replay", *words, *more])

    assert await to_thread(run, "--against", str(base)) == 0
    out = capsys.readouterr().out
    assert "3 incidents of 2 days replayed" in out
    assert "- 1 P1 later by 12m" in out
    assert await to_thread(run, "--format=json") == 0
    assert json.loads(capsys.readouterr().out)["incidents"] == 3
    assert await to_thread(run, "--days=0") == 1


@pytest.mark.sqlite("the command is given its file")
async def test_an_incident_that_fired_again_is_replayed_with_that(site: Site, tmp_path: Path) -> None:
    await site.fire("a")
    await site.wait(5)
    await site.fire("a", firing=False)
    await site.wait(3)
    await site.fire("a")
    await site.wait(20)
    await site.fire("a", firing=False)
    await site.wait(30)
    ((before, after),) = await outcomes(tmp_path, the_routing())
    assert [page.person for page in before.pages] == ["linh", "linh", "marek"]
    assert sorted(after.pages, key=lambda page: page.at) == sorted(before.pages, key=lambda page: page.at)
