"""Bundles, languages, times, templates of one's own, and the parts of a message that only some incidents have."""

import html
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from receiver.channels.base import Message
from receiver.incident.event import Acknowledge, Paused, TimeDue
from receiver.incident.model import Incident, Kind, Notification, Origin, Pause, PauseKind, Reason, Target
from receiver.messages.digest import render_bundle
from receiver.messages.i18n import Reader, languages, one_line
from receiver.messages.render import render
from receiver.messages.templating import Failed, Templates
from tests.receiver.example_site import P1, P2, START, Case, an_alert, labelled, received

LINK = "https://oncall.example.com/answer/abc.def"
SAY = Reader().say
UNTIL = "05:00 UTC"
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
        reader=Reader(language, zone),
    )


def test_a_reminder_says_what_is_late_and_what_to_do() -> None:
    case = Case()
    case.when(received(an_alert(instance="app-1", severity="warning")))
    case.clock.forward(minutes=30)
    reminder = next(n for n in case.when(TimeDue()) if n.kind is Kind.REMINDER)
    message = shown(case, reminder)
    name = "P2 #1 HighErrorRate: High error rate detected"
    assert message.headline == SAY("update", text=SAY("news_breached", duration="30m"), name=name)
    assert SAY("now", what=SAY("answer")) in message.text
    assert (SAY("answer_by"), f"03:30 UTC{SAY('passed')}") in message.fields


def test_an_update_says_the_news_first() -> None:
    case = Case()
    case.when(received(an_alert(instance="app-1")))
    (update, *_) = case.when(Paused(Pause(PauseKind.SILENCE, "8f1c", "Linh", START + timedelta(hours=2))))
    message = shown(case, update)
    pause = SAY(
        "pause_silence", name="8f1c", comment="", by=SAY("by", who="Linh"), until=SAY("pause_until", time=UNTIL)
    )
    assert message.headline.startswith(f"{SAY('news_paused', pause=pause)}: P1 #1 ")
    assert message.text.startswith(f"{SAY('news_paused', pause=pause)}.\n\n12% of requests fail.")
    assert "tech lead" not in message.text  # nobody is next while it is paused


def test_a_drill_is_marked_wherever_it_is_read() -> None:
    case = Case()
    owed = case.when(received(an_alert(drill="true")))
    message = shown(case, owed[0])
    assert case.incident.drill
    assert message.headline.startswith(f"{SAY('drill')} P1 #1 ")
    assert message.subject.startswith(f"{SAY('drill')} [P1] #1 ")
    assert message.text.startswith(SAY("drill_note"))
    assert SAY("drill_note") in html.unescape(message.html)


@pytest.mark.parametrize("language", languages())
@pytest.mark.parametrize("kind", list(Kind))
def test_every_language_writes_every_kind(language: str, kind: Kind) -> None:
    case = Case()
    case.when(received(an_alert(drill="true")))
    case.when(Acknowledge("Linh", Origin.LINK))
    message = shown(case, Notification(kind, TEAM, 2, reason=Reason.PRIORITY_RAISED), language)
    assert "{" not in message.text
    assert f'lang="{language}"' in message.html


def incidents(count: int, **labels: str) -> list[tuple[Notification, Incident]]:
    pages = []
    for number in range(1, count + 1):
        case = Case()
        case.when(received(labelled(an_alert(severity="warning", instance=f"app-{number}"), **labels)))
        case.incident = msgspec.structs.replace(case.incident, id=number)
        pages.append((Notification(Kind.PAGE, TEAM, 1), case.incident))
    return pages


def bundled(
    items: list[tuple[Notification, Incident]], language: str = "en", templates: Templates | None = None
) -> Message:
    return render_bundle(
        items,
        delivery_id="9",
        link_of_all="https://oncall.example.com/answer/digest/x",
        link_of=lambda incident: f"https://oncall.example.com/answer/{incident.id}",
        now=START + timedelta(minutes=3),
        reader=Reader(language),
        templates=templates or Templates(),
    )


