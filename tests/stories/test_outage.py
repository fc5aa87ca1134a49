"""The main path: errors, an alert, a page, no answer, an escalation, an acknowledgement, silence, the resolve."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from email.message import EmailMessage
from functools import partial
from pathlib import Path

import pytest

from tests.stories.stack import Stack, until

LINH, MAREK = "linh@heypeteracademy.com", "marek@heypeteracademy.com"

pytestmark = [pytest.mark.stack, pytest.mark.story]


class School:
    """Requests, twenty a second; ``failing`` of them end in a 500."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.failing = 0.0

    async def run(self) -> None:
        count = 0
        while True:
            events = []
            for _ in range(10):
                count += 1
                status = 500 if count % 10 < self.failing * 10 else 200
                data = {"method": "POST", "route": "/api/bookings", "status": status, "duration": 0.05}
                events.append({"type": "http_request", "data": data})
            await self._stack.post_events(events)
            await asyncio.sleep(0.5)


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    async with Stack(tmp_path) as running:
        await running.start("receiver", "exporter", "alertmanager", "prometheus")
        yield running


def mails_to(stack: Stack, address: str) -> list[EmailMessage]:
    return [mail for to, mail in stack.smtp.mails if address in to]


def slack_to(stack: Stack, channel: str) -> list[str]:
    return [str(post["text"]) for post in stack.slack.messages if post["channel"] == channel]


def in_pagerduty(stack: Stack) -> set[str]:
    return set(stack.pagerduty.alerts.values())


async def test_an_outage_from_its_first_error_to_its_end(stack: Stack) -> None:
    school = School(stack)
    running = asyncio.ensure_future(school.run())
    try:
        await _tell(stack, school)
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def _tell(stack: Stack, school: School) -> None:
    await until("the Watchdog is heard through Prometheus and Alertmanager", partial(_watchdog_is_heard, stack))
    assert await stack.incidents() == []
    school.failing = 0.5
    await _on_call_engineer_is_paged(stack)
    await _nobody_answers(stack)
    await _tech_lead_answers_by_the_link_of_the_mail(stack)
    await until("nothing is owed any more", stack.nothing_is_owed)
    told = len(stack.smtp.mails), len(stack.slack.messages), len(stack.pagerduty.calls)
    await asyncio.sleep(6)  # longer than a step of this matrix: silence can only be seen by waiting
    assert (len(stack.smtp.mails), len(stack.slack.messages), len(stack.pagerduty.calls)) == told
    school.failing = 0.0
    await _everybody_who_was_told_knows_the_end(stack)


async def _watchdog_is_heard(stack: Stack) -> bool:
    async with stack.session.get(f"{stack.url('receiver')}/metrics") as answer:
        return 'receiver_watchdog_last_seen_timestamp_seconds{source="alertmanager"}' in await answer.text()


async def _on_call_engineer_is_paged(stack: Stack) -> None:
    await until("the on-call engineer has mail", lambda: mails_to(stack, LINH))
    await until("PagerDuty rings the engineers", lambda: stack.pagerduty.rung)
    await until("Slack tells the on-call engineer", lambda: slack_to(stack, "U01LINH"))
    await until("Slack tells the team", lambda: slack_to(stack, "#alerts-backend"))
    (incident,) = await stack.incidents()
    assert (incident["priority"], incident["state"], incident["team"]) == ("P1", "triggered", "backend")
    assert incident["title"] == "HighErrorRate: High error rate detected"
    assert mails_to(stack, LINH)[0]["Subject"].startswith("[P1] #1 HighErrorRate")
    assert next(iter(stack.pagerduty.alerts))[0] == "e" * 32  # on a busy machine the next step may have come since


async def _nobody_answers(stack: Stack) -> None:
    await until("the tech lead has mail", lambda: mails_to(stack, MAREK))
    await until("PagerDuty rings the leads", lambda: len(stack.pagerduty.rung) == 2)
    await until("Slack tells the tech lead", lambda: slack_to(stack, "U01MAREK"))
    assert "tech lead" in slack_to(stack, "U01MAREK")[0]
    lines = (await stack.incident(1))["timeline"]
    opened, paged = lines[0], [line for line in lines if line["kind"] == "paged"]
    assert (opened["kind"], len(paged)) == ("opened", 2)
    waited = datetime.fromisoformat(paged[1]["at"]) - datetime.fromisoformat(opened["at"])
    assert waited >= timedelta(seconds=4), "the tech lead was paged before the second step"


async def _tech_lead_answers_by_the_link_of_the_mail(stack: Stack) -> None:
    body = mails_to(stack, MAREK)[0].get_body(("plain",))
    assert body is not None
    link = next(word for word in body.get_content().split() if "/answer/" in word)
    async with stack.session.get(link) as shown:
        assert "Acknowledge as Marek Novak" in await shown.text()
    assert (await stack.incident(1))["state"] == "triggered"  # looking changes nothing
    async with stack.session.post(link, data={"verb": "acknowledge"}) as pressed:
        assert pressed.status == 200
    acknowledged = await stack.incident(1)
    assert (acknowledged["state"], acknowledged["acknowledged_by"]) == ("acknowledged", "marek")
    await until("PagerDuty is quiet", lambda: in_pagerduty(stack) == {"acknowledged"})
    for channel in ("U01LINH", "U01MAREK", "#alerts-backend"):
        await until(f"{channel} knows who has it", partial(_says, stack, channel, "Acknowledged by Marek Novak"))
    for address in (LINH, MAREK):
        await until(f"{address} knows who has it", partial(_has_mail, stack, address, "acknowledged"))


async def _everybody_who_was_told_knows_the_end(stack: Stack) -> None:
    await until("PagerDuty is resolved", lambda: in_pagerduty(stack) == {"resolved"})
    for channel in ("U01LINH", "U01MAREK", "#alerts-backend"):
        await until(f"{channel} knows the end", partial(_says, stack, channel, "Resolved"))
    for address in (LINH, MAREK):
        await until(f"{address} knows the end", partial(_has_mail, stack, address, "resolved"))
        assert len({mail["References"] or mail["Message-ID"] for mail in mails_to(stack, address)}) == 1
    assert not slack_to(stack, "U01AISHA")
    assert not mails_to(stack, "peter@heypeteracademy.com")
    assert (await stack.incident(1))["state"] == "resolved"
    assert len(stack.pagerduty.rung) == 2
    threads = {post.get("thread_ts") for post in stack.slack.messages if post["channel"] == "#alerts-backend"}
    assert len(threads) == 2  # the first message, and all others in its thread


def _says(stack: Stack, channel: str, text: str) -> bool:
    return any(text in message for message in slack_to(stack, channel))


def _has_mail(stack: Stack, address: str, kind: str) -> bool:
    """Whether a mail of this kind came; one may come twice, for a lost answer of the server is followed by a repeat."""
    return kind in {mail["X-HeyPeter-Kind"] for mail in mails_to(stack, address)}
