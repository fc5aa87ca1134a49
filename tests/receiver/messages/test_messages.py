"""Bundles, languages, times, templates of one's own, and the parts of a message that only some incidents have."""

import string
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from receiver.channels.base import Message
from receiver.incident.event import Acknowledge, Paused, TimeDue
from receiver.incident.model import Incident, Kind, Notification, Pause, Target
from receiver.messages.digest import render_bundle
from receiver.messages.i18n import Voice, languages, one_line, words
from receiver.messages.render import render
from receiver.messages.templating import Templates
from tests.receiver.given import P1, P2, START, Case, an_alert, labelled, received

LINK = "https://oncall.example.com/answer/abc.def"
TEAM = Target("slack", "#alerts", "slack:#alerts")


def shown(case: Case, notification: Notification, language: str = "en", zone: str = "UTC") -> Message:
    return render(
        notification,
        case.incident,
        (),
        delivery_id="7",
        thread="",
        link=LINK,
        now=case.clock.now,
        voice=Voice(language, zone),
    )


def test_a_reminder_says_what_is_late_and_what_to_do() -> None:
    case = Case()
    case.when(received(an_alert(instance="app-1", severity="warning")))
    case.clock.forward(minutes=30)
    reminder = next(n for n in case.when(TimeDue()) if n.kind is Kind.REMINDER)
    message = shown(case, reminder)
    assert message.headline == (
        "Nobody has answered within the 30 minutes of a P2: P2 #1 HighErrorRate: High error rate detected"
    )
    assert message.text.startswith(
        "12% of requests fail.\n"
        "  instance=app-1\n"
        "\n"
        "Acknowledge or resolve now:\n"
        "https://oncall.example.com/answer/abc.def\n"
    )
    assert ("Answer by", "03:30 UTC (passed)") in message.fields


def test_an_update_says_the_news_first() -> None:
    case = Case()
    case.when(received(an_alert(instance="app-1")))
    (update, *_) = case.when(Paused(Pause("silence", "8f1c", "Linh", START + timedelta(hours=2))))
    message = shown(case, update)
    assert message.headline.startswith("Paused by silence 8f1c by Linh until 2026-11-23 05:00 UTC: P1 #1 ")
    assert message.text.startswith(
        "Paused by silence 8f1c by Linh until 2026-11-23 05:00 UTC.\n\n12% of requests fail."
    )
    assert "If nobody answers" not in message.text


def test_a_drill_is_marked_wherever_it_is_read() -> None:
    case = Case()
    owed = case.when(received(an_alert(drill="true")))
    message = shown(case, owed[0])
    assert case.incident.drill
    assert message.headline.startswith("DRILL P1 #1 ")
    assert message.subject.startswith("DRILL [P1] #1 ")
    assert message.text.startswith("This is an exercise.")
    assert "This is an exercise." in message.html


@pytest.mark.parametrize("language", languages())
def test_every_language_says_everything_with_the_same_names(language: str) -> None:
    english, other = words("en"), words(language)
    assert set(other) == set(english)
    for key, text in english.items():
        names = {name for _, name, _, _ in string.Formatter().parse(text) if name}
        assert {name for _, name, _, _ in string.Formatter().parse(other[key]) if name} == names, key


@pytest.mark.parametrize("language", languages())
@pytest.mark.parametrize("kind", list(Kind))
def test_every_language_writes_every_kind(language: str, kind: Kind) -> None:
    case = Case()
    case.when(received(an_alert(drill="true")))
    case.when(Acknowledge("Linh", "link"))
    message = shown(case, Notification(kind, TEAM, 2, text="news"), language)
    assert "{" not in message.text
    assert f'lang="{language}"' in message.html


def test_german_reads_as_german_and_the_clock_is_the_readers() -> None:
    case = Case()
    owed = case.when(received(an_alert(instance="app-1")))
    page = next(n for n in owed if n.target.channel == "email")
    message = shown(case, page, "de", "Asia/Ho_Chi_Minh")
    assert message.text == (
        "12% of requests fail.\n"
        "  instance=app-1\n"
        "\n"
        "Übernehmen oder beheben bis 10:15 (03:15 UTC):\n"
        "https://oncall.example.com/answer/abc.def\n"
        "\n"
        "Aktiv seit 2026-11-23 10:00 (03:00 UTC). P1, Team backend: Antwort binnen 15m.\n"
        "Sie werden gerufen als on-call engineer.\n"
        "Antwortet niemand, dann als Nächstes: tech lead um 10:15 (03:15 UTC)."
    )


