"""What a store promises of sessions and tokens; who they belong to and what they may do is decided elsewhere."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from receiver.store.audit import Act, AuditStore


class Session(msgspec.Struct, frozen=True):
    """One browser that has signed in. ``groups`` are those that the provider named and the settings know."""

    person: str  # key in `people`, or empty
    name: str
    via: str
    created: datetime
    seen: datetime
    expires: datetime
    ip: str
    agent: str
    groups: tuple[str, ...] = ()
    id: int = 0  # given by the store


class Token(msgspec.Struct, frozen=True):
    """One token of a script; the token itself is shown once and not kept."""

    name: str
    scope: str
    owner: str
    created: datetime
    expires: datetime | None = None
    last_used: datetime | None = None
    revoked: datetime | None = None
    id: int = 0  # given by the store


class Erased(msgspec.Struct, frozen=True):
    """What stands in the place of a person, and in how many rows; ``tidied``: nothing is left in the file either."""

    alias: str
    rows: int
    tidied: bool = False


class FullError(Exception):
    """There are as many tokens as there may be."""


class AccessStore(AuditStore, Protocol):
    """Sessions and tokens, by the SHA-256 of the secret. Each change is in the log, by one transaction.

    ``ended`` is called in the event loop when a session or token has ended, as far as is known here.
    """

    ended: Callable[[], None]

    async def begin_session(self, hashed: bytes, session: Session, act: Act) -> Session:
        """Keep a new one, and forget those that have expired and the oldest of one person or name that has many."""

    async def session(self, hashed: bytes, now: datetime) -> Session | None:
        """Read one that has not expired."""

    async def session_numbered(self, number: int, now: datetime) -> Session | None:
        """Read one that has not expired, by its number."""

    async def seen_session(self, number: int, now: datetime, ip: str) -> None:
        """Note that it was used; call it now and then."""

    async def sessions(self, now: datetime, limit: int) -> Sequence[Session]:
        """List those that have not expired, the newest first."""

    async def end_session(self, number: int, act: Act) -> bool:
        """Forget one; False if there is none."""

    async def add_token(self, hashed: bytes, token: Token, act: Act) -> Token:
        """Keep a new one; FullError."""

    async def token(self, hashed: bytes) -> Token | None:
        """Read one, also if it has expired or been revoked."""

    async def used_token(self, number: int, now: datetime) -> None:
        """Note that it was used; call it now and then."""

    async def tokens(self) -> Sequence[Token]:
        """List all, the newest first."""

    async def revoke_token(self, number: int, act: Act) -> bool:
        """Revoke one, for good; False if there is none that works."""

    async def note(self, act: Act) -> None:
        """Write a line of the log that changes nothing else here."""
