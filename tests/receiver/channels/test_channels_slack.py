"""Slack: the card, the thread and its first message that stays up to date, the pace, and the simple mode."""

import itertools
import json
import logging
from collections.abc import AsyncIterator
from typing import Any, cast

import aiohttp
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from process.settings import Secret
from receiver.channels.base import Failure, Link, Message, Picture, SendError, Words
from receiver.channels.send_rate import Pace
from receiver.channels.slack import Slack, SlackWebhooks
from receiver.channels.slack_api import UNWANTED
from receiver.channels.slack_blocks import card, plain, root
from receiver.incident.model import Kind
from tests.fakes.slack import WEBHOOK, FakeSlack, fault_of
from tests.receiver.channels.test_channels import fails, message
from tests.receiver.example_site import START

TOKEN, HOOK = "xoxb-s3cret-token", "h00k"
ANSWER, RUNBOOK = "https://oncall.example.com/answer/abc.def", "https://runbooks.example.com/errors"


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    server = FakeSlack(TOKEN, {"#alerts", "#quiet", "U01LINH"}, {HOOK: "#alerts"})
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


def bot(
    server: FakeSlack, session: aiohttp.ClientSession, *, interactive: bool = False, pace: Pace | None = None
) -> Slack:
    return Slack(
        Secret(TOKEN),
        session,
        timeout=30,
        api_url=f"{server.url}/api/",
        interactive=interactive,
        pace=pace or Pace(0, 1),
    )


def hooks(server: FakeSlack, session: aiohttp.ClientSession, **bots: Slack) -> SlackWebhooks:
    return SlackWebhooks({"#alerts": Secret(server.url + WEBHOOK + HOOK)}, session, timeout=30, **bots)


def paged(kind: Kind = Kind.PAGE, **changes: object) -> Message:
    return message(kind, **{"address": "#alerts", "number": 12, **changes})


def test_the_card_has_all_that_the_message_says() -> None:
    links = (Link("Acknowledge or resolve", ANSWER), Link("Runbook", RUNBOOK))
    fields = (("Priority", "P1"), ("Team", "backend"), ("2 alerts", "High error rate (pod=a)\nHigh error rate (pod=b)"))
    laid = card(paged(links=links, fields=fields))
    stamp = int(START.timestamp())
    assert laid["text"] == "P1 #12 HighErrorRate: High error rate detected"
    assert laid["attachments"] == [
        {
            "color": "danger",
            "fallback": "P1 #12 HighErrorRate: High error rate detected",
            "blocks": [
                {"type": "header", "text": {"type": "plain_text", "text": "P1 · Triggered"}},
                {"type": "section", "text": {"type": "mrkdwn", "text": "12% of requests fail.", "verbatim": True}},
                {
                    "type": "section",
                    "fields": [
                        {"type": "mrkdwn", "text": "*Priority*\nP1", "verbatim": True},
                        {"type": "mrkdwn", "text": "*Team*\nbackend", "verbatim": True},
                    ],
                },
                {
                    "type": "section",
                    "text": {
                        "type": "mrkdwn",
                        "text": "*2 alerts*\nHigh error rate (pod=a)\nHigh error rate (pod=b)",
                        "verbatim": True,
                    },
                },
                {
                    "type": "context",
                    "elements": [
                        {
                            "type": "mrkdwn",
                            "text": "HeyPeter Monitoring · #12 · "
                            f"<!date^{stamp}^{{date_short_pretty}} {{time}}|2026-11-23 03:00 UTC>",
                        }
                    ],
                },
                {
                    "type": "actions",
                    "elements": [
                        {
                            "type": "button",
                            "text": {"type": "plain_text", "text": "Acknowledge or resolve"},
                            "url": ANSWER,
                            "action_id": "open_0",
                        },
                        {
                            "type": "button",
                            "text": {"type": "plain_text", "text": "Runbook"},
                            "url": RUNBOOK,
                            "action_id": "open_1",
                        },
                    ],
                },
            ],
        }
    ]


def looks(laid: dict[str, object]) -> tuple[object, str]:
    """The colour and the heading of a card."""
    (attachment,) = cast("list[Any]", laid["attachments"])
    return attachment["color"], attachment["blocks"][0]["text"]["text"]