def incidents(count: int, **labels: str) -> list[tuple[Notification, Incident]]:
    found = []
    for number in range(1, count + 1):
        case = Case()
        case.when(received(labelled(an_alert(severity="warning", instance=f"app-{number}"), **labels)))
        case.incident = msgspec.structs.replace(case.incident, id=number)
        found.append((Notification(Kind.PAGE, TEAM, 1), case.incident))
    return found


def bundled(
    items: list[tuple[Notification, Incident]], language: str = "en", templates: Templates | None = None
) -> Message:
    return render_bundle(
        items,
        delivery_id="9",
        link_of=lambda incident: f"https://oncall.example.com/answer/{incident.id}",
        now=START + timedelta(minutes=3),
        voice=Voice(language),
        templates=templates or Templates(),
    )


def test_a_bundle_says_how_many_how_bad_and_of_what_cause() -> None:
    items = incidents(37)
    items[20] = (items[20][0], msgspec.structs.replace(items[20][1], priority=P1))
    message = bundled(items)
    assert message.headline == "37 incidents, 1 of them P1: HighErrorRate"
    assert message.text.splitlines()[:6] == [
        "P1 #21 HighErrorRate: High error rate detected (3m)",
        "  instance=app-21",
        "  https://oncall.example.com/answer/21",
        "P2 #1 HighErrorRate: High error rate detected (3m)",
        "  instance=app-1",
        "  https://oncall.example.com/answer/1",
    ]
    assert message.text.endswith("and 27 more")
    assert (message.priority, message.severity) == ("P1", "critical")
    assert message.fields == (("P1", "1"), ("P2", "36"))
    assert bundled(incidents(3), "de").headline == "3 Vorfälle: HighErrorRate"


def test_a_bundle_of_various_causes_names_what_they_share() -> None:
    mixed = incidents(2, alertname="A") + incidents(2, alertname="B")
    assert bundled(mixed).headline == "2 incidents: backend"
    scattered = [(n, msgspec.structs.replace(i, team=f"t{i.id}", labels={})) for n, i in incidents(3)]
    assert bundled(scattered).headline == "3 incidents: various alerts"


@pytest.mark.parametrize("kind", list(Kind))
def test_a_bundle_is_of_one_kind_and_says_which(kind: Kind) -> None:
    items = [(msgspec.structs.replace(n, kind=kind, text="rises to P2"), i) for n, i in incidents(3)]
    message = bundled(items)
    assert message.kind is kind
    assert "3 incidents" in message.headline


def one(templates: Templates) -> Message:
    case = Case()
    (page, *_) = case.when(received(an_alert()))
    given = {"delivery_id": "1", "thread": "", "link": LINK, "now": START}
    return render(page, case.incident, (), **given, templates=templates)  # type: ignore[arg-type]


def test_a_template_of_the_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / "message.txt").write_text("{{ priority }}! {{ alert.what }} {{ links[0].url }}", "utf-8")
    message = one(Templates(tmp_path))
    assert message.text == f"P1! 12% of requests fail. {LINK}"
    assert "<h1" in message.html  # what is not there is built in


@pytest.mark.parametrize(
    "text",
    [
        "{{ nothing_of_that_name }}",
        "{% if %}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ say.__globals__ }}",
        "{% for a in range(10000000) %}x{% endfor %}",
        "{% for a in range(999) %}" + "x" * 300 + "{% endfor %}",
        "{{ 1 / 0 }}",
        "   ",
        "{% include 'message.txt' %}",
    ],
)
def test_a_template_that_fails_costs_no_page_and_says_so(tmp_path: Path, text: str) -> None:
    (tmp_path / "message.txt").write_text(text, "utf-8")
    failed: list[str] = []
    message = one(Templates(tmp_path, failed.append))
    assert failed == ["message.txt"]
    assert message.text.startswith("12% of requests fail.")
    assert "The template message.txt failed (" in message.text
    assert "this is the built-in text." in message.text


def test_what_turns_or_hides_writing_is_taken_out() -> None:
    assert one_line("user\u202egnp.exe \u2066x\u2069 a\u200bb \ufeffc", 100) == "user gnp.exe x a b c"
    assert one_line("👩\u200d💻 works", 100) == "👩\u200d💻 works"


def test_priorities_are_ordered_as_people_read_them() -> None:
    assert P1.value < P2.value
