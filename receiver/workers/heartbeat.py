"""The loop that calls an external dead man's switch, so that somebody notices when we stop.

The call goes out only while escalations run and the store commits: a process that merely exists is not alive.
healthchecks.io/docs/http_api and any other dead man's switch take a GET.
"""

import asyncio
import logging
from collections.abc import Callable

import aiohttp

from process.settings import Secret

log = logging.getLogger(__name__)

_PATIENCE = aiohttp.ClientTimeout(total=10)


class Heartbeat:
    """``run_once`` calls the URL if ``healthy`` says so; a failed call is made again after the interval."""

    def __init__(
        self, url: Secret, session: aiohttp.ClientSession, interval: float, healthy: Callable[[], bool]
    ) -> None:
        self._url, self._session, self._interval, self._healthy = url, session, interval, healthy
        self._failed = False

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            await self.run_once()
            await asyncio.sleep(self._interval)

    async def run_once(self) -> bool:
        """Say whether the call succeeded."""
        if not self._healthy():
            log.error("heartbeat not sent: the escalator has not run for too long")
            return False
        try:
            async with self._session.get(self._url.reveal(), timeout=_PATIENCE) as answer:
                succeeded, why = answer.status < 400, f"it answered {answer.status}"  # noqa: PLR2004  # an error
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            succeeded, why = False, type(error).__name__  # the URL is a secret, and the error's text would show it
        if not succeeded and not self._failed:
            log.warning("heartbeat failed: %s", why)
        self._failed = not succeeded
        return succeeded
