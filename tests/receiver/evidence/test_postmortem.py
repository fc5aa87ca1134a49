"""The draft of a post-mortem: what it says, in both languages, and that nothing in it becomes a mark or a link."""

import re
from asyncio import to_thread
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from receiver.__main__ import main
from receiver.evidence.chart import Deployment
from receiver.evidence.markdown import plain, table
from receiver.evidence.postmortem import Material, postmortem
from receiver.evidence.similar import Similar
from receiver.incident.event import Acknowledge, Resolve
from receiver.incident.model import Data, Entry, EntryKind, Failure, Incident, Kind, Origin, State
from receiver.messages.i18n import Reader
from receiver.policy.simulate import Simulation, Story
from receiver.store.base import PastIncident
from tests.receiver.channels.test_registry import written
from tests.receiver.example_site import (
    MINUTE,
    START,
    Clock,
    a_store,
    an_alert,
    deciding,
    received,
    the_policy,
    the_routing,
)

NAME_OF = the_routing().directory.name
ENGLISH, GERMAN = Reader(name_of=NAME_OF), Reader("de", "Europe/Berlin", NAME_OF)
BAD = "<img src=x onerror=alert(1)> [a](javascript:b) | `c` *d*\n# e"


def story() -> Story:
    simulation = Simulation(the_routing(), START)
    simulation.play(START, received(an_alert("a", instance="web-1"), an_alert("b", instance="web-2")))
    simulation.play(START + 16 * MINUTE, Acknowledge("linh", Origin.LINK))
    simulation.play(START + 40 * MINUTE, Resolve("linh", Origin.API))
    return simulation.story()


def material() -> Material:
    told = story()
    page = Data(notification=Kind.PAGE, channel="pagerduty", address="staff", person="linh")
    sent = (
        Entry(START + timedelta(seconds=1), EntryKind.TOLD, page),
        Entry(START + MINUTE, EntryKind.DEAD, replace(page, channel="email", failure=Failure.TIMEOUT)),
    )
    past = PastIncident(3, State.RESOLVED, title="High error rate", opened_at=START, resolved_at=START + 5 * MINUTE)
    ended = Entry(START, EntryKind.RESOLVED_BY_HAND, Data(origin=Origin.API), "linh")
    return Material(
        told.incident,
        tuple(sorted((*told.timeline, *sent), key=lambda entry: entry.at)),
        similar=(Similar(past, 3, (ended,)),),
        deployments=(Deployment(START - 18 * MINUTE, "job=shop"),),
        chart="https://oncall.example.com/incidents/1/chart.png",
        page="https://oncall.example.com/incidents/1",
    )


def section(text: str, heading: str) -> str:
    return text.partition(f"## {heading}\n")[2].partition("\n## ")[0]


def test_a_draft_has_all_that_is_known_and_leaves_the_rest_to_people() -> None:
    text = postmortem(material(), ENGLISH, START + timedelta(hours=1))
    assert text.startswith("# Post-mortem: P1 HighErrorRate on 2 hosts (web-1, web-2)\n")
    assert "was open for 40m" in section(text, "Summary")
    assert "Linh acknowledged it after 16m." in section(text, "Summary")
    assert "P1: nobody acknowledged within 15m." in section(text, "Impact")
    times = re.findall(r"^\| ([^|]+) \| 2026-11-23 ([0-9:]+)", section(text, "Times"), re.MULTILINE)
    assert times == [
        ("The first alert began to fire", "03:00:00"),
        ("Opened", "03:00:00"),
        ("The first page was sent", "03:00:01"),
        ("The response time was breached", "03:15:00"),
        ("Acknowledged", "03:16:00"),
        ("Resolved", "03:40:00"),
    ]
    assert "- 2026-11-23 02:42:00 job=shop" in section(text, "Times")
    assert "![Chart](https://oncall.example.com/incidents/1/chart.png)" in section(text, "Chart")
    assert "- Linh: paged as on-call engineer, acknowledged, resolved" in section(text, "People")
    assert "| Page | Linh | PagerDuty | sent |" in section(text, "What was sent")
    assert "| Page | Linh | email |" in section(text, "What was sent")
    assert "- After 15m: tech lead" in section(text, "What the policy did")
    assert "#3 High error rate (2026-11-23 03:00:00, 5m): " in section(text, "Similar incidents")
    assert section(text, "Actions").strip().endswith("|  |  |  |")


