"""What is past and of no more use, besides incidents: what a store forgets of it."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

FORMS_KNOWN = timedelta(days=2)  # so long may a form be sent again and do nothing


class Past(StrEnum):
    """What there is of it."""

    AUDIT = "audit"  # lines of the log
    COVERS = "covers"  # that have ended, or were asked for and not accepted
    WINDOWS = "windows"  # maintenance that was made here and has ended
    TOKENS = "tokens"  # that were revoked or have expired
    SESSIONS = "sessions"  # that have expired
    FORMS = "forms"  # that were sent
    AWAKE = "awake"  # who was


class PastStore(Protocol):
    """Each call is one short transaction."""

    async def forget(self, what: Past, before: datetime, limit: int) -> int:
        """Delete the oldest that were over before a moment; gives how many."""
