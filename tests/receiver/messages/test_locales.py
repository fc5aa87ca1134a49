"""The words themselves: every language has them all, and what the main messages say in English and in German."""

import re
import string
from datetime import timedelta
from enum import StrEnum
from itertools import chain
from pathlib import Path

import jinja2
import pytest

from receiver.channels.base import Message
from receiver.evidence.alert_query import Absent
from receiver.incident.event import Acknowledge, Event, TimeDue
from receiver.incident.model import (
    Data,
    Entry,
    EntryKind,
    Failure,
    Holder,
    Kind,
    Notification,
    Origin,
    Pause,
    PauseKind,
    Priority,
    Reason,
    State,
)
from receiver.messages.i18n import Reader, duration, languages, phrases, preferred
from receiver.messages.link import Refusal
from receiver.messages.render import render
from receiver.messages.timeline import entry_text, news
from receiver.policy.coverage import Uncovered
from receiver.web.access.oidc_flow import Reason as OidcReason
from tests.receiver.example_site import START, Case, an_alert, received, the_routing

NAME_OF = the_routing().directory.name
GERMAN, ENGLISH = Reader("de", "Asia/Ho_Chi_Minh", NAME_OF), Reader(name_of=NAME_OF)
FOLDER = Path("receiver/messages/templates")
TEMPLATES = sorted([*FOLDER.iterdir(), *Path("receiver/web").rglob("templates/*")])
PAGES = {
    Reason.OPENED,
    Reason.ESCALATED,
    Reason.UNREACHED,
    Reason.REPEATED,
    Reason.EXPIRED,
    Reason.REOPENED,
    Reason.NO_DRILL,
    *(Reason.SNOOZE_OVER, Reason.ASKED, Reason.ESCALATED_NOW, Reason.RAISED),
}
# The same in both languages: names of products and of Alertmanager's own things, and words that German has taken over.
SHARED = {
    *("team", "dashboard", "runbook", "role_cto", "origin_slack", "origin_pagerduty", "channel_pagerduty"),
    *(
        "origin_alertmanager",
        "channel_slack",
        "channel_sms",
        "origin_sms",
        "channel_apprise",
        "console_in",
        "console_page_status",
        "console_version",
        "slack_teams",
    ),
}
FULL = Data(
    priority=Priority.P1,
    before=Priority.P3,
    team="backend",
    title="HighErrorRate: too many errors",
    alert="HighErrorRate",
    where="app-1",
    count=2,
    total=3,
    named="sever",
    roles=("tech-lead",),
    people=(Holder("Linh Tran", "on-call-engineer"),),
    notification=Kind.PAGE,
    channel="email",
    address="#alerts",
    person="Linh Tran",
    channels=("slack",),
    failure=Failure.TIMEOUT,
    origin=Origin.API,
    due=START,
    seconds=900.0,
    pause=Pause(PauseKind.SILENCE, "8f1c", "Linh Tran", START, comment="deploying"),
    text="restarted the pods",
    act="snooze",
    incident=12,
)


