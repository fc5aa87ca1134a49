"""The loop that calls an external dead man's switch, so that somebody notices when we stop.

The call goes out only while escalations run and the store commits: a process that merely exists is not alive.
healthchecks.io/docs/http_api and any other dead man's switch take a GET.
"""

import logging
from collections.abc import Callable

import aiohttp

from process.settings import Secret
from receiver.clients.guarded_get import FetchError, get

log = logging.getLogger(__name__)

_PATIENCE = 10.0  # seconds


class Heartbeat:
    """``run_once`` calls the URL if ``healthy`` says so; a failed call is made again after the interval."""

    def __init__(
        self, url: Secret, session: aiohttp.ClientSession, healthy: Callable[[], bool], *, private_redirects: bool
    ) -> None:
        self._url, self._session, self._healthy, self._private = url, session, healthy, private_redirects
        self._failed = False

    async def run_once(self) -> bool:
        """Say whether the call succeeded."""
        if not self._healthy():
            log.error("heartbeat not sent: the escalator has not run for too long, or fails in too many incidents")
            return False
        try:
            status, _ = await get(
                self._session, self._url.reveal(), seconds=_PATIENCE, largest=0, private_redirects=self._private
            )
            succeeded, why = status < 400, f"it answered {status}"  # noqa: PLR2004  # an error
        except FetchError as error:
            succeeded, why = False, str(error)
        if not succeeded and not self._failed:
            log.warning("heartbeat failed: %s", why)
        self._failed = not succeeded
        return succeeded
