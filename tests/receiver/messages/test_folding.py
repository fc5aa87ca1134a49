"""What was sent of one page is one line of the timeline that people read."""

from datetime import timedelta

from receiver.incident.model import Data, Entry, EntryKind, Kind
from receiver.messages.i18n import Reader
from receiver.messages.timeline import folded, group_text
from tests.receiver.example_site import START

ENGLISH = Reader("en")


def sent(person: str, channel: str, kind: Kind = Kind.PAGE, address: str = "") -> Entry:
    return Entry(START, EntryKind.TOLD, Data(notification=kind, channel=channel, person=person, address=address))


def at(kind: EntryKind) -> Entry:
    return Entry(START + timedelta(seconds=1), kind, Data(people=()))


def shape(*timeline: Entry) -> list[int]:
    return [len(group) for group in folded(timeline)]


def test_the_ways_of_one_page_are_one_line_and_those_of_the_next_another() -> None:
    page = (sent("Linh", "pagerduty"), sent("Linh", "email"), sent("", "slack", address="#alerts"))
    assert shape(at(EntryKind.PAGED), *page, at(EntryKind.PAGED), *page) == [1, 3, 1, 3]
    reminder = sent("Linh", "email", Kind.REMINDER)
    assert shape(at(EntryKind.PAGED), page[0], reminder, page[1], reminder) == [1, 2, 2]


def test_what_failed_stays_a_line_of_its_own() -> None:
    timeline = (sent("Linh", "email"), at(EntryKind.DEAD), at(EntryKind.FALLBACK), sent("Linh", "slack"))
    assert shape(*timeline) == [2, 1, 1]


def test_a_line_of_an_older_receiver_is_not_folded() -> None:
    old = Entry(START, EntryKind.TOLD, text="page sent to Linh")
    assert shape(old, old) == [1, 1]


def test_a_folded_line_names_everybody_once_with_every_way() -> None:
    text = group_text([sent("Linh", "email"), sent("Linh", "slack"), sent("", "slack", address="#alerts")], ENGLISH)
    assert text.count("Linh") == 1
    assert "#alerts" in text
    assert {ENGLISH.name("channel", "email"), ENGLISH.name("channel", "slack")} <= set(
        text.replace("(", " ").replace(")", " ").replace(",", " ").split()
    )