def names(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("language", languages())
def test_every_language_has_the_same_keys_and_placeholders(language: str) -> None:
    english, other = phrases("en"), phrases(language)
    assert set(other) == set(english)
    for key, text in english.items():
        assert names(other[key]) == names(text), key


def test_german_is_translated() -> None:
    english, german = phrases("en"), phrases("de")
    words = {key: re.sub(r"{\w+}", "", text) for key, text in english.items()}
    same = {key for key, text in english.items() if german[key] == text and re.search("[a-zA-Z]", words[key])}
    assert same == SHARED


@pytest.mark.parametrize("language", languages())
@pytest.mark.parametrize(
    ("prefix", "values"),
    [
        ("entry", set(EntryKind) - {EntryKind.REMARK}),
        ("page", PAGES | {Reason.PRIORITY_RAISED, Reason.GIVEN_BACK, Reason.MOVED}),
        ("news", set(Reason) - PAGES | {Reason.REOPENED}),
        ("absent", set(Absent)),
        ("failure", set(Failure)),
        ("gap", set(Uncovered)),
        ("origin", set(Origin)),
        ("notification", set(Kind)),
        ("bundle", set(Kind)),
        ("state", set(State)),
        ("status", set(State) - {State.NEW}),
        ("refused", set(Refusal)),
        ("sign_in_oidc", set(OidcReason)),
    ],
)
def test_every_code_has_a_phrase(language: str, prefix: str, values: set[StrEnum]) -> None:
    assert {f"{prefix}_{value.value}" for value in values} <= set(phrases(language))
    assert {f"pause_{kind.name.lower()}" for kind in PauseKind} <= set(phrases(language))


def test_no_phrase_is_left_over() -> None:
    """A key that nothing says is a phrase that translators keep for nobody."""
    code = "".join(path.read_text("utf-8") for path in chain(Path("receiver").rglob("*.py"), TEMPLATES))
    built = re.compile(
        "(entry|page|news|failure|origin|notification|bundle|state|status|refused|pause|role|channel|unit|places|gap|absent|replay|handover|act|sign_in_oidc)_|.*_one$|console_(page|key|kind)_"
    )
    said = set(re.findall(r"[\"']([a-z0-9_]+)[\"']", code))
    assert not [key for key in phrases("en") if not built.match(key) and key not in said]


@pytest.mark.parametrize("reader", [ENGLISH, GERMAN], ids=["en", "de"])
@pytest.mark.parametrize("kind", sorted(set(EntryKind) - {EntryKind.REMARK}))
def test_every_entry_is_written_from_its_data(kind: EntryKind, reader: Reader) -> None:
    text = entry_text(Entry(START, kind, FULL, "Marek Novak"), reader)
    assert text
    assert "{" not in text
    placeholders = names(phrases(reader.language)[f"entry_{kind.value}"])
    assert [value for name, value in FILLED.items() if name in placeholders and value not in text] == []


FILLED = {"priority": "P1", "before": "P3", "team": "backend", "count": "2", "named": "sever", "whom": "Linh Tran"}


@pytest.mark.parametrize("reader", [ENGLISH, GERMAN], ids=["en", "de"])
@pytest.mark.parametrize("reason", sorted(set(Reason) - PAGES))
def test_every_reason_of_news_is_written_from_its_data(reason: Reason, reader: Reader) -> None:
    case = Case()
    (page, *_) = case.when(received(an_alert()))
    text = news(Notification(Kind.UPDATE, page.target, 1, reason=reason, data=FULL), reader, START)
    assert text
    assert "{" not in text


def test_an_entry_of_an_older_receiver_stays_as_it_was_written() -> None:
    old = Entry(START, EntryKind.ACKNOWLEDGED, actor="Linh", text="acknowledged by link")
    assert entry_text(old, GERMAN) == "acknowledged by link (Linh)"
    assert entry_text(Entry(START, EntryKind.RESOLVED, actor="alerts", text="all over"), ENGLISH) == "all over"


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_templates_hold_no_words(path: Path) -> None:
    tokens = jinja2.Environment(autoescape=True).lex(path.read_text("utf-8"))
    literal = "".join(text for _, kind, text in tokens if kind == "data")
    literal = re.sub(r"<style.*?</style>", "", literal, flags=re.DOTALL)
    shown = re.sub(r"<[^>]*>|&\w+;", " ", literal, flags=re.DOTALL)
    assert re.findall(r"[^\W\d_]+", shown) == []


@pytest.mark.parametrize(
    ("seconds", "english", "german"),
    [
        (-5, "0s", "0 s"),
        (0, "0s", "0 s"),
        (59.9, "1m", "1 min"),
        (90, "1m", "1 min"),
        (970, "16m", "16 min"),
        (3599.9, "1h", "1 h"),
        (7500, "2h 5m", "2 h 5 min"),
        (273600, "3d 4h", "3 T 4 h"),
    ],
)
def test_a_duration_in_its_two_largest_units(seconds: float, english: str, german: str) -> None:
    assert duration(seconds) == duration(timedelta(seconds=seconds)) == ENGLISH.duration(seconds) == english
    assert GERMAN.duration(seconds) == german


def test_times_are_in_the_readers_zone() -> None:
    assert GERMAN.time(START, START) == "10:00 (03:00 UTC)"
    assert ENGLISH.time(START, START) == "03:00 UTC"
    assert GERMAN.time(START, START + timedelta(hours=14)) == "10:00 (03:00 UTC) am 2026-11-23"  # it is tomorrow there
    assert GERMAN.moment(START) == "2026-11-23 10:00 (03:00 UTC)"


@pytest.mark.parametrize(
    ("header", "language"),
    [("de-AT,de;q=0.9", "de"), ("fr,de", "de"), ("EN-gb", "en"), ("", "en"), (";,-" * 999, "en")],
)
def test_a_browser_says_which_language_it_wants(header: str, language: str) -> None:
    assert preferred(header) == language


class Told:
    """One incident and the messages about it, as one reader gets them."""

    def __init__(self, reader: Reader) -> None:
        self.case, self.reader = Case(), reader

    def when(self, event: Event, address: str, **later: float) -> Message:
        self.case.clock.forward(**later)
        owed = next(n for n in self.case.when(event) if address in n.target.address)
        return render(
            owed,
            self.case.incident,
            tuple(self.case.timeline),
            delivery_id="7",
            thread="",
            link="https://oncall.example.com/answer/abc",
            now=self.case.clock.now,
            reader=self.reader,
        )


def test_what_the_messages_say_in_english() -> None:
    told = Told(ENGLISH)
    page = told.when(received(an_alert(instance="app-1")), "linh@")
    assert page.headline == "P1 #1 HighErrorRate: High error rate detected"
    assert page.text == (
        "12% of requests fail.\n"
        "  instance=app-1\n"
        "\n"
        "Acknowledge or resolve by 03:15 UTC:\n"
        "https://oncall.example.com/answer/abc\n"
        "\n"
        "Firing since 2026-11-23 03:00 UTC. P1, team backend: respond within 15m.\n"
        "You're on call (primary).\n"
        "Escalates to tech lead at 03:15 UTC."
    )
    assert page.fields == (
        ("Priority", "P1"),
        ("Team", "backend"),
        ("Paging", "Linh (on-call engineer)"),
        ("Respond by", "03:15 UTC"),
        ("Escalates", "to tech lead at 03:15 UTC"),
        ("Open since", "2026-11-23 03:00 UTC"),
        ("Where", "instance=app-1"),
    )
    escalated = told.when(TimeDue(), "marek@", minutes=15)
    assert escalated.headline == (
        "Escalated to tech lead, no answer after 15m: P1 #1 HighErrorRate: High error rate detected"
    )
    assert escalated.text.endswith(
        "You're on call (tech lead).\n"
        "Escalates to engineering manager at 03:30 UTC.\n"
        "\n"
        "Timeline (UTC):\n"
        "03:00:00 P1 opened for team backend: HighErrorRate: High error rate detected\n"
        "03:00:00 Paging Linh (on-call engineer)\n"
        "03:15:00 No answer within 15m\n"
        "03:15:00 Paging Marek (tech lead)"
    )
    taken = told.when(Acknowledge("marek", Origin.SLACK), "marek@", minutes=1)
    assert taken.headline == "Acknowledged by Marek after 16m: P1 #1 HighErrorRate: High error rate detected"
    assert taken.text.startswith("Marek is on it. Nobody else will be paged.\n\nView or resolve:\n")
    assert taken.text.endswith("03:16:00 Acknowledged by Marek (Slack)")
    over = told.when(received(an_alert(firing=False, instance="app-1")), "linh@", minutes=26)
    assert over.headline == "Resolved after 42m: P1 #1 HighErrorRate: High error rate detected"
    assert over.text.startswith(
        "All alerts have resolved. Nothing left to do.\n\nOpen from 2026-11-23 03:00 UTC to 2026-11-23 03:42 UTC.\n"
    )


def test_what_the_messages_say_in_german() -> None:
    told = Told(GERMAN)
    page = told.when(received(an_alert(instance="app-1")), "linh@")
    assert page.text == (
        "12% of requests fail.\n"
        "  instance=app-1\n"
        "\n"
        "Übernehmen oder beheben bis 10:15 (03:15 UTC):\n"
        "https://oncall.example.com/answer/abc\n"
        "\n"
        "Aktiv seit 2026-11-23 10:00 (03:00 UTC). P1, Team backend: Antwort innerhalb von 15 min.\n"
        "Sie haben Bereitschaft (primär).\n"
        "Eskaliert um 10:15 (03:15 UTC) an Tech Lead."
    )
    assert page.words.acknowledge == "Übernehmen"
    breach = told.when(TimeDue(), "linh@", minutes=15)
    assert breach.headline == "Keine Antwort innerhalb von 15 min: P1 #1 HighErrorRate: High error rate detected"
    assert breach.words.status == "Erinnerung"
    taken = told.when(Acknowledge("marek", Origin.LINK), "linh@", minutes=1)
    assert taken.text.endswith(
        "Verlauf (Asia/Ho_Chi_Minh):\n"
        "10:00:00 P1 eröffnet für Team backend: HighErrorRate: High error rate detected\n"
        "10:00:00 Alarmiert: Linh (Bereitschaft)\n"
        "10:15:00 Keine Antwort innerhalb von 15 min\n"
        "10:15:00 Alarmiert: Marek (Tech Lead)\n"
        "10:16:00 Übernommen von Marek (Link)"
    )