@pytest.mark.parametrize(
    ("message", "posted", "first"),
    [
        (paged(), ("danger", "P1 · Triggered"), ("danger", "P1 · Triggered")),
        (paged(severity="warning", priority="P2"), ("warning", "P2 · Triggered"), ("warning", "P2 · Triggered")),
        (paged(severity="info", priority="P3"), ("good", "P3 · Triggered"), ("good", "P3 · Triggered")),
        (paged(severity="new"), ("warning", "P1 · Triggered"), ("warning", "P1 · Triggered")),
        (paged(Kind.ACKNOWLEDGED), ("#439fe0", "P1 · Acknowledged"), ("#439fe0", "P1 · Acknowledged")),
        (paged(Kind.RESOLVED), ("good", "P1 · Resolved"), ("good", "P1 · Resolved")),
        (paged(Kind.UPDATE), ("danger", "P1 · Update"), ("danger", "P1 · Triggered")),
        (paged(Kind.REMINDER), ("danger", "P1 · Reminder"), ("danger", "P1 · Triggered")),
        (paged(Kind.UPDATE, state="acknowledged"), ("#439fe0", "P1 · Update"), ("#439fe0", "P1 · Acknowledged")),
    ],
)
def test_colour_and_heading_say_how_it_stands(message: Message, posted: object, first: object) -> None:
    assert looks(card(message)) == posted
    assert looks(root(message)) == first


@pytest.mark.parametrize(
    ("message", "pressed"),
    [
        (paged(), ["acknowledge", "resolve", "more"]),
        (paged(Kind.REMINDER), ["acknowledge", "resolve", "more"]),
        (paged(Kind.ACKNOWLEDGED), ["resolve", "more"]),
        (paged(Kind.RESOLVED), []),
        (paged(number=0), []),
    ],
)
def test_buttons_that_can_be_pressed(message: Message, pressed: list[str]) -> None:
    shown = buttons(card(message, interactive=True))
    assert [b["action_id"] for b in shown if "value" in b] == pressed
    assert all(b["value"].startswith(message.incident) for b in shown if "value" in b)
    assert [b["url"] for b in shown if "url" in b] == [ANSWER]
    assert not [b for b in buttons(card(message)) if "value" in b]  # Slack could not send them anywhere


@pytest.mark.parametrize("kind", [Kind.PAGE, Kind.ACKNOWLEDGED])
def test_the_resolve_button_asks_while_alerts_fire(kind: Kind) -> None:
    asking = paged(kind, words=Words(still_firing="40 alerts are still firing. " * 20, resolve_anyway="Anyway " * 9))
    *others, resolve, _more = [b for b in buttons(card(asking, interactive=True)) if "value" in b]
    assert fault_of(card(asking, interactive=True)) == ""
    assert set(cast("dict[str, Any]", resolve["confirm"])) == {"title", "text", "confirm", "deny"}
    assert not [b for b in others if "confirm" in b]
    assert not [b for b in buttons(card(paged(kind), interactive=True)) if "confirm" in b]


def buttons(laid: dict[str, object]) -> list[dict[str, str]]:
    (attachment,) = cast("list[Any]", laid["attachments"])
    return [b for block in attachment["blocks"] if block["type"] == "actions" for b in block["elements"]]


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (paged(mention="U01LINH"), "<@U01LINH> P1 #12"),
        (paged(mention="U01LINH", address="U01LINH"), "P1 #12"),  # it is their own channel
        (paged(Kind.RESOLVED, mention="U01LINH"), "P1 #12"),
        (paged(mention="!channel"), "P1 #12"),
        (paged(mention="linh"), "P1 #12"),
        (paged(), "P1 #12"),
    ],
)
def test_a_page_mentions_the_person_paged(message: Message, text: str) -> None:
    assert str(card(message)["text"]).startswith(text)
    assert str(plain(message)["text"]).startswith(text)
    assert str(root(message)["text"]).startswith("P1 #12")  # nobody is called twice


def test_a_message_of_many_incidents_has_a_button_for_each() -> None:
    links = tuple(Link(f"#{at}", f"https://oncall.example.com/answer/{at}{'x' * 220}") for at in range(10))
    assert [b["url"] for b in buttons(card(paged(links=links)))] == [link.url for link in links]


# A piece of text and how often it is repeated: Hypothesis warns of arguments that are long themselves.
PIECE = st.tuples(
    st.text(st.characters(codec="utf-8"), max_size=20) | st.sampled_from("&<"), st.sampled_from([1, 40, 9000])
)
LABEL, LENGTH = st.sampled_from([4, 200]), st.sampled_from([50, 970, 5000])