def test_a_bundle_says_how_many_how_bad_and_of_what_cause() -> None:
    items = incidents(37)
    items[20] = (items[20][0], msgspec.structs.replace(items[20][1], priority=P1))
    message = bundled(items)
    urgent = SAY("bundle_of", count=1, priority="P1")
    assert message.headline == SAY("bundle_page", count=37, urgent=urgent, common="HighErrorRate")
    assert message.text.splitlines()[:6] == [
        "P1 #21 HighErrorRate: High error rate detected (3m)",
        "  instance=app-21",
        "  https://oncall.example.com/answer/21",
        "P2 #1 HighErrorRate: High error rate detected (3m)",
        "  instance=app-1",
        "  https://oncall.example.com/answer/1",
    ]
    assert SAY("and_more", count=27) in message.text.splitlines()
    assert message.text.endswith("https://oncall.example.com/answer/digest/x")
    assert message.links[0].url == "https://oncall.example.com/answer/digest/x"
    assert (message.priority, message.severity) == ("P1", "critical")
    assert message.fields == (("P1", "1"), ("P2", "36"))


def test_a_bundle_of_various_causes_names_what_they_share() -> None:
    mixed = incidents(2, alertname="A") + incidents(2, alertname="B")
    assert bundled(mixed).headline == SAY("bundle_page", count=2, urgent="", common="backend")
    scattered = [(n, msgspec.structs.replace(i, team=f"t{i.id}", labels={})) for n, i in incidents(3)]
    various = SAY("bundle_page", count=3, urgent="", common=SAY("bundle_various"))
    assert bundled(scattered).headline == various


@pytest.mark.parametrize("kind", list(Kind))
def test_a_bundle_is_of_one_kind_and_says_which(kind: Kind) -> None:
    items = [(msgspec.structs.replace(n, kind=kind, reason=Reason.BREACHED), i) for n, i in incidents(3)]
    message = bundled(items)
    assert message.kind is kind
    assert message.headline == SAY(f"bundle_{kind.value}", count=3, urgent="", common="HighErrorRate")


def one(templates: Templates) -> Message:
    case = Case()
    (page, *_) = case.when(received(an_alert()))
    context = {"delivery_id": "1", "thread": "", "link": LINK, "now": START}
    return render(page, case.incident, (), **context, templates=templates)  # type: ignore[arg-type]


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
    failed: list[Failed] = []
    message = one(Templates(tmp_path, failed.append))
    assert [one.name for one in failed] == ["message.txt"]
    assert message.text.startswith("12% of requests fail.")
    assert message.text.splitlines()[-1].startswith(
        SAY("template_failed", template="message.txt", why="\n").split("\n")[0]
    )


def test_a_folder_that_cannot_be_read_costs_no_page(tmp_path: Path) -> None:
    failed: list[Failed] = []
    message = one(Templates(tmp_path / ("x" * 300), failed.append))  # a name that is too long, as a disk that is gone
    assert message.text.startswith("12% of requests fail.")
    assert "12% of requests fail." in message.html
    assert [one.name for one in failed] == ["message.txt", "message.html"]


def test_a_file_that_no_message_uses_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "handover.html").write_text("x", "utf-8")
    values: dict[str, object] = {"language": "en", "headline": "h", "sections": [], "url": "/", "say": SAY}
    assert "<h1" in Templates(tmp_path).write("handover.html", {**values, "product": "p"})


def test_html_is_written_for_a_reader_of_it_only(tmp_path: Path) -> None:
    (tmp_path / "message.html").write_text("{{ 1 / 0 }}", "utf-8")
    failed: list[Failed] = []
    message = one(Templates(tmp_path, failed.append))
    assert failed == []
    assert "12% of requests fail." in message.html
    assert [str(one) for one in failed] == [f"{tmp_path}/message.html:1: division by zero"]


def test_what_turns_or_hides_writing_is_taken_out() -> None:
    assert one_line("user\u202egnp.exe \u2066x\u2069 a\u200bb \ufeffc", 100) == "user gnp.exe x a b c"
    assert one_line("👩\u200d💻 works", 100) == "👩\u200d💻 works"


def test_priorities_are_ordered_as_people_read_them() -> None:
    assert P1.value < P2.value
