"""What a message holds, odd and hostile alerts, and that no alert can break a message."""

import html
import io
from datetime import UTC, datetime, timedelta
from functools import partial

import aiohttp
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from process.settings import Secret
from receiver.channels.base import Message
from receiver.channels.email import compose
from receiver.channels.log import WIDTH, Log
from receiver.channels.slack import Slack
from receiver.channels.slack_blocks import card
from receiver.incident.event import Acknowledge, Event, Resolve, TimeDue, Undelivered
from receiver.incident.machine import transition
from receiver.incident.model import (
    Alert,
    Clocks,
    Data,
    Delivery,
    Entry,
    EntryKind,
    Holder,
    Incident,
    Kind,
    Notification,
    Origin,
    Pause,
    PauseKind,
    Plan,
    Priority,
    Reason,
    State,
    Target,
)
from receiver.messages.i18n import Reader, one_line
from receiver.messages.render import HEADLINE, SUBJECT, render, subject_tag, what_broke
from tests.examples import EXAMPLES
from tests.fakes.slack import FakeSlack
from tests.receiver.example_site import START, Clock, an_alert, labelled, received, the_routing

LINK = "https://oncall.example.com/answer/abc.def"
SAY = Reader().say
RUNBOOK = "https://docs.example.com/runbooks/HighErrorRate"
GRAPH = "http://prometheus:9090/graph?g0.expr=job%3Ahttp_errors%3Aratio5m+%3E+0.05"


def with_links(alert: Alert) -> Alert:
    annotations = {**alert.annotations, "runbook_url": RUNBOOK}
    return msgspec.structs.replace(alert, annotations=annotations, generator_url=GRAPH)


def annotated(**annotations: str) -> Alert:
    alert = an_alert(instance="app-1")
    return msgspec.structs.replace(alert, annotations={**alert.annotations, **annotations})


NAME = "P1 #12 HighErrorRate: High error rate detected"


class Story:
    """One incident with its timeline, as the store keeps them, and the messages that it makes."""

    def __init__(self) -> None:
        self.clock, self.routing = Clock(), the_routing()
        self.incident, self.timeline = Incident(id=12, key="k"), tuple[Entry, ...]()

    def when(self, event: Event) -> list[Message]:
        decision = transition(self.incident, event, self.routing, self.clock.now)
        self.timeline += decision.entries
        self.incident = decision.incident
        return [self.message(notification) for notification in decision.notifications]

    def message(self, notification: Notification) -> Message:
        reader = Reader(name_of=the_routing().directory.name)
        made = partial(render, delivery_id="7", thread="", link=LINK, now=self.clock.now, reader=reader)
        return made(notification, self.incident, self.timeline)


def mailed(messages: list[Message], address: str = "@") -> Message:
    return next(m for m in messages if address in m.address)


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line]


def test_the_first_page_says_what_is_broken_and_what_to_do() -> None:
    page = mailed(Story().when(received(with_links(an_alert(instance="app-1", job="heypeter-app")))))
    assert page.subject == "[P1] #12 HighErrorRate: High error rate detected"
    assert page.headline == "P1 #12 HighErrorRate: High error rate detected"
    assert lines(page.text)[:2] == ["12% of requests fail.", "  instance=app-1, job=heypeter-app"]
    assert [value for _, value in page.fields] == [
        *("P1", "backend", "Linh (on-call engineer)", "03:15 UTC"),
        SAY("role_at", roles="tech lead", time="03:15 UTC"),
        *("2026-11-23 03:00 UTC", "instance=app-1, job=heypeter-app"),
    ]
    assert [link.url for link in page.links] == [LINK, RUNBOOK, GRAPH]
    assert (page.incident, page.severity, page.kind) == ("heypeter-12-1795402800", "critical", Kind.PAGE)


def test_a_team_reads_who_is_paged() -> None:
    channel = mailed(Story().when(received(an_alert())), "#alerts")
    assert SAY("paged", whom="Linh (on-call engineer)") in channel.text
    assert SAY("on_call", role="primary") not in channel.text