@given(
    kind=st.sampled_from(Kind),
    texts=st.tuples(PIECE, PIECE),
    fields=st.lists(st.tuples(PIECE, PIECE), max_size=20),
    links=st.lists(st.tuples(LABEL, LENGTH), max_size=30),
    interactive=st.booleans(),
)
@example(Kind.PAGE, (("<!channel>", 900), ("&", 9000)), [(("a", 1), ("&", 9000))] * 10, [(200, 970)] * 14, True)  # noqa: FBT003
@example(Kind.PAGE, (("a", 1), ("a", 1)), [(("a", 1), ("a", 1))] * 20, [(4, 50)] * 30, True)  # noqa: FBT003
def test_whatever_a_message_holds_slack_takes_it(
    kind: Kind,
    texts: tuple[tuple[str, int], tuple[str, int]],
    fields: list[tuple[tuple[str, int], tuple[str, int]]],
    links: list[tuple[int, int]],
    interactive: bool,
) -> None:
    headline, text = (piece * times for piece, times in texts)
    made = paged(
        kind,
        headline=f"P1 #12 {headline}",
        text=text,
        fields=tuple((name[0] * name[1] or "a", value[0] * value[1] or "b") for name, value in fields),
        links=tuple(Link("x" * label, f"https://example.com/{'y' * length}") for label, length in links),
    )
    for laid in (card(made, interactive=interactive), root(made, interactive=interactive), plain(made)):
        assert fault_of(laid) == ""
        said = json.dumps(laid).replace("<!date^", "")
        assert "<!" not in said
        assert not [part for part in said.split("&")[1:] if not part.startswith(("amp;", "lt;", "gt;"))]


async def test_a_later_message_answers_in_the_thread_and_renews_its_first(
    slack: FakeSlack, session: aiohttp.ClientSession
) -> None:
    channel = bot(slack, session)
    receipt = await channel.send(paged())
    (posted,) = slack.messages
    assert receipt.ref == f"{slack.ids['#alerts']}/{posted['ts']}"
    assert posted["unfurl_links"] is False
    assert posted["metadata"] == {"event_type": "heypeter_notification", "event_payload": {"id": "7"}}
    escalated = paged(id="8", thread=receipt.ref, headline="Escalated to tech lead", mention="U01MAREK")
    await channel.send(escalated)
    first = slack.shown[posted["ts"]]
    assert (first["text"], looks(first)) == ("Escalated to tech lead", ("danger", "P1 · Triggered"))
    await channel.send(
        paged(Kind.RESOLVED, id="9", thread=receipt.ref, headline="Resolved", fields=(("Was open", "4m"),))
    )
    first = slack.shown[posted["ts"]]
    assert (first["text"], looks(first)) == ("Resolved", ("good", "P1 · Resolved"))
    assert "Was open" in str(first["attachments"])
    page, end = slack.messages[1:]
    assert page["channel"] == "#alerts"
    assert page["text"] == "<@U01MAREK> Escalated to tech lead"
    assert (page["thread_ts"], page["reply_broadcast"]) == (posted["ts"], True)
    assert (end["thread_ts"], end.get("reply_broadcast")) == (posted["ts"], None)
    assert [call.path for call in slack.calls] == [
        f"/api/chat.{verb}" for verb in ("postMessage", *["postMessage", "update"] * 2)
    ]


async def test_a_thread_of_an_older_version_is_answered_and_not_renewed(
    slack: FakeSlack, session: aiohttp.ClientSession
) -> None:
    channel = bot(slack, session)
    await channel.send(paged())
    await channel.send(paged(Kind.ACKNOWLEDGED, thread=slack.messages[0]["ts"]))  # without the channel's id
    assert slack.messages[1]["thread_ts"] == slack.messages[0]["ts"]
    assert len(slack.calls) == 2


