"""What the audit log holds: who did what, from where, and what it changed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec


class Act(msgspec.Struct, frozen=True):
    """One line. ``actor`` is the key of a person, or a name; ``via`` how we knew who it was, and ``ip`` from where.

    ``act`` is a word with a dot, as "session.begin"; ``object`` what it was done to, as "session/7" or "incident/42".
    """

    at: datetime
    actor: str
    via: str
    ip: str
    act: str
    object: str
    before: str = ""
    after: str = ""
    seq: int = 0  # given by the store


class AuditStore(Protocol):
    """Reads the log. It is written in the transaction of what it tells."""

    async def audit(self, before: int | None, limit: int, of: str = "") -> Sequence[Act]:
        """Read the newest lines first, those older than line ``before``; ``of`` is an object, "" for all."""
