"""When the receiver itself is dead, Alertmanager's own mail says so: the last line that does not depend on us."""

import signal
from pathlib import Path

import pytest

from tests.stories.stack import Stack, until

pytestmark = [pytest.mark.stack, pytest.mark.story]


async def test_alertmanager_mails_by_itself_when_the_receiver_is_killed(tmp_path: Path) -> None:
    async with Stack(tmp_path) as stack:
        await stack.start("receiver", "alertmanager", "prometheus")

        async def scraped() -> bool:
            return await stack.query('up{job="receiver"}') == 1

        await until("Prometheus sees the receiver", scraped)
        await stack.stop("receiver", signal.SIGKILL)

        def mailed() -> list[str]:
            return [str(m["Subject"]) for to, m in stack.smtp.mails if "oncall@heypeteracademy.com" in to]

        await until("Alertmanager has sent its own mail", mailed)
        assert "ReceiverDown" in mailed()[0]
        assert "FIRING" in mailed()[0]
        await stack.start("receiver")
        await until("it mails the end, too", lambda: any("RESOLVED" in subject for subject in mailed()))
