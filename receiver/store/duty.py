"""What a store promises of what people set for a while: covers of shifts, who is awake, maintenance windows."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from receiver.oncall.cover import Changed, Cover, CoverNews
from receiver.store.audit import Act


class MadeWindow(msgspec.Struct, frozen=True):
    """A maintenance window that somebody has made here; ``matchers`` as Alertmanager writes them."""

    matchers: tuple[str, ...]
    start: datetime
    end: datetime
    by: str
    reason: str = ""
    incident: int = 0  # that it was made from
    id: int = 0  # given by the store


class CoverNotice(msgspec.Struct, frozen=True):
    """One person is still to be told of one change of a cover; ``actor`` has made it."""

    id: int
    person: str
    news: CoverNews
    actor: str
    cover: Cover
    tries: int = 0


class DutyStore(Protocol):
    """Each change is one transaction with its line in the audit log, whose ``object`` is the store's to name."""

    async def covers(self, now: datetime) -> tuple[Cover, ...]:
        """Read those that have not ended, by their numbers."""

    async def change_covers(
        self, decide: Callable[[tuple[Cover, ...]], Changed], now: datetime, act: Act, form: str = ""
    ) -> Changed:
        """Write what ``decide`` makes of those that have not ended; give what was written.

        Several new ones are a pair. A form that was sent before gives what it has made, and changes nothing. Who is to
        be told of it is written in the same transaction.
        """

    async def cover_notices(self, now: datetime, limit: int) -> Sequence[CoverNotice]:
        """Give what is due to be told, the oldest first."""

    async def put_off_notice(self, number: int, until: datetime) -> None:
        """Try it again at this moment."""

    async def drop_notice(self, number: int) -> None:
        """It was told, or never will be."""

    async def awake(self, now: datetime) -> Mapping[str, datetime]:
        """Say who is awake, and until when."""

    async def set_awake(self, person: str, until: datetime, act: Act) -> None:
        """Say until when somebody is awake; a moment that is over ends it."""

    async def windows(self, now: datetime) -> tuple[MadeWindow, ...]:
        """Read those that have not ended, by their numbers."""

    async def add_window(self, window: MadeWindow, most: int, act: Act, form: str = "") -> MadeWindow | None:
        """Keep a window; None if there are ``most`` already."""

    async def end_window(self, number: int, now: datetime, act: Act) -> bool:
        """Let a window end now; False if it has ended, or there is none."""
