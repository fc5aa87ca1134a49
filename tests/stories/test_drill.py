"""The drill, as an SRE runs it: through the real Alertmanager to every channel, an answer, and the end."""

import asyncio
import sys
from pathlib import Path

import pytest

from tests.stories.stack import ROOT, Stack, until

pytestmark = [pytest.mark.stack, pytest.mark.story]


async def drill(stack: Stack, *options: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "receiver", "drill", f"--config.file={stack.folder / 'receiver.yml'}"]
    command += [f"--alertmanager.url={stack.url('alertmanager')}", "--team=backend", *options]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=-1, stderr=-1)
    output, errors = await process.communicate()
    return process.returncode or 0, output.decode(), errors.decode()


async def answer(stack: Stack) -> None:
    async def acknowledged() -> bool:
        incidents = await stack.incidents()
        if not incidents:
            return False
        # Whoever answers has heard of it: an answer before the pages are out would, rightly, cancel them.
        timeline = (await stack.incident(incidents[0]["id"]))["timeline"]
        if sum(entry["kind"] == "told" for entry in timeline) < 4:
            return False
        url = f"{stack.url('receiver')}/api/v1/incidents/{incidents[0]['id']}/acknowledge"
        headers = {"Authorization": f"Bearer {stack.tokens['api']}"}
        async with stack.session.post(url, json={"actor": "Linh Tran"}, headers=headers) as done:
            return done.status == 200

    await until("somebody has answered", acknowledged)


async def test_a_drill_tells_a_true_story_and_stays_out_of_the_statistics(tmp_path: Path) -> None:
    async with Stack(tmp_path) as stack:
        await stack.start("receiver", "alertmanager")
        (status, output, errors), _ = await asyncio.gather(drill(stack, "--priority=P1"), answer(stack))
        assert (status, errors) == (0, "")
        ways = ("Linh Tran (PagerDuty)", "Linh Tran (Slack)", "Linh Tran (email)", "#alerts-backend (Slack)")
        for kind in ("Page", "Resolution"):
            assert [way for way in ways if f"{kind} sent to {way}" not in output] == [], output
        for step in ("Alertmanager took the alert", "#1", "Acknowledged by Linh Tran", "The drill reached somebody."):
            assert step in output, output
        assert all("DRILL" in str(m["Subject"]) for _, m in stack.smtp.mails)
        assert all("DRILL" in str(post["text"]) for post in stack.slack.messages)
        async with stack.session.get(f"{stack.url('receiver')}/metrics") as answered:
            metrics = await answered.text()
        assert 'receiver_incidents_opened_total{alertname="Drill"' not in metrics


async def test_a_drill_that_cannot_begin_says_why(tmp_path: Path) -> None:
    async with Stack(tmp_path) as stack:
        await stack.start("receiver")
        status, _, errors = await drill(stack, "--wait=1")
        assert status == 1
        assert errors.startswith("receiver: Alertmanager at http://127.0.0.1:")
        assert errors.count("\n") == 1