def test_it_is_in_the_language_and_zone_of_the_reader() -> None:
    text = postmortem(material(), GERMAN, START)
    assert text.startswith("# Nachbetrachtung: P1")
    assert "04:16:00" in section(text, "Zeiten")


def test_an_open_incident_without_anything_else_has_a_draft() -> None:
    text = postmortem(Material(Incident(1, "k", State.TRIGGERED, opened_at=START), ()), ENGLISH, START + MINUTE)
    assert "has been open for 1m" in text
    assert "Nobody acknowledged it." in text
    assert section(text, "Similar incidents").strip() == "None."


def test_nothing_that_an_alert_says_becomes_a_mark() -> None:
    known = material()
    alert = replace(an_alert(), labels={"alertname": BAD, "instance": BAD})
    incident = replace(known.incident, title=BAD, team=BAD, alerts={"a": alert})
    text = postmortem(replace(known, incident=incident, deployments=(Deployment(START, BAD),)), ENGLISH, START)
    assert not re.search(r"(?<!\\)<img", text)
    assert not re.search(r"(?<!\\)\]\(javascript", text)
    assert [line for line in text.splitlines() if line.startswith("# ")] == [text.splitlines()[0]]


@given(st.text(max_size=200))
def test_what_is_escaped_is_one_line_without_marks(text: str) -> None:
    shown = plain(text)
    assert len(shown.splitlines()) <= 1
    assert not re.search(r"(?<!\\)(?:\\\\)*[`*_\[\]|<>~]", shown)
    assert not re.match(r"(#+|-|\+|=+|\d+[.)])( |$)", shown)


@pytest.mark.parametrize(
    "text",
    ["https://example.com/x", "ftp://example.com", "www.example.com", "a@example.com", "mailto:a", "WWW.example.com"],
)
def test_no_address_becomes_a_link(text: str) -> None:
    """As GitHub and GitLab make of bare ones: github.github.com/gfm/#autolinks-extension-."""
    shown = plain(f"see {text} and {text}")
    assert not re.search(r"://|www\.|(?<!\\)@|mailto:", shown, re.IGNORECASE)
    assert shown.replace("\\", "") == f"see {text} and {text}"
    assert plain("&lt;b&gt; & co, &#91;") == r"\&lt;b\&gt; & co, \&#91;"


def test_a_table_keeps_its_columns() -> None:
    assert table(["a", "b"], [("1|2", "3")]) == ["| a | b |", "| --- | --- |", "| 1\\|2 | 3 |"]


async def a_database(folder: Path) -> None:
    clock = Clock()
    store = await a_store(folder, clock)
    for _ in range(2):
        incident = await store.update(received(an_alert(starts_at=clock.now)), the_policy(), clock.now)
        assert incident is not None
        clock.forward(minutes=30)
        await store.apply(incident.id, deciding(Resolve("linh", Origin.API), clock.now), clock.now)
        clock.forward(hours=1)
    await store.close()


@pytest.mark.sqlite("the command is given its file")
async def test_the_command_reads_the_database_beside_the_receiver(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await a_database(tmp_path)
    config = str(written(tmp_path, {}))
    words = ["--config.file", config, "--database", str(tmp_path / "receiver.sqlite3")]

    def run(*more: str) -> int:
        return main(["postmortem", *more, *words])

    assert await to_thread(run, "2", "--language=de") == 0
    out = capsys.readouterr().out
    assert "https://oncall.example.com/incidents/2/chart.png" in out
    assert await to_thread(run, "9") == 1
    assert "no incident 9" in capsys.readouterr().err
    assert await to_thread(run, "2", "--time-zone=Mars") == 1
    assert await to_thread(run, "2", "--output", str(tmp_path / "draft.md")) == 0
    assert (tmp_path / "draft.md").read_text("utf-8").startswith("# Post-mortem: P1")
