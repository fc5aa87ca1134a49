"""The loop that tells somebody outside that we live, so that our own silence is noticed.

The call goes out only while the clocks are asked and the store commits: a process that merely exists is not alive.
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
    """``run_once`` calls the URL if ``healthy`` says so; a call that fails is tried again at the next beat."""

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
        """Say whether the beat was heard."""
        if not self._healthy():
            log.error("the outside heartbeat is held back: the clocks have not been asked for too long")
            return False
        try:
            async with self._session.get(self._url.reveal(), timeout=_PATIENCE) as answer:
                heard, why = answer.status < 400, f"it answered {answer.status}"  # noqa: PLR2004  # an error
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            heard, why = False, type(error).__name__  # the URL is a secret, and the error's text would show it
        if not heard and not self._failed:
            log.warning("the outside heartbeat was not heard: %s", why)
        self._failed = not heard
        return heard