def test_the_escalation_says_why() -> None:
    story = Story()
    story.when(received(an_alert(instance="app-1")))
    story.clock.forward(minutes=15)
    page = mailed(story.when(TimeDue()), "marek@")
    after = SAY("after", span="15m")
    assert page.headline == SAY("page_escalated", whom="tech lead", after=after, name=NAME)
    assert [line[:8] for line in lines(page.text)[-4:]] == ["03:00:00", "03:00:00", "03:15:00", "03:15:00"]
    assert (SAY("answer_by"), f"03:15 UTC{SAY('passed')}") in page.fields


def test_the_last_step_says_that_nobody_follows() -> None:
    story = Story()
    story.when(received(an_alert()))
    for minutes in (15, 15, 30):
        story.clock.forward(minutes=minutes)
        page = mailed(story.when(TimeDue()))
    after = SAY("after", span="1h")
    assert page.headline == SAY("page_escalated", whom="CTO", after=after, name=NAME)
    assert SAY("last_step") in page.text


def test_an_escalation_that_nobody_could_hear_says_so() -> None:
    story = Story()
    story.when(received(an_alert()))
    story.clock.forward(seconds=40)
    page = mailed(story.when(Undelivered(1)), "marek@")
    assert page.headline == SAY("page_unreached", whom="tech lead", name=NAME)
    assert SAY("note", text=SAY("entry_undelivered")) in page.text


def test_a_rise_to_p1_says_so_and_starts_the_clock_anew() -> None:
    story = Story()
    story.when(received(an_alert(severity="warning")))
    story.clock.forward(minutes=5)
    story.when(Acknowledge("Linh", Origin.LINK))
    story.clock.forward(minutes=20)
    page = mailed(story.when(received(an_alert(severity="critical"))), "linh@")
    assert page.headline == SAY("page_priority_raised", priority="P1", whom="on-call engineer", name=NAME)
    assert (SAY("answer_by"), "03:40 UTC") in page.fields
    late = story.message(Notification(Kind.ACKNOWLEDGED, Target("email", "a@example.com", "l"), 1))
    assert late.headline == SAY("acknowledged_by", who="Linh", after=SAY("after", span="5m"), name=NAME)
    assert lines(late.text)[0] == SAY("had_it", who="Linh", priority="P1")


def test_the_acknowledgement_says_who_has_it() -> None:
    story = Story()
    story.when(received(an_alert()))
    story.clock.forward(minutes=16, seconds=10)
    told = mailed(story.when(Acknowledge("Marek Novak", Origin.LINK)))
    assert told.headline == SAY("acknowledged_by", who="Marek Novak", after=SAY("after", span="16m"), name=NAME)
    assert lines(told.text)[0] == SAY("has_it", who="Marek Novak")
    assert LINK in lines(told.text)
    story.clock.forward(hours=2)
    repeated = story.message(Notification(Kind.ACKNOWLEDGED, Target("email", "a@example.com", "l"), 1))
    assert repeated.headline == told.headline  # a notification that waited says when it was, not when it came


def test_the_end_says_how_long_it_was() -> None:
    story = Story()
    story.when(received(an_alert(instance="app-1")))
    story.clock.forward(minutes=42)
    end = mailed(story.when(received(an_alert(firing=False, instance="app-1", ends_at=story.clock.now))))
    assert end.headline == SAY("resolved", by="", after=SAY("after", span="42m"), name=NAME)
    assert lines(end.text)[:2] == [
        SAY("all_resolved"),
        SAY("open_from_to", start="2026-11-23 03:00 UTC", end="2026-11-23 03:42 UTC"),
    ]
    assert lines(end.text)[-1] == f"03:42:00 {SAY('entry_resolved')}"
    assert end.subject == "[P1 RESOLVED] #12 HighErrorRate: High error rate detected"
    assert end.links[0].label == SAY("see")
    assert (SAY("was_open_for"), "42m") in end.fields


