"""The report: its figures against a plain count, its reading of a real database, and its three forms."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.__main__ import main
from receiver.incident.event import Acknowledge, AlertsReceived, Delivered, TimeDue
from receiver.incident.model import Incident, Origin, Priority, State
from receiver.reports.incidents import page
from receiver.reports.incidents.statistics import Night, Report, Summary
from receiver.store.base import IncidentHistory, SentPage
from receiver.store.sqlite.history import SQLiteHistory
from tests.receiver.config.test_config import EXAMPLE
from tests.receiver.example_site import (
    START,
    Clock,
    a_store,
    an_alert,
    deciding,
    labelled,
    of_group,
    received,
    the_policy,
)

END = START + timedelta(days=30)


def fact(  # what a report counts
    number: int,
    *,
    alert: str = "HighErrorRate",
    priority: Priority = Priority.P1,
    team: str = "backend",
    opened_at: datetime = START,
    resolved_at: datetime | None = None,
    drill: bool = False,
    **counted: object,
) -> IncidentHistory:
    incident = Incident(
        id=number, key=str(number), state=State.RESOLVED if resolved_at else State.TRIGGERED, priority=priority,
        team=team, labels={"alertname": alert}, opened_at=opened_at, resolved_at=resolved_at, drill=drill,
    )  # fmt: skip
    return IncidentHistory(incident, **counted)  # type: ignore[arg-type]


def summarise(facts: list[IncidentHistory], start: datetime, end: datetime, night: Night) -> Report:
    summary = Summary(start, end, night)
    for one in facts:
        summary.add(one)
    return summary.report()


def never(_at: datetime, _person: str) -> bool:
    return False


def test_the_times_are_of_those_that_have_one() -> None:
    minute = timedelta(minutes=1)
    facts = [
        fact(1, acknowledged_at=START + 2 * minute, resolved_at=START + 10 * minute),
        fact(2, acknowledged_at=START + 4 * minute, resolved_at=START + 20 * minute, breached=True),
        fact(3, resolved_at=START + 30 * minute),  # over before anybody answered: it has no time to acknowledge
        fact(4, priority=Priority.P2),
        fact(5, drill=True),
    ]
    report = summarise(facts, START, END, never)
    urgent, other = report.by_priority
    assert (urgent.acknowledge.count, urgent.acknowledge.mean, urgent.acknowledge.worst) == (2, 180.0, 240.0)
    assert (urgent.resolve.count, urgent.resolve.mean, urgent.resolve.median) == (3, 1200.0, 1200.0)
    assert (other.acknowledge.mean, other.resolve.mean, other.incidents) == (None, None, 1)
    assert (report.incidents, report.still_open, report.breaches) == (4, 1, 1)


def test_a_page_at_night_is_counted_for_whoever_was_woken() -> None:
    pages = (SentPage(START, "Linh"), SentPage(START + timedelta(hours=9), "Linh"), SentPage(START, "Marek"))
    report = summarise([fact(1, pages=pages)], START, END, lambda at, person: at.hour < 7 and person == "Linh")
    assert report.pages == (("Linh", 2, 1), ("Marek", 1, 0))


@given(
    st.lists(
        st.tuples(st.sampled_from("ABC"), st.integers(-5, 40), st.integers(0, 500), st.sampled_from(Priority)),
        max_size=30,
    )
)
def test_nothing_is_lost_or_counted_twice(rows: list[tuple[str, int, int, Priority]]) -> None:
    facts = [
        fact(n, alert=name, priority=priority, team=name, opened_at=START + timedelta(days=day, minutes=minute))
        for n, (name, day, minute, priority) in enumerate(rows)
    ]
    report = summarise(facts, START, END, never)
    inside = [f for f in facts if START <= f.incident.opened_at < END]  # type: ignore[operator]
    assert report.incidents == len(inside)
    assert sum(row.incidents for row in report.by_priority) == len(inside)
    assert sum(row.incidents for row in report.by_team) == len(inside)
    assert sum(count for _, count, _ in report.noisiest) == len(inside)
    assert report.noisiest == tuple(sorted(report.noisiest, key=lambda row: (-row[1], row[0])))
    assert len(report.by_day) == 30


async def a_database(folder: Path) -> Path:
    """An incident that walked two steps, was answered and ended; a drill; and one that is open."""
    clock = Clock()
    store = await a_store(folder, clock)

    async def tell(number: int, event: object) -> None:
        await store.apply(number, deciding(event, clock.now), clock.now)  # type: ignore[arg-type]

    async def deliver() -> None:
        for channel in ("email", "slack", "pagerduty"):
            for claimed in await store.claim(channel, clock.now, 60, 50):
                told = Delivered(claimed.notification.round, claimed.notification.target.person)
                await store.settle(claimed, "", deciding(told, clock.now), clock.now)

    stories: list[tuple[str, dict[str, str]]] = [
        ("one", {}),
        ("drill", {"drill": "true"}),
        ("open", {"severity": "warning"}),
    ]
    for key, labels in stories:
        group = of_group(received(labelled(an_alert(key), **labels)), key)
        await store.update(AlertsReceived(group), the_policy(), clock.now)
    await deliver()
    clock.forward(minutes=15)
    await tell(1, TimeDue())
    await deliver()
    clock.forward(minutes=5)
    await tell(1, Acknowledge("marek", Origin.LINK))
    clock.forward(minutes=10)
    ended = of_group(received(an_alert("one", firing=False, ends_at=clock.now)), "one")
    await store.update(AlertsReceived(ended), the_policy(), clock.now)
    await store.close()
    return folder / "receiver.sqlite3"


@pytest.mark.sqlite("the command is given its file")
async def test_what_is_counted_comes_from_a_real_database(tmp_path: Path) -> None:
    store = SQLiteHistory(await a_database(tmp_path))
    facts = [one async for one in store.opened_between(START, END)]
    await store.close()
    assert [(f.incident.id, f.incident.priority, f.incident.team, f.breached, f.incident.drill) for f in facts] == [
        (1, "P1", "backend", True, False),
        (2, "P1", "backend", False, True),
        (3, "P2", "backend", False, False),
    ]
    first = facts[0]
    assert first.acknowledged_at == START + timedelta(minutes=20)
    assert first.incident.resolved_at == START + timedelta(minutes=30)
    assert first.pages == (SentPage(START, "linh"), SentPage(START + timedelta(minutes=15), "marek"))


@pytest.mark.sqlite("the command is given its file")
async def test_the_command_writes_all_three_forms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database = await a_database(tmp_path)
    command = ["report", "--config.file", str(EXAMPLE), "--database", str(database), "--until", "2026-12-01"]
    assert await asyncio.to_thread(main, command) == 0
    text = capsys.readouterr().out
    assert text.startswith(
        "# On-call report, 2026-11-01 to 2026-12-01 (UTC)\n\n2 incidents, 1 still open; 1 response time "
    )
    assert "| P1 | 1 | 20m | 20m | 20m | 30m | 30m | 30m | 1 |" in text
    assert "| Linh Tran | 2 | 2 |" in text
    assert await asyncio.to_thread(main, [*command, "--format=json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["by_priority"][0]["acknowledge"]["mean"] == 1200.0
    assert made["pages"][0] == ["linh", 2, 2]
    output = tmp_path / "report.html"
    assert await asyncio.to_thread(main, [*command, "--format=html", "--output", str(output)]) == 0
    shown = output.read_text("utf-8")
    assert "<svg" in shown
    assert "<script" not in shown
    assert "http" not in shown.replace("http://www.w3.org/", "")  # the name of SVG, and nothing to load


def test_what_an_alert_is_called_cannot_break_the_page() -> None:
    report = summarise([fact(1, alert="<script>|alert", team="a|b\nc")], START, END, never)
    assert "<script>" not in page.page(report)
    assert "\\|alert" in page.markdown(report)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--database", "none.sqlite3"], "no such database"),
        (["--database", __file__], "not a receiver's database"),
        (["--range", "soon"], "invalid duration 'soon'"),
        (["--range", "1h"], "at least 1d"),
        (["--until", "soon"], "--until"),
    ],
)
def test_a_wrong_question_is_one_line(options: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--config.file", str(EXAMPLE), *options]) == 1
    errors = capsys.readouterr().err
    assert says in errors
    assert errors.count("\n") == 1


def test_an_empty_time_is_a_report_too() -> None:
    report = summarise([], datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 8, tzinfo=UTC), never)
    assert "0 incidents" in page.markdown(report)
    assert "Nothing." in page.page(report)
