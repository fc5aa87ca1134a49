"""What people read of acts: who is asked is told what to press, a page by hand says who raised it, news is news."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from receiver.channels.base import Message
from receiver.incident.event import (
    Acknowledge,
    Attach,
    EscalateNow,
    Event,
    HandOver,
    Note,
    Raise,
    Snooze,
    Unacknowledge,
)
from receiver.incident.model import Kind, Origin
from receiver.messages.i18n import Reader
from receiver.messages.render import render
from tests.receiver.example_site import Case, an_alert, received, the_routing

CONSOLE = Origin.CONSOLE
ACK = Acknowledge("linh", CONSOLE)
NAME_OF = the_routing().directory.name


def told(case: Case, event: Event, person: str, kind: Kind = Kind.PAGE, language: str = "en") -> Message:
    """What one person gets by mail because of an event."""
    case.clock.forward(minutes=1)
    owed = case.when(event)
    (one, *_) = [n for n in owed if n.target.person == person and n.target.channel == "email" and n.kind is kind]
    return render(
        one,
        case.incident,
        tuple(case.timeline),
        delivery_id="1",
        thread="",
        link="https://oncall.example.com/a/x",
        now=case.clock.now,
        reader=Reader(language, name_of=NAME_OF),
    )


def a_case(*events: Event) -> Case:
    case = Case()
    case.when(received(an_alert()))
    for event in events:
        case.clock.forward(minutes=1)
        case.when(event)
    return case


def test_who_is_asked_reads_what_to_press_and_until_when() -> None:
    message = told(a_case(ACK), HandOver("linh", CONSOLE, person="marek"), "marek")
    assert message.headline.startswith("Linh asks you to take over: ")
    assert "Acknowledge to take over by 03:07 UTC:" in message.text
    assert "Acknowledge to take over by 03:07 UTC</a>" in message.html


def test_who_is_asked_and_no_more_reads_that_somebody_has_it() -> None:
    case = a_case(ACK)
    (page, *_) = case.when(HandOver("linh", CONSOLE, person="marek"))
    case.when(HandOver("linh", CONSOLE, person="aisha"))
    message = render(
        page,
        case.incident,
        (),
        delivery_id="1",
        thread="",
        link="https://x.example",
        now=case.clock.now,
        reader=Reader(),
    )
    assert "This incident is acknowledged." in message.text


def test_a_page_by_hand_says_who_has_raised_it_and_what_they_wrote() -> None:
    case = Case()
    message = told(case, Raise("aisha", CONSOLE, "the shop is <b>down</b>", person="peter"), "peter")
    assert message.headline == "Aisha needs you: P1 #1 the shop is <b>down</b>"
    assert "Raised by Aisha at 2026-11-23 03:01 UTC. P1, team default" in message.text
    assert "Firing since" not in message.text
    assert "Paged: Peter.\n" in message.text
    assert "<b>down" not in message.html


@pytest.mark.parametrize(
    ("event", "kind", "english", "german"),
    [
        (
            Snooze("linh", CONSOLE, Case().clock.now + timedelta(hours=2)),
            Kind.ACKNOWLEDGED,
            "Snoozed by Linh until 05:00 UTC",
            "Zurückgestellt von Linh bis 05:00 UTC",
        ),
        (Note("aisha", CONSOLE, "a pod", tell=True), Kind.UPDATE, "Note by Aisha: a pod", "Notiz von Aisha: a pod"),
        (
            Attach("linh", CONSOLE, 7, parent=replace(a_case().incident, id=7)),
            Kind.ACKNOWLEDGED,
            "Linh attached it to #7, which speaks for it now",
            "Linh hat an #7 angehängt, dort geht es weiter",
        ),
    ],
    ids=["snoozed", "noted", "attached"],
)
def test_news_of_acts(event: Event, kind: Kind, english: str, german: str) -> None:
    for language, text in (("en", english), ("de", german)):
        message = told(a_case(), event, "linh", kind, language)
        assert message.headline.startswith(f"{text}: ")
        assert f"{text}." in message.text
        assert text in message.html


def test_help_and_what_was_given_back_name_who_wants_it() -> None:
    case = a_case(ACK)
    assert told(case, EscalateNow("linh", CONSOLE), "marek").headline.startswith("Linh needs help, paging tech lead: ")
    case.clock.forward(minutes=5)
    assert told(case, Unacknowledge("marek", CONSOLE), "linh").headline.startswith("Marek gave it back, paging ")
