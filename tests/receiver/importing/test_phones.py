"""Phones of other tools: numbers that the channels `sms` and `call` take, and a service to fill in for all others."""

import pytest

from receiver.importing.draft import Report, known_way, phone_contacts, phone_number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("+4930123456", "+4930123456"),
        ("+49 (30) 123-456", "+4930123456"),
        ("4930123456", ""),
        ("+0301234567", ""),
        ("+49", ""),
        ("+49301234567890123", ""),
        ("+٤٩٣٠١٢٣٤٥٦", ""),
        ("tel:+4930123456", ""),
        ("", ""),
    ],
)
def test_only_a_number_with_its_country_code_is_one(text: str, number: str) -> None:
    assert phone_number(text) == number


def test_the_first_number_of_a_channel_counts_and_what_has_none_is_to_be_filled_in() -> None:
    report = Report()
    ways = [("call", "+4930123456"), ("call", "+4930999999"), ("sms", "30999999"), ("email", "a@b"), ("apprise", "")]
    contacts = phone_contacts(report, "Ana", "ana", ways)
    assert contacts == {"call": "+4930123456", "apprise": "ana-phone"}
    assert [line.why for line in report.lines()] == ["only the first of several numbers for call"]
    assert [known_way(one, contacts) for one in ("call", "sms", "email")] == ["call", "apprise", "email"]
