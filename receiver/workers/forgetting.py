"""The loop that forgets what is past besides incidents: old lines of the audit log, ended covers, expired sessions."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from receiver.store.past import FORMS_KNOWN, Past, PastStore

log = logging.getLogger(__name__)

PERIOD = 3600.0  # seconds
_PART = 500  # rows in one commit: some milliseconds
_PAUSE = 0.05  # seconds between two commits that nobody waits for


class Forgetting:
    """``run_once`` deletes lines of the log older than ``audit``, and what people made and has ended ``ended`` ago."""

    def __init__(self, past: PastStore, clock: Callable[[], datetime], audit: timedelta, ended: timedelta) -> None:
        self._past, self._clock = past, clock
        kept = {Past.AUDIT: audit, Past.FORMS: FORMS_KNOWN, Past.SESSIONS: timedelta(0), Past.AWAKE: timedelta(0)}
        self._kept = kept | dict.fromkeys((Past.COVERS, Past.WINDOWS, Past.TOKENS), ended)

    async def run_once(self) -> dict[Past, int]:
        """Give how many of each are gone; StoreError: the rest stays until the next round."""
        now = self._clock()
        gone = {what: await self._forget(what, now - length) for what, length in self._kept.items()}
        if gone[Past.AUDIT]:
            log.info(
                "%d lines of the audit log are older than %s and deleted", gone[Past.AUDIT], self._kept[Past.AUDIT]
            )
        return gone

    async def _forget(self, what: Past, before: datetime) -> int:
        gone, count = 0, _PART
        while count == _PART:
            count = await self._past.forget(what, before, _PART)
            gone += count
            await asyncio.sleep(_PAUSE if count == _PART else 0)
        return gone
