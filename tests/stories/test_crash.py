"""A story of a crash: the receiver is killed between its 200 and the page; the page goes out once, afterwards."""

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.receiver.web.test_alertmanager import PAYLOAD
from tests.stories.stack import Stack, until

pytestmark = pytest.mark.story


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    async with Stack(tmp_path, steps=("0s", "300s", "600s", "900s")) as running:
        yield running


async def test_killed_between_the_200_and_the_page(stack: Stack) -> None:
    stack.slack.hang = 30.0  # a send that is under way when the process dies
    stack.pagerduty.misfortunes = [(503, {})] * 50  # and one that has failed and waits
    await stack.start("receiver")
    assert await stack.post_alerts(PAYLOAD) == 200
    await stack.stop("receiver", signal.SIGKILL)
    assert not stack.slack.messages
    assert not stack.pagerduty.rung

    stack.pagerduty.misfortunes = []
    stack.slack.hang = 0.0
    await stack.start("receiver")
    await until("PagerDuty rings", lambda: stack.pagerduty.rung)
    await until("Slack has the messages", lambda: len(stack.slack.messages) >= 2)
    await until("the mail is out", lambda: stack.smtp.mails)
    await until("nothing is owed any more", stack.nothing_is_owed)
    assert len(stack.pagerduty.rung) == 1
    told = [post["channel"] for post in stack.slack.messages]  # one may come twice, if its answer comes too late
    assert set(told) == {"#alerts", "U01LINH"}
    assert len({mail["Message-ID"] for _, mail in stack.smtp.mails}) == 1  # a repeat can be told by its id
    (incident,) = await stack.incidents()
    assert incident["state"] == "triggered"

    # Alertmanager sends the same group again, as it does after a crash: nobody is paged a second time.
    assert await stack.post_alerts(PAYLOAD) == 200
    assert await stack.stop("receiver") == 0
    assert len(stack.pagerduty.rung) == 1
    assert [post["channel"] for post in stack.slack.messages] == told


async def test_the_page_is_not_lost_when_the_receiver_is_killed_again_and_again(stack: Stack) -> None:
    stack.slack.misfortunes = [(503, {})] * 4
    await stack.start("receiver")
    assert await stack.post_alerts(PAYLOAD) == 200
    for _ in range(3):
        await stack.stop("receiver", signal.SIGKILL)
        await stack.start("receiver")
    await until("Slack tells the engineer", lambda: any(m["channel"] == "U01LINH" for m in stack.slack.messages))
    await until("PagerDuty rings", lambda: stack.pagerduty.rung)
    assert len(await stack.incidents()) == 1
    assert len(stack.pagerduty.rung) == 1  # a repeat under the same key does not ring