def test_the_end_by_hand_names_the_hand_and_what_still_fires() -> None:
    story = Story()
    story.when(received(an_alert("a"), an_alert("b")))
    story.clock.forward(minutes=3)
    end = mailed(story.when(Resolve("Linh Tran", Origin.LINK)))
    by, after = SAY("by", who="Linh Tran"), SAY("after", span="3m")
    assert end.headline == SAY("resolved", by=by, after=after, name=f"{NAME} (2 alerts)")
    assert lines(end.text)[0] == SAY("by_hand_firing", count=2)
    assert lines(end.text)[-1].endswith(SAY("entry_resolved_by_hand_firing", count=2, actor="Linh Tran", origin="link"))


def test_a_storm_is_listed_in_short() -> None:
    alerts = [labelled(an_alert(f"{i:04}"), instance=f"app-{i:04}") for i in range(5000)]
    page = mailed(Story().when(received(*alerts, truncated=7)))
    assert page.text.count("12% of requests fail.") == 10
    assert SAY("others", count=5007) in page.text
    assert f"- {SAY('and_more', count=4997)}\n" in page.text
    assert SAY("note", text=SAY("entry_alerts_truncated", count=7)) in page.text
    assert dict(page.fields)[SAY("alerts", count=5007)].endswith(SAY("and_more", count=5002))
    assert len(page.text) < 6000
    assert page.html.count("<li>") == 10


def test_remarks_are_read_by_whoever_is_paged() -> None:
    page = mailed(Story().when(received(an_alert(severity="apocalyptic", team="nobody"))))
    assert page.headline.startswith("P2 #12")
    assert SAY("note", text=SAY("entry_severity_unknown", named="apocalyptic", priority="P2")) in page.text
    assert SAY("note", text=SAY("entry_team_unknown", named="nobody")) in page.text


def test_a_p1_rings_loud_whatever_its_severity_says() -> None:
    assert mailed(Story().when(received(an_alert(severity="warning", priority="P1")))).severity == "critical"
    assert mailed(Story().when(received(an_alert(severity="warning")))).severity == "warning"
    assert mailed(Story().when(received(an_alert(severity="odd")))).severity == "warning"  # it is a P2


def test_an_alert_that_says_nothing_still_makes_sense() -> None:
    bare = Alert("a", firing=True, starts_at=datetime.min.replace(tzinfo=UTC), ends_at=None, labels={}, annotations={})
    page = mailed(Story().when(received(bare)))
    assert page.headline == f"P2 #12 {SAY('no_name')}"
    assert lines(page.text)[0] == SAY("no_name")
    assert "2026-11-23 03:00 UTC" in page.text  # Go's zero time means "unknown"


def test_only_links_that_are_links_become_links() -> None:
    for bad in ("javascript:alert(1)", "ftp://x", "//x", "https://x y", "https://x|evil>", 'https://x"onclick="', ""):
        page = mailed(Story().when(received(annotated(runbook_url=bad, dashboard_url=bad))))
        assert [link.url for link in page.links] == [LINK], bad
        assert "javascript" not in page.html
    page = mailed(
        Story().when(received(annotated(dashboard_url="https://grafana/d/x", runbook_url=f"https://x/{'y' * 2000}")))
    )
    assert [link.url for link in page.links] == [LINK, "https://grafana/d/x"]


HOSTILE = (
    "<script>alert(1)</script> <!channel> <https://evil.example|click>\r\nBcc: x@evil.example\n\x1b[2J\u202e{{ 7*7 }}"
)


def test_an_alert_cannot_write_html_headers_or_escapes() -> None:
    hostile = annotated(summary=HOSTILE, description=HOSTILE)
    page = mailed(Story().when(received(labelled(hostile, alertname=HOSTILE, instance=HOSTILE, team="backend"))))
    assert "<script" not in page.html
    assert html.escape("<script>alert(1)</script>") in page.html
    for one in (page.subject, page.headline):
        assert one.isprintable()
    assert all(line.isprintable() for line in page.text.splitlines())
    assert "{{ 7*7 }}" in page.text
    mail = compose(page, "HeyPeter <alerts@example.com>")
    assert mail["Bcc"] is None
    assert mail["From"] == "HeyPeter <alerts@example.com>"
    assert mail["Message-ID"].startswith("<heypeter-12-1795402800.")
    assert mail["List-Id"] == "HeyPeter Monitoring <alerts.example.com>"


