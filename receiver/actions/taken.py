"""Keeps an incident that takes nothing from failing others: its own rules raise, or the database has no use for it."""

import logging
from collections.abc import Awaitable, Callable

from receiver.incident.model import Incident
from receiver.store.base import RejectedError, StoreError
from receiver.store.unreadable import UnreadableError

log = logging.getLogger(__name__)

TellStuck = Callable[[int, Exception], None]
_OF_ONE = (UnreadableError, RejectedError)  # errors of the store that others do not meet


def log_stuck(number: int, error: Exception) -> None:
    """Say it in the log alone."""
    log.error("incident %d takes nothing: %s", number, type(error).__name__, exc_info=error)


async def taken(
    number: int, changing: Awaitable[Incident | None], stuck: TellStuck = log_stuck
) -> tuple[bool, Incident | None]:
    """Say whether an incident took what it was told, and give it; ``stuck`` is told if not. StoreError: nobody could.

    0 is the number of one that was still to be opened, and is not shown among those that are stuck.
    """
    try:
        return True, await changing
    except Exception as error:
        if isinstance(error, StoreError) and not isinstance(error, _OF_ONE):
            raise
        (stuck if number else log_stuck)(number, error)
        return False, None