async def test_a_first_message_that_cannot_be_renewed_is_logged_and_no_failure(
    slack: FakeSlack, session: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    channel = bot(slack, session)
    receipt = await channel.send(paged())
    slack.errors = ["", "cant_update_message"]
    sent = await channel.send(paged(Kind.ACKNOWLEDGED, thread=receipt.ref))
    assert sent.ref.endswith(slack.messages[1]["ts"])
    assert "still shows how it was: Slack: cant_update_message" in caplog.text


async def test_a_first_message_that_takes_too_long_to_renew_is_no_failure(
    slack: FakeSlack, session: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    channel = Slack(Secret(TOKEN), session, timeout=4.0, api_url=f"{slack.url}/api/")
    receipt = await channel.send(paged())
    slack.hang = 2.5  # the answer is there in time, and what is left is too short for the other
    await channel.send(paged(Kind.ACKNOWLEDGED, thread=receipt.ref))
    assert len(slack.messages) == 2
    assert "still shows how it was: Slack did not answer in time" in caplog.text


async def test_the_thread_is_the_story_in_lines_below_the_card(
    slack: FakeSlack, session: aiohttp.ClientSession
) -> None:
    channel, name = bot(slack, session, interactive=True), "P1 #12 HighErrorRate"
    receipt = await channel.send(paged())
    told = {"id": "8", "thread": receipt.ref, "name": name, "headline": f"Snoozed by <Linh>: {name}"}
    await channel.send(paged(Kind.UPDATE, **told))
    line = slack.messages[-1]
    assert (line["text"], line.get("attachments")) == ("Snoozed by &lt;Linh&gt;", None)
    slack.errors = ["thread_not_found"]  # somebody has deleted the card: then this is one
    await channel.send(paged(Kind.UPDATE, **told))
    assert slack.messages[-1]["attachments"]


def test_beside_buttons_the_link_only_leads_there() -> None:
    asking = paged(words=Words(see="View incident"))

    def labels(laid: dict[str, object]) -> list[str]:
        shown = cast("list[dict[str, Any]]", buttons(laid))
        return [button["text"]["text"] for button in shown if "url" in button]

    assert labels(card(asking, interactive=True)) == ["View incident"]
    assert labels(card(asking)) != ["View incident"]


@pytest.mark.parametrize("word", ["thread_not_found", "message_not_found"])
async def test_a_thread_that_has_gone_does_not_hold_the_message_back(
    slack: FakeSlack, session: aiohttp.ClientSession, word: str
) -> None:
    channel = bot(slack, session)
    await channel.send(paged())
    slack.errors = [word]
    receipt = await channel.send(paged(id="8", thread=f"{slack.ids['#alerts']}/{slack.messages[0]['ts']}"))
    assert len(slack.calls) == 3  # and there is nothing to renew
    assert "thread_ts" not in slack.messages[1]
    assert "reply_broadcast" not in slack.messages[1]
    assert receipt.ref.endswith(slack.messages[1]["ts"])


async def test_a_channel_made_anew_under_its_old_name_is_written_to(
    slack: FakeSlack, session: aiohttp.ClientSession
) -> None:
    await bot(slack, session).send(paged(thread="C9999/1.2"))
    assert slack.messages[0]["channel"] == "#alerts"
    error = await fails(bot(slack, session), paged(address="#gone", thread="1.2"))
    assert (error.reason, len(slack.calls)) == (Failure.BAD_ADDRESS, 3)


async def test_a_thread_that_is_still_gone_without_the_thread_is_the_providers_last_word(
    slack: FakeSlack, session: aiohttp.ClientSession
) -> None:
    slack.errors = ["thread_not_found", "thread_not_found"]
    error = await fails(bot(slack, session), paged(thread="C1/1.2"))
    assert (error.reason, error.permanent, len(slack.calls)) == (Failure.REFUSED, True, 2)


@pytest.mark.parametrize("word", sorted(UNWANTED))
async def test_a_card_that_slack_refuses_is_sent_once_more_as_text(
    slack: FakeSlack, session: aiohttp.ClientSession, word: str
) -> None:
    slack.errors = [word]
    await bot(slack, session).send(paged())
    (posted,) = slack.messages
    assert (posted["attachments"], posted["text"]) == ([], f"{paged().headline}\n\n12% of requests fail.")
    assert len(slack.calls) == 2
    slack.errors = [word, word]
    error = await fails(bot(slack, session), paged())
    assert (error.reason, error.permanent, len(slack.calls)) == (Failure.REFUSED, True, 4)


async def test_a_refused_card_in_a_thread_that_has_gone_takes_three_requests_and_no_more(
    slack: FakeSlack, session: aiohttp.ClientSession
) -> None:
    slack.errors = ["thread_not_found", "invalid_blocks"]
    await bot(slack, session).send(paged(thread="C1/1.2"))
    assert len(slack.calls) == 3
    slack.errors = ["thread_not_found", "invalid_blocks", "invalid_blocks"]
    error = await fails(bot(slack, session), paged(thread="C1/1.2"))
    assert (error.reason, len(slack.calls)) == (Failure.REFUSED, 6)


WORDS = [
    ("internal_error", Failure.SERVER_ERROR, False),
    ("fatal_error", Failure.SERVER_ERROR, False),
    ("service_unavailable", Failure.SERVER_ERROR, False),
    ("request_timeout", Failure.TIMEOUT, False),
    ("ratelimited", Failure.RATE_LIMITED, False),
    ("channel_not_found", Failure.BAD_ADDRESS, True),
    ("is_archived", Failure.BAD_ADDRESS, True),
    ("not_in_channel", Failure.BAD_ADDRESS, True),
    ("invalid_auth", Failure.AUTH, True),
    ("token_revoked", Failure.AUTH, True),
    ("account_inactive", Failure.AUTH, True),
    ("something_new", Failure.REFUSED, True),
]


@pytest.mark.parametrize(("code", "reason", "permanent"), WORDS)
async def test_slacks_own_errors(
    slack: FakeSlack, session: aiohttp.ClientSession, code: str, reason: Failure, permanent: bool
) -> None:
    slack.errors = [code]
    error = await fails(bot(slack, session), paged())
    assert len(slack.calls) == 1
    assert (error.reason, error.permanent) == (reason, permanent)


async def test_an_alert_cannot_shout_in_slack(slack: FakeSlack, session: aiohttp.ClientSession) -> None:
    hostile = "<!channel> <https://evil.example|click>"
    sent = paged(headline=hostile, subject=hostile, text=hostile, fields=((hostile, hostile),))
    await bot(slack, session).send(sent)
    assert "<!channel>" not in str(slack.messages)
    assert "<https://evil" not in str(slack.messages)


def test_the_pace_is_a_burst_and_then_one_a_second() -> None:
    pace = Pace(1.0, 3)
    waits = []
    for _ in range(6):
        waits.append(pace.wait("#alerts", 100.0))
        pace.book("#alerts", 100.0)
    assert waits == [0, 0, 0, 1, 2, 3]
    assert pace.wait("#others", 100.0) == 0
    assert pace.wait("#alerts", 102.5) == 1.5
    assert pace.wait("#alerts", 200.0) == 0
    for _ in range(3):  # rest gives no more than one burst
        pace.book("#alerts", 200.0)
    assert pace.wait("#alerts", 200.0) == 1


@given(st.lists(st.floats(0, 5), min_size=1, max_size=60))
def test_no_second_sees_more_than_the_burst_and_its_own(gaps: list[float]) -> None:
    pace, went = Pace(1.0, 3), []
    for now in itertools.accumulate(gaps):
        went.append(now + pace.wait("#a", now))
        pace.book("#a", now)
    for at, first in enumerate(went):
        seconds = [t - first for t in went[at:]]
        assert all(count <= 3 + gap + 1e-6 for count, gap in enumerate(seconds))


async def test_what_would_wait_too_long_is_given_back_with_its_wait(
    slack: FakeSlack, session: aiohttp.ClientSession
) -> None:
    channel = bot(slack, session, pace=Pace(60.0, 2))
    for at in range(2):
        await channel.send(paged(id=str(at), priority="P2"))
    error = await fails(channel, paged(id="2", priority="P2"))
    assert (error.reason, error.permanent) == (Failure.RATE_LIMITED, False)
    assert error.retry_after is not None
    assert 0 < error.retry_after <= 60
    assert len(slack.calls) == 2
    await channel.send(paged(id="3", priority="P2", address="#quiet"))  # the pace is each channel's own
    await channel.send(paged(id="4", priority="P1"))  # and the loudest wait for nobody
    assert len(slack.messages) == 4


async def test_a_message_waits_a_little_for_its_turn(slack: FakeSlack, session: aiohttp.ClientSession) -> None:
    channel = bot(slack, session, pace=Pace(0.2, 1))
    for at in range(4):
        await channel.send(paged(id=str(at), priority="P2"))
    first, *_, last = slack.calls
    assert last.at - first.at >= 0.55  # three turns; the upper end is the machine's affair


async def test_a_webhook_is_the_simple_mode(slack: FakeSlack, session: aiohttp.ClientSession) -> None:
    receipt = await hooks(slack, session).send(paged(mention="U01LINH"))
    (posted,) = slack.messages
    assert receipt.ref == ""
    assert posted["channel"] == "#alerts"
    assert posted["text"].startswith("<@U01LINH> ")
    assert looks(posted) == ("danger", "P1 · Triggered")
    assert slack.calls[0].headers.get("Authorization") is None


async def test_what_has_no_webhook_goes_through_the_bot(slack: FakeSlack, session: aiohttp.ClientSession) -> None:
    both = hooks(slack, session, bot=bot(slack, session))
    assert (await both.send(paged(address="U01LINH"))).ref
    assert slack.messages[0]["channel"] == "U01LINH"
    error = await fails(hooks(slack, session), paged(address="U01LINH"))
    assert (error.reason, error.permanent) == (Failure.BAD_ADDRESS, True)
    assert "channels.slack.webhooks" in str(error)


@pytest.mark.parametrize(
    ("word", "reason", "permanent", "requests"),
    [
        ("invalid_blocks", Failure.REFUSED, True, 2),
        ("invalid_payload", Failure.REFUSED, True, 1),
        ("action_prohibited", Failure.AUTH, True, 1),
        ("channel_is_archived", Failure.BAD_ADDRESS, True, 1),
        ("rollup_error", Failure.SERVER_ERROR, False, 1),
    ],
)
async def test_a_webhooks_own_errors(
    slack: FakeSlack, session: aiohttp.ClientSession, word: str, reason: Failure, permanent: bool, requests: int
) -> None:
    slack.errors = [word, word]
    error = await fails(hooks(slack, session), paged())
    assert (error.reason, error.permanent, len(slack.calls)) == (reason, permanent, requests)


async def test_a_webhook_that_was_deleted_and_a_card_that_it_refuses(
    slack: FakeSlack, session: aiohttp.ClientSession
) -> None:
    gone = SlackWebhooks({"#alerts": Secret(f"{slack.url}{WEBHOOK}deleted")}, session)
    assert (await fails(gone, paged())).reason is Failure.BAD_ADDRESS
    slack.errors = ["invalid_blocks"]
    await hooks(slack, session).send(paged())
    assert slack.messages[0]["attachments"] == []


async def test_a_webhooks_url_is_in_no_error_and_no_log(
    session: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for url in (
        "http://127.0.0.1:9/s3cret",
        "nonsense-s3cret",
        "http://[s3cret",
        "http://a..s3cret/",
        "ftp://x/s3cret",
    ):
        with pytest.raises(SendError) as caught:
            await SlackWebhooks({"#alerts": Secret(url)}, session).send(paged())
        assert "s3cret" not in f"{caught.value}{caplog.text}"
        assert caught.value.reason is Failure.NETWORK


CHART = Picture("https://oncall.example.com/chart/t.png", "HighErrorRate: 0.1", b"\x89PNG", public=True)


def pictures(posted: dict[str, Any]) -> list[str]:
    return [block["image_url"] for block in posted["attachments"][0]["blocks"] if block["type"] == "image"]


async def test_a_picture_that_slack_can_fetch_is_in_the_card(slack: FakeSlack, session: aiohttp.ClientSession) -> None:
    await bot(slack, session).send(paged(picture=CHART))
    await bot(slack, session).send(paged(picture=Picture(CHART.url, png=b"\x89PNG")))
    shown, linked = slack.messages
    assert pictures(shown) == [CHART.url]
    assert pictures(linked) == []


async def test_a_card_whose_picture_slack_cannot_fetch_is_sent_without_it(
    slack: FakeSlack, session: aiohttp.ClientSession
) -> None:
    slack.errors = ["invalid_blocks"]
    await bot(slack, session).send(paged(picture=CHART))
    slack.errors = ["invalid_attachments"]
    await hooks(slack, session).send(paged(picture=CHART))
    for posted in slack.messages:
        assert pictures(posted) == []
        assert posted["attachments"]
    slack.errors = ["invalid_blocks", "invalid_blocks"]
    await bot(slack, session).send(paged(picture=CHART))
    assert slack.messages[-1]["attachments"] == []