async def test_an_alert_cannot_shout_or_link_in_slack_whatever_its_size() -> None:
    huge = annotated(
        summary=HOSTILE * 50, description=(HOSTILE + "&" * 3000) * 20, runbook_url=f"https://x/{'y' * 1900}"
    )
    alerts = [labelled(msgspec.structs.replace(huge, fingerprint=str(i)), pod=HOSTILE * 9) for i in range(60)]
    page = mailed(Story().when(received(*alerts)), "#alerts")
    slack = FakeSlack("xoxb-token", {"#alerts-backend"})
    await slack.start()
    try:
        async with aiohttp.ClientSession() as session:
            await Slack(Secret("xoxb-token"), session, api_url=f"{slack.url}/api/").send(page)
    finally:
        await slack.stop()
    (posted,) = slack.messages
    (attachment,) = posted["attachments"]
    *blocks, context, actions = attachment["blocks"]
    assert [button["url"] for button in actions["elements"]] == [LINK]  # an endless URL would take the others' room
    rest = str({**posted, "attachments": [{**attachment, "blocks": blocks}]})
    assert "<" not in rest.replace("'<", "")
    assert context["elements"][0]["text"].startswith("HeyPeter Monitoring · ")
    assert blocks[-1]["text"]["text"].startswith("*60 alerts*\n")


async def test_slack_shows_the_document_and_what_to_do() -> None:
    page = mailed(Story().when(received(with_links(an_alert(instance="app-1")))), "#alerts")
    slack = FakeSlack("xoxb-token", {"#alerts-backend"})
    await slack.start()
    try:
        async with aiohttp.ClientSession() as session:
            await Slack(Secret("xoxb-token"), session, api_url=f"{slack.url}/api/").send(page)
    finally:
        await slack.stop()
    (posted,) = slack.messages
    assert posted["text"] == "P1 #12 HighErrorRate: High error rate detected"
    assert posted["metadata"] == {"event_type": "heypeter_notification", "event_payload": {"id": "7"}}
    (attachment,) = posted["attachments"]
    assert (attachment["color"], attachment["fallback"]) == ("danger", posted["text"])
    heading, lead, facts, footer, actions = attachment["blocks"]
    assert heading["text"]["text"] == f"P1 · {SAY('status_triggered')}"
    assert lead["text"]["text"] == "12% of requests fail."
    assert [field["text"] for field in facts["fields"]] == [f"*{name}*\n{value}" for name, value in page.fields]
    assert footer["elements"][0]["text"].startswith("HeyPeter Monitoring · ")
    assert f"<!date^{int(START.timestamp())}^" in footer["elements"][0]["text"]
    buttons = [(button["text"]["text"], button["url"]) for button in actions["elements"]]
    assert buttons == [(SAY("answer"), LINK), (SAY("runbook"), RUNBOOK), (SAY("query"), GRAPH)]


class Ascii(io.StringIO):
    """A terminal that knows no other letters."""

    encoding = "ascii"


async def test_the_terminal_shows_a_block() -> None:
    page = mailed(Story().when(received(an_alert(instance="app-1"))), "linh@")
    stream = io.StringIO()
    await Log(stream).send(page)
    shown = stream.getvalue().splitlines()
    assert shown[1:5] == [
        "  ┃ To linh@example.com: P1 #12 HighErrorRate: High error rate detected",
        *("  ┃", "  ┃ 12% of requests fail.", "  ┃   instance=app-1"),
    ]
    assert f"  ┃ {LINK}" in shown
    assert all(len(line) <= WIDTH for line in shown)
    plain, coloured = Ascii(), io.StringIO()
    await Log(plain).send(page)
    assert plain.getvalue().isascii()
    await Log(coloured, colour=True).send(page)
    assert "\033[31m┃\033[0m To linh@example.com" in coloured.getvalue()


def test_what_is_cut_is_seen_to_be_cut() -> None:
    assert one_line("a\tb\n\n c", 100) == "a b c"
    assert one_line("x" * 10, 10) == "x" * 10
    assert one_line("x" * 11, 10) == "x" * 9 + "…"


anything = st.text(st.characters(), max_size=60)
words = st.dictionaries(anything, anything, max_size=4)
times = st.datetimes(datetime(1, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # hypothesis wants naive bounds
alerts = st.builds(
    Alert,
    fingerprint=anything,
    firing=st.booleans(),
    starts_at=times,
    ends_at=st.none() | times,
    labels=words | st.fixed_dictionaries({"alertname": anything, "severity": anything, "team": anything}),
    annotations=words | st.fixed_dictionaries({"summary": anything, "description": anything, "runbook_url": anything}),
    generator_url=anything,
)
data = st.builds(
    Data,
    title=anything,
    alert=anything,
    where=anything,
    named=anything,
    roles=st.lists(anything, max_size=2).map(tuple),
    people=st.lists(st.builds(Holder, anything, anything), max_size=2).map(tuple),
    channel=anything,
    address=anything,
    due=st.none() | times,
    seconds=st.floats(0, 1e9),
    pause=st.none()
    | st.builds(Pause, st.sampled_from(PauseKind), anything, anything, st.none() | times, comment=anything),
)
entries = st.lists(
    st.builds(Entry, at=times, kind=st.sampled_from(EntryKind), data=data, actor=anything, text=st.just("") | anything)
)
incidents = st.builds(
    Incident,
    id=st.integers(1, 10**9),
    key=anything,
    state=st.sampled_from(State),
    priority=st.sampled_from(Priority),
    title=anything,
    team=anything,
    alerts=st.dictionaries(anything, alerts, max_size=13),
    truncated=st.integers(0, 10**6),
    opened_at=st.none() | times,
    plan=st.builds(Plan, st.just(the_routing().plans[Priority.P1].steps), st.floats(0, 1e9)),
    next_step=st.integers(0, 9),
    clocks=st.builds(Clocks, started_at=st.none() | times, next_due_at=st.none() | times),
    delivery=st.builds(Delivery, rounds=st.integers(0, 9)),
    acknowledged_at=st.none() | times,
    acknowledged_by=anything,
    resolved_at=st.none() | times,
    resolved_by=anything,
)
targets = st.builds(Target, channel=anything, address=anything, lane=anything, person=anything, role=anything)
NEWS = [Reason.WARNED, Reason.BREACHED, Reason.EXPIRING, Reason.PAUSED, Reason.RESUMED, Reason.ALERTS_JOINED]
notifications = st.builds(
    Notification,
    kind=st.sampled_from(Kind),
    target=targets,
    round=st.integers(0, 9),
    roles=st.lists(anything, max_size=3).map(tuple),
    reason=st.none() | st.just(Reason.PRIORITY_RAISED),
    at=st.none() | times,
) | st.builds(
    Notification,
    kind=st.sampled_from([Kind.UPDATE, Kind.REMINDER]),
    target=targets,
    round=st.integers(0, 9),
    reason=st.sampled_from(NEWS),
    data=data,
)


@settings(max_examples=2 * EXAMPLES, deadline=None)
@given(notification=notifications, incident=incidents, timeline=entries, now=times)
def test_no_incident_can_break_a_message(
    notification: Notification, incident: Incident, timeline: list[Entry], now: datetime
) -> None:
    made = render(notification, incident, tuple(timeline), delivery_id="7", thread="", link=LINK, now=now)
    assert len(made.subject) <= SUBJECT
    assert len(made.headline) <= HEADLINE
    shown = (made.subject, made.headline, *made.text.splitlines())
    assert all(line.replace("\u200d", "").isprintable() for line in shown)  # the joiner of emoji stays
    assert made.headline.strip()
    assert made.text.strip()
    assert LINK in made.text or made.kind is Kind.RESOLVED
    assert len(made.text) < 20_000
    mail = compose(msgspec.structs.replace(made, address="a@example.com", lane="email:a"), "alerts@example.com")
    assert bytes(mail)


def fleet(count: int, alertname: str = "HighMemoryUsage", **places: str) -> list[Alert]:
    """Alerts of one name; ``{}`` in a label's value is the number of each."""
    made = []
    for n in range(count):
        labels = {name: value.format(n + 1) for name, value in places.items()}
        alert = labelled(an_alert(), alertname=alertname, team="backend", severity="critical", **labels)
        made.append(msgspec.structs.replace(alert, fingerprint=f"{alertname}{n}{places}"))
    return made


@pytest.mark.parametrize(
    ("alerts", "says"),
    [
        (fleet(40, instance="web-{}:9100", job="node"), "HighMemoryUsage on 40 hosts (web-1, web-2, …)"),
        (fleet(3, instance="web-{}"), "HighMemoryUsage on 3 hosts (web-1, web-2, web-3)"),
        (fleet(12, instance="kube-state:8080", pod="api-{}"), "HighMemoryUsage on 12 pods (api-1, api-2, …)"),
        (fleet(2, namespace="shop-{}"), "HighMemoryUsage on 2 namespaces (shop-1, shop-2)"),
        (fleet(4, job="node", code="5{}"), "HighMemoryUsage: High error rate detected (4 alerts)"),
        (fleet(1, "A", instance="x") + fleet(2, "B", instance="y{}"), "A, B (3 alerts)"),
        (fleet(1, instance="web-1"), "HighMemoryUsage: High error rate detected"),
        # Several exporters of one host are one host.
        (fleet(2, instance="web-1:910{}"), "HighMemoryUsage: High error rate detected (2 alerts)"),
        (
            fleet(2, instance="web-1:910{}") + fleet(3, instance="web-{}:9200"),
            "HighMemoryUsage on 3 hosts (web-1, web-2, web-3)",
        ),
        (fleet(2, instance="2001:db8::{}"), "HighMemoryUsage on 2 hosts (2001:db8::1, 2001:db8::2)"),
        (fleet(2, instance="[2001:db8::{}]:9100"), "HighMemoryUsage on 2 hosts ([2001:db8::1], [2001:db8::2])"),
        (fleet(2, instance="https://web-{}:8443"), "HighMemoryUsage on 2 hosts (https://web-1, https://web-2)"),
    ],
)
def test_a_headline_says_what_broke_and_how_much(alerts: list[Alert], says: str) -> None:
    page = mailed(Story().when(received(*alerts)))
    assert page.headline == f"P1 #12 {says}"
    assert page.subject == f"[P1] #12 {says}"


def described(alert: Alert, what: str) -> Alert:
    annotations = {name: f"https://example.com/{name}/{what}" for name in ("runbook_url", "dashboard_url", "image_url")}
    annotations |= {"summary": f"summary of {what}", "description": f"description of {what}"}
    url = f"http://prometheus:9090/graph?g0.expr={what}"
    return msgspec.structs.replace(alert, annotations=annotations, generator_url=url)


OLD = described(labelled(an_alert("o", starts_at=START - timedelta(hours=1)), alertname="Old", severity="info"), "old")
WORSE = described(labelled(an_alert("w", starts_at=START), alertname="Worse"), "worse")


@pytest.mark.parametrize("first", [(), (OLD,)])
def test_what_is_described_and_linked_first_is_the_most_urgent_alert(first: tuple[Alert, ...]) -> None:
    story = Story()
    for alerts in (first, (OLD, WORSE)):
        pages = story.when(received(*alerts)) if alerts else []
    page = mailed(pages)
    assert page.headline == "P1 #12 Worse, Old (2 alerts)"
    assert page.lead == "description of worse"
    assert page.text.startswith("description of worse")
    assert [link.url for link in page.links if "old" in link.url] == []
    assert page.image_url == "https://example.com/image_url/worse"


def test_a_headline_names_what_is_left_once_the_most_urgent_alert_has_ended() -> None:
    story = Story()
    story.when(received(OLD, WORSE))
    story.clock.forward(minutes=15)
    story.when(received(OLD, msgspec.structs.replace(WORSE, firing=False, ends_at=story.clock.now)))
    page = mailed(story.when(TimeDue()))
    assert page.headline.endswith("P1 #12 Old: summary of old")


def test_a_headline_in_german() -> None:
    story = Story()
    story.when(received(*fleet(40, pod="api-{}")))
    assert what_broke(story.incident, Reader("de")) == "HighMemoryUsage auf 40 Pods (api-1, api-2, …)"
    assert subject_tag("P1", State.RESOLVED, Reader("de")) == "[P1 BEHOBEN]"


def test_alerts_that_a_webhook_left_out_are_counted() -> None:
    story = Story()
    story.when(received(*fleet(10, instance="web-{}")))
    story.incident = msgspec.structs.replace(story.incident, truncated=30)
    assert what_broke(story.incident, Reader()) == "HighMemoryUsage on 40 hosts (web-1, web-2, …)"


def test_what_people_look_for_first_comes_first() -> None:
    labels = {"cluster": "eu", "az": "b", "pod": "api-1", "instance": "10.0.0.1", "namespace": "shop", "alertname": "A"}
    page = mailed(Story().when(received(labelled(an_alert(), **labels))))
    assert "instance=10.0.0.1, namespace=shop, pod=api-1, az=b, cluster=eu" in page.text
    assert ("Where", "instance=10.0.0.1, namespace=shop, pod=api-1, az=b, cluster=eu") in page.fields


LINES = "Disk is full.\n\n  1. Look at /var\n\t2. Call Linh\r\n\n\n\nThen: wait"


def test_line_breaks_of_an_annotation_are_kept() -> None:
    page = mailed(Story().when(received(annotated(description=LINES))))
    kept = "Disk is full.\n\n  1. Look at /var\n    2. Call Linh\n\nThen: wait"
    assert page.text.startswith(kept)
    assert kept in page.html
    assert "white-space:pre-line" in page.html
    assert page.lead == kept
    blocks = card(page)["attachments"][0]["blocks"]  # type: ignore[index]
    assert kept in [block["text"]["text"] for block in blocks if block["type"] == "section" and "text" in block]
    assert "\n" not in page.subject + page.headline


def test_a_long_annotation_is_cut_visibly_and_its_lines_are_bounded() -> None:
    page = mailed(Story().when(received(annotated(description="x\n" * 10_000))))
    assert page.lead.count("\n") < 30
    page = mailed(Story().when(received(annotated(description="long line " * 10_000))))
    assert len(page.lead) <= 600
    assert page.lead.endswith("…")


@pytest.mark.parametrize("suffix", ["", "_url"])
def test_annotations_of_older_rules_are_known(suffix: str) -> None:
    alert = an_alert()
    told = {"message": "It is on fire.", f"runbook{suffix}": RUNBOOK, f"dashboard{suffix}": "https://g/d/1"}
    page = mailed(Story().when(received(msgspec.structs.replace(alert, annotations=told))))
    assert page.subject == "[P1] #12 HighErrorRate: It is on fire."
    assert lines(page.text)[0] == "It is on fire."
    assert [link.url for link in page.links][:3] == [LINK, RUNBOOK, "https://g/d/1"]


def test_an_annotation_that_is_no_url_makes_no_link() -> None:
    told = {"runbook": "see the wiki", "dashboard": "javascript:alert(1)", "runbook_url": "ftp://x"}
    page = mailed(Story().when(received(msgspec.structs.replace(an_alert(), annotations=told, generator_url=""))))
    assert [link.url for link in page.links] == [LINK]
